"""The commands' side of the admin API: one request, one JSON answer, every failure in words."""

import asyncio
import errno
import json
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from penstock.cli.errors import FAILED, FINDINGS, CommandError
from penstock.cli.terminal import clean, waiting

# Longer than the slowest honest answer, a drain that waits for its record on a busy disk.
_TIMEOUT: Final = aiohttp.ClientTimeout(total=30, connect=5)

REFUSALS: Final = frozenset(
    f"urn:penstock:problem:{kind}" for kind in ("drain-refused", "not-drained", "not-quarantined", "unknown-stream")
)
"""Answers to a well-put wish that the state of the fleet forbids: findings, not wrong usage."""

Answer = dict[str, Any]
Query = Mapping[str, str] | Sequence[tuple[str, str]]
"""Parameters; as pairs where one is given several times."""


class ServerError(CommandError):
    """The server answered with an error.

    Attributes:
        status: the HTTP status.
        problem: the problem details (RFC 9457), empty when the answer had none.

    """

    def __init__(self, status: int, problem: Answer, exit_code: int) -> None:
        super().__init__(clean(problem.get("detail") or f"the server answered {status}"), exit_code=exit_code)
        self.status = status
        self.problem = problem


def base_url(server: str) -> str:
    """Return the base URL for what the user gave: a URL, or ``HOST:PORT``.

    Raises:
        CommandError: it is neither.

    """
    url = server if "://" in server else f"http://{server}"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise CommandError(f"{clean(server)!r} is no server URL", hint="expected such as http://127.0.0.1:18080")
    return url.rstrip("/")


def call(
    server: str,
    method: str,
    path: str,
    *,
    body: Mapping[str, object] | None = None,
    query: Query | None = None,
    accept: frozenset[int] = frozenset({200, 201}),
) -> Answer:
    """Ask the server and return its JSON answer.

    Raises:
        ServerError: it answered with a status outside ``accept``.
        CommandError: it cannot be reached, or is no Penstock.

    """
    url = base_url(server)
    with waiting(f"Asking {url}"):
        status, text = asyncio.run(_exchange(url, method, path, body, query))
    answer = _parse(text, url)
    if status in accept:
        return answer
    raise ServerError(status, answer, FINDINGS if answer.get("type") in REFUSALS else FAILED)


async def _exchange(
    url: str, method: str, path: str, body: Mapping[str, object] | None, query: Query | None
) -> tuple[int, str]:
    try:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT) as session,
            session.request(method, f"{url}{path}", json=body, params=query) as response,
        ):
            return response.status, await response.text()
    except TimeoutError as error:
        raise _unreachable(url, "it did not answer in time") from error
    except (aiohttp.ClientError, OSError, UnicodeDecodeError) as error:
        raise _unreachable(url, _why(error)) from error


def _why(error: Exception) -> str:
    """Say in plain words why there was no answer."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not trusted here"
    if isinstance(error, aiohttp.ClientConnectorDNSError) or isinstance(cause, socket.gaierror):
        return "nobody knows a host of that name"
    if isinstance(cause, ConnectionRefusedError) or getattr(cause, "errno", None) == errno.ECONNREFUSED:
        return "nothing listens there"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "it hung up without an answer"
    number = getattr(cause, "errno", None)
    return os.strerror(number).lower() if isinstance(number, int) and number > 0 else str(error)


def _unreachable(url: str, why: str) -> CommandError:
    return CommandError(
        f"cannot reach Penstock at {clean(url)}: {clean(why)}",
        hint="is `penstock serve` running there? Choose another with --server URL or PENSTOCK_SERVER",
    )


def _parse(text: str, url: str) -> Answer:
    try:
        answer = json.loads(text)
    except ValueError as error:
        raise CommandError(f"what answers at {clean(url)} is no Penstock admin port") from error
    if not isinstance(answer, dict):
        raise CommandError(f"what answers at {clean(url)} is no Penstock admin port")
    return answer
