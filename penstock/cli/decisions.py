"""``penstock decisions``: what was decided and recorded, as a list or, one a line, as a log to keep or replay."""

from typing import Annotated, Any, Final

import typer

from penstock.admin.moment import FORMS
from penstock.cli.client import call
from penstock.cli.download import download
from penstock.cli.errors import CommandError
from penstock.cli.options import DEFAULT_SERVER, OutputForm, Server
from penstock.cli.terminal import Output, complain, say, show_table, write_json

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
    query = {"since": since, **({} if until is None else {"until": until})}
    count = download(server, "/api/v1/decisions.ndjson", query)
    complain(f"{count} decision{'' if count == 1 else 's'} exported", None if count else "yellow")
