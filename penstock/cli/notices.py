"""``penstock notices`` and ``penstock notices end``: machines that were announced to go away."""

from typing import Annotated, Final
from urllib.parse import quote

import typer

from penstock.cli.client import call
from penstock.cli.figures import seconds
from penstock.cli.options import DEFAULT_SERVER, OutputForm, Owner, Server, owner_or_user
from penstock.cli.terminal import Output, say, show_table, styled, write_json
from penstock.cli.usage import PlainCommand

_STYLES: Final = {"cluster-drained": "yellow", "endpoint-out": "yellow", "unknown-to-policy": "red"}

notices = typer.Typer(help="List machines that were announced to go away, and end such a notice.")


@notices.callback(invoke_without_command=True)
def listing(context: typer.Context, server: Server = DEFAULT_SERVER, output: OutputForm = Output.TABLE) -> None:
    """List the notices that are not over: what goes away, when, and what is done about it."""
    if context.invoked_subcommand is not None:
        return
    answer = call(server, "GET", "/api/v1/notices")
    if output is Output.JSON:
        write_json(answer)
        return
    rows = [
        [
            each["id"],
            f"{each['cluster']} {each['endpoint'] or '(all)'}",
            each["kind"],
            seconds(each["deadlineInSeconds"]) if each["deadlineInSeconds"] > 0 else "now",
            styled(each["effect"], _STYLES.get(each["effect"], "")),
            seconds(each["endsInSeconds"]),
            each["reason"] + (f"\n{each['overload']}" if each["overload"] else ""),
        ]
        for each in answer["items"]
    ]
    columns = ["NOTICE", "WHAT", "KIND", "GOES IN#", "EFFECT", "OVER IN#", "REASON"]
    show_table(columns, rows, empty="no notice stands")


@notices.command(cls=PlainCommand)
def end(
    notice: Annotated[str, typer.Argument(metavar="ID", help="The notice to end; `penstock notices` lists them.")],
    reason: Annotated[str, typer.Option(help="Why; kept in the audit log.")] = "ended",
    owner: Owner = None,
    server: Server = DEFAULT_SERVER,
    output: OutputForm = Output.TABLE,
) -> None:
    """End a notice before its time. What it took out comes back step by step; sent again, the notice stays ended."""
    query = {"reason": reason, "owner": owner_or_user(owner)}
    answer = call(server, "DELETE", f"/api/v1/notices/{quote(notice, safe='')}", query=query)
    if output is Output.JSON:
        write_json(answer)
    else:
        ended = answer["ended"]
        say(f"Notice {ended['id']} ({ended['reason']}) on {ended['endpoint'] or ended['cluster']} has ended.")
