"""``penstock quarantine`` and ``release``: what Envoys refused, and an operator's word to try it again."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from penstock.cli.client import call
from penstock.cli.errors import FINDINGS, CommandError
from penstock.cli.figures import span
from penstock.cli.options import DEFAULT_SERVER, OutputForm, Owner, Server, owner_or_user
from penstock.cli.terminal import Output, clean, say, show_table, write_json

_MOST_NODES_SHOWN = 3

Group = Annotated[str | None, typer.Option(help="Only this node group.", show_default=False)]


def _nodes(item: dict[str, Any]) -> str:
    shown = item["nodes"][:_MOST_NODES_SHOWN]
    more = item["nodeCount"] - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def quarantine(group: Group = None, server: Server = DEFAULT_SERVER, output: OutputForm = Output.TABLE) -> None:
    """Show what Envoys refused and nobody is sent any more, and why. Exits with 1 when there is anything."""
    answer = call(server, "GET", "/api/v1/quarantine", query={} if group is None else {"group": group})
    items = answer["items"]
    if output is Output.JSON:
        write_json(answer)
    else:
        rows = [
            [
                item["id"],
                item["group"],
                item["type"],
                item["name"],
                item["version"],
                item["servedInstead"] or "-",
                _nodes(item),
                span(item["firstAt"], answer["now"]),
            ]
            for item in items
        ]
        columns = ["ID", "GROUP", "TYPE", "NAME", "VERSION", "SERVED INSTEAD", "REFUSED BY", "SINCE#"]
        show_table(columns, rows, empty="nothing is quarantined")
        for item in items:
            _explain(item)
    if items:
        raise typer.Exit(FINDINGS)


def _explain(item: dict[str, Any]) -> None:
    say()
    say(f"{item['id']} {item['type']} {item['name']}: {item['message']}", "red")
    if item["origins"]:
        say(f"  policy: {', '.join(item['origins'])}")
    if item["held"]:
        say(f"  all of {item['group']} stays as it was, since a mixture cannot be proven safe: {item['held']}")
    if item["heldBack"]:
        say(f"  held back with it: {', '.join(each['type'] + ' ' + each['name'] for each in item['heldBack'])}")


def release(
    wanted: Annotated[str, typer.Argument(metavar="ID|NAME", help="As `penstock quarantine` shows it.")],
    group: Group = None,
    reason: Annotated[str, typer.Option(help="Why; kept in the audit log.")] = "released",
    owner: Owner = None,
    *,
    server: Server = DEFAULT_SERVER,
    output: OutputForm = Output.TABLE,
) -> None:
    """Lift a quarantine: the version is sent again, and quarantined again if an Envoy refuses it again."""
    listed = call(server, "GET", "/api/v1/quarantine", query={} if group is None else {"group": group})["items"]
    matching = [item for item in listed if wanted == item["id"]] or [item for item in listed if wanted == item["name"]]
    if not matching:
        raise CommandError(
            f"nothing is quarantined under {clean(wanted)!r}",
            exit_code=FINDINGS,
            hint="`penstock quarantine` lists what is; it may have ended by itself",
        )
    if len(matching) > 1:
        places = ", ".join(f"{item['id']} ({item['type']} in {item['group']})" for item in matching)
        raise CommandError(
            f"{clean(wanted)!r} is quarantined {len(matching)} times", hint=f"name one by its id: {places}"
        )
    query = {"reason": reason, "owner": owner_or_user(owner)}
    answer = call(server, "DELETE", f"/api/v1/quarantine/{quote(matching[0]['id'], safe='')}", query=query)
    if output is Output.JSON:
        write_json(answer)
    else:
        lifted = answer["released"]
        say(f"Version {lifted['version']} of {lifted['type']} {lifted['name']} is sent to {lifted['group']} again.")
