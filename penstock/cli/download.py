"""Copying a long answer of the admin API to standard output as it comes."""

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any, Final

import aiohttp

from penstock.cli.client import ServerError, base_url
from penstock.cli.errors import FAILED, CommandError
from penstock.cli.terminal import clean

_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, connect=5, sock_read=60)
"""Seconds: months of a log take their time, a server that sends nothing for a minute is gone."""


def download(server: str, path: str, query: Mapping[str, str]) -> int:
    """Copy an answer to standard output, and return how many lines it had.

    Raises:
        ServerError: the server answered with an error.
        CommandError: it cannot be reached, or broke off.

    """
    url = base_url(server)
    try:
        return asyncio.run(_copy(f"{url}{path}", query))
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise CommandError(
            f"the answer did not come through from Penstock at {clean(url)}: {clean(error)}",
            hint="is `penstock serve` running there? Choose another with --server URL or PENSTOCK_SERVER",
        ) from error


async def _copy(url: str, query: Mapping[str, str]) -> int:
    count = 0
    async with (
        aiohttp.ClientSession(timeout=_TIMEOUT) as session,
        session.get(url, params=query) as response,
    ):
        if response.status != 200:
            raise ServerError(response.status, _problem(await response.text()), FAILED)
        async for chunk in response.content.iter_any():
            count += chunk.count(b"\n")
            sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()
    return count


def _problem(text: str) -> dict[str, Any]:
    try:
        answer = json.loads(text)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
