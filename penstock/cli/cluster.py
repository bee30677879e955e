"""``penstock cluster``: one cluster down to its endpoints."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from penstock.cli.client import call
from penstock.cli.engine_text import engine_text, share, timing
from penstock.cli.figures import number, seconds
from penstock.cli.options import DEFAULT_SERVER, OutputForm, Server
from penstock.cli.terminal import Output, say, show_table, styled, write_json


def cluster(
    name: Annotated[str, typer.Argument(metavar="CLUSTER", help="The cluster's name.")],
    server: Server = DEFAULT_SERVER,
    output: OutputForm = Output.TABLE,
) -> None:
    """Show one cluster: what its engines say, and what the edges see of each endpoint."""
    answer = call(server, "GET", f"/api/v1/clusters/{quote(name, safe='')}")
    if output is Output.JSON:
        write_json(answer)
        return
    health, load = answer["health"], answer["load"]
    say(f"{answer['name']}, {answer['site']}, {answer['region']}, {answer['engine']}", "bold")
    rows: list[list[object]] = [
        ["health", styled(health["state"] or "-")],
        ["in flight", f"{number(load['inFlight'])} of {number(load['capacity'])}"],
        ["engines", engine_text(answer["engineFigures"])],
    ]
    if answer["drops"]:
        rows.append(["turned away", ", ".join(f"{count} {category}" for category, count in answer["drops"].items())])
    show_table(["", ""], rows)
    say()
    _endpoints(answer)
    say()
    _localities(answer["localities"])


def _endpoints(answer: dict[str, Any]) -> None:
    healthy = {each["endpoint"]: each["healthy"] for each in answer["health"]["endpoints"]}
    rows = []
    for each in answer["endpoints"]:
        engine, edges = each["engine"] or {}, each["edges"] or {}
        rows.append(
            [
                each["endpoint"] or "(told together)",
                _word(healthy.get(each["endpoint"]), "ok", "failing"),
                number(edges.get("inFlight")),
                number(edges.get("requestRate"), 1),
                _errors(edges.get("errorShare")),
                number(engine.get("waiting")),
                number(engine.get("running")),
                share(engine.get("kvUsed")),
                share(engine.get("prefixHitShare")),
                timing(engine.get("ttftSeconds")),
                _word(engine.get("ready"), "yes", "no"),
                ", ".join(engine.get("revisions", [])) or "-",
                seconds(engine.get("ageSeconds")),
            ]
        )
    columns = ["ENDPOINT", "PROBES", "IN FLIGHT#", "REQ/S#", "ERRORS#", "WAITING#", "RUNNING#", "KV#", "PREFIX HITS#"]
    show_table([*columns, "TTFT P95#", "READY", "REVISION", "AGE#"], rows, empty="no endpoints")


def _word(truth: bool | None, well: str, ill: str) -> object:  # noqa: FBT001 - a plain truth, not a mode
    if truth is None:
        return "-"
    return styled(well, "green") if truth else styled(ill, "red")


def _errors(of: float | None) -> object:
    return "-" if of is None else styled(f"{of:.0%}", "red" if of >= 0.5 else "")


def _localities(localities: list[dict[str, Any]]) -> None:
    rows = [
        [
            each["edgeRegion"],
            "/".join(part for part in (each["region"], each["zone"], each["subZone"]) if part) or "-",
            number(each["inFlight"]),
            number(each["requestRate"], 1),
            number(each["errorRate"], 1),
        ]
        for each in localities
    ]
    show_table(["SEEN FROM", "LOCALITY", "IN FLIGHT#", "REQ/S#", "ERRORS/S#"], rows, empty="no edge carries anything")
