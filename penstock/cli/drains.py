"""``penstock drain``, ``undrain`` and ``drains``: an operator's word on a cluster."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from penstock.cli.client import ServerError, call
from penstock.cli.figures import number, percent, seconds
from penstock.cli.options import DEFAULT_SERVER, OutputForm, Owner, Server, owner_or_user
from penstock.cli.terminal import Output, say, show_table, write_json


def _show_arithmetic(impact: dict[str, Any]) -> None:
    after: dict[str, dict[str, Any]] = {
        remaining["cluster"]: remaining for row in impact.get("rows", ()) for remaining in row["remaining"]
    }
    if after:
        rows = [
            [
                name,
                number(each["loadBefore"]),
                number(each["loadAfter"]),
                number(each["capacity"]),
                percent(each["utilisation"]),
            ]
            for name, each in sorted(after.items())
        ]
        show_table(["REMAINING", "IN FLIGHT NOW#", "AFTER#", "CAPACITY#", "UTILISATION#"], rows)


def drain(
    cluster: Annotated[str, typer.Argument(help="The cluster to take out of service.")],
    duration: Annotated[str, typer.Option("--for", metavar="DURATION", help="When it ends by itself, such as 2h.")],
    reason: Annotated[str, typer.Option(help="Why; kept in the audit log.")],
    owner: Owner = None,
    ramp: Annotated[str, typer.Option(metavar="DURATION", help="Let the share sink over this time.")] = "0s",
    *,
    force: Annotated[bool, typer.Option("--force", help="Even if what remains cannot carry the load.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only work out what would happen.")] = False,
    server: Server = DEFAULT_SERVER,
    output: OutputForm = Output.TABLE,
) -> None:
    """Take a cluster out of service for a time. Exits with 1 when refused because the rest could not carry the load."""
    body = {
        "cluster": cluster,
        "for": duration,
        "reason": reason,
        "owner": owner_or_user(owner),
        "ramp": ramp,
        "force": force,
        "dryRun": dry_run,
    }
    try:
        answer = call(server, "POST", "/api/v1/drains", body=body)
    except ServerError as error:
        if output is Output.JSON:
            write_json(error.problem)
        elif "impact" in error.problem:
            _show_arithmetic(error.problem["impact"])
        raise
    if output is Output.JSON:
        write_json(answer)
    else:
        say(answer["impact"]["sentence"])
        _show_arithmetic(answer["impact"])
        _tell(answer, cluster)
    if not answer["applied"] and not answer["impact"]["feasible"]:
        raise typer.Exit(1)


def _tell(answer: dict[str, Any], cluster: str) -> None:
    if not answer["applied"]:
        say("Dry run: nothing was changed.")
        return
    wanted, replaced = answer["drain"], answer["replaced"]
    if replaced is not None:
        say(f"Replaces the drain by {replaced['owner']}: {replaced['reason']}")
    say(f"{cluster} is drained until {wanted['until']}. `penstock undrain {cluster}` ends it earlier.")


def undrain(
    cluster: Annotated[str, typer.Argument(help="The cluster to put back into service.")],
    reason: Annotated[str, typer.Option(help="Why; kept in the audit log.")] = "undrained",
    owner: Owner = None,
    server: Server = DEFAULT_SERVER,
    output: OutputForm = Output.TABLE,
) -> None:
    """End a drain before its time. The share comes back step by step."""
    query = {"reason": reason, "owner": owner_or_user(owner)}
    answer = call(server, "DELETE", f"/api/v1/drains/{quote(cluster, safe='')}", query=query)
    if output is Output.JSON:
        write_json(answer)
    else:
        ended = answer["ended"]
        say(f"{cluster} is back. Its drain by {ended['owner']} ({ended['reason']}) has ended.")


def drains(server: Server = DEFAULT_SERVER, output: OutputForm = Output.TABLE) -> None:
    """List the drains in force."""
    answer = call(server, "GET", "/api/v1/drains")
    if output is Output.JSON:
        write_json(answer)
        return
    rows = [
        [each["cluster"], each["owner"], seconds(each["endsInSeconds"]), percent(each["shareLeft"]), each["reason"]]
        for each in answer["items"]
    ]
    show_table(["CLUSTER", "OWNER", "ENDS IN#", "SHARE LEFT#", "REASON"], rows, empty="no cluster is drained")
