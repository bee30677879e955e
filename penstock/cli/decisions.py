"""``penstock decisions``: what was decided and recorded, as a list or, one a line, as a log to keep or replay."""

import asyncio
import json
import sys
from typing import Annotated, Any, Final

import aiohttp
import typer

from penstock.admin.moment import FORMS
from penstock.cli.client import ServerError, base_url, call
from penstock.cli.errors import FAILED, CommandError
from penstock.cli.options import DEFAULT_SERVER, OutputForm, Server
from penstock.cli.terminal import Output, clean, complain, say, show_table, write_json

_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, connect=5, sock_read=60)
"""Seconds: a log of months takes its time, a server that sends nothing for a minute is gone."""
_EXPORTED: Final = "24h"
"""Of the log, unless asked for another part."""


def decisions(
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help=f"With --export: not older than {FORMS}.", show_default="24h ago")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="With --export: older than that.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="Without --export: list so many of the newest.")] = 20,
    *,
    export: Annotated[
        bool,
        typer.Option(
            "--export",
            help="Write whole decisions as recorded, one a line, newest first: a trace for `penstock replay`.",
        ),
    ] = False,
    server: Server = DEFAULT_SERVER,
    output: OutputForm = Output.TABLE,
) -> None:
    """List recorded decisions, newest first, or export them."""
    if export:
        _export(server, since or _EXPORTED, until)
        return
    if since is not None or until is not None:
        raise CommandError("--since and --until go with --export", hint="--limit says how many are listed")
    answer = call(server, "GET", "/api/v1/decisions", query={"limit": str(limit)})
    if output is Output.JSON:
        write_json(answer)
        return
    rows = [[item["at"], item["id"], _changes(item)] for item in answer["items"]]
    show_table(["AT", "DECISION", "CHANGED"], rows, empty="no decision is recorded yet")
    if answer["nextBefore"] is not None:
        say("Older ones are there; --limit lists more, --export all of a time.")


def _changes(item: dict[str, Any]) -> str:
    if not item.get("readable", True):
        return "recorded by another version"
    told = [
        *(f"{turned['cluster']} {turned['from']} -> {turned['to']}" for turned in item["health"]),
        *(f"{cluster} drained" for cluster in item["drained"]),
        *(f"{cluster} put back" for cluster in item["undrained"]),
    ]
    if item["policyChanged"]:
        told.insert(0, "another policy")
    if item["rows"]:
        told.append(f"weights of {len(item['rows'])} row{'' if len(item['rows']) == 1 else 's'}")
    return ", ".join(told) or "reasons alone"


def _export(server: str, since: str, until: str | None) -> None:
    url = base_url(server)
    query = {"since": since, **({} if until is None else {"until": until})}
    try:
        count = asyncio.run(_copy(url, query))
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise CommandError(
            f"the log did not come through from Penstock at {clean(url)}: {clean(error)}",
            hint="is `penstock serve` running there? Choose another with --server URL or PENSTOCK_SERVER",
        ) from error
    complain(f"{count} decision{'' if count == 1 else 's'} exported", None if count else "yellow")


async def _copy(url: str, query: dict[str, str]) -> int:
    """Copy the log to standard output as it comes, and count its lines."""
    count = 0
    async with (
        aiohttp.ClientSession(timeout=_TIMEOUT) as session,
        session.get(f"{url}/api/v1/decisions.ndjson", params=query) as response,
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
