"""``penstock status``, ``weights``, ``nodes`` and ``node``: what the control plane does."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from penstock.cli.client import call
from penstock.cli.engine_text import engine_text
from penstock.cli.errors import FINDINGS, CommandError
from penstock.cli.figures import number, percent, seconds, span
from penstock.cli.options import DEFAULT_SERVER, OutputForm, Server
from penstock.cli.terminal import Output, clean, say, show_table, styled, write_json


def _exit_on(findings: bool) -> None:  # noqa: FBT001 - a plain truth, not a mode
    if findings:
        raise typer.Exit(FINDINGS)


def _clusters(items: list[dict[str, Any]]) -> None:
    rows = []
    for item in items:
        health, load, price, drain = item["health"], item["load"], item["price"], item["drain"]
        used = "" if load["utilisation"] is None else f" ({percent(load['utilisation'])})"
        cost = "-" if price is None else f"${price['usdPerMillionTokens']:.2f}{' stale' if price['stale'] else ''}"
        drained = (
            "" if drain is None else f"{drain['owner']}, {seconds(drain['endsInSeconds'])} left: {drain['reason']}"
        )
        in_flight = f"{number(load['inFlight'])} of {number(load['capacity'])}{used}"
        rows.append(
            [
                item["name"],
                item["site"],
                item["region"],
                _seen(health),
                in_flight,
                engine_text(item["engineFigures"]),
                cost,
                drained,
            ]
        )
    columns = ["CLUSTER", "SITE", "REGION", "HEALTH", "IN FLIGHT#", "ENGINES", "$/MTOK#", "DRAINED BY"]
    show_table(columns, rows, empty="no clusters")


def _seen(health: dict[str, Any]) -> object:
    """A cluster's health, and where a region sees it otherwise."""
    word = styled(health["state"] or "-")
    for one in health["regions"]:
        if one["state"] != health["state"]:
            word.append("\n").append(styled(one["state"] or "-")).append(f" from {clean(one['region'])}")
    return word


def _status_text(status: dict[str, Any], clusters: dict[str, Any]) -> None:
    word = styled("ready", "green") if status["ready"] else styled("NOT READY", "red")
    say(f"Penstock {status['version']}, up {seconds(status['uptimeSeconds'])}, xDS on {status['xdsAddress']}")
    policy, engine, envoys = status["policy"], status["engine"], status["envoys"]
    digest = "none in force" if policy["digest"] is None else policy["digest"][:12]
    by_status = ", ".join(f"{count} {name}" for name, count in envoys["byStatus"].items() if count)
    decided = (
        "none"
        if engine is None
        else f"{engine['decision']} by {engine['rung']}, {seconds(engine['ageSeconds'])} old"
        + (f", FROZEN: {engine['frozen']}" if engine["frozen"] else "")
    )
    show_table(
        ["", ""],
        [
            ["state", word],
            ["policy", f"{digest} from {policy['source']}"],
            ["decision", decided],
            ["envoys", f"{envoys['connected']} connected" + (f" ({by_status})" if by_status else "")],
            *([f"feed {feed['name']}", _feed(feed)] for feed in status["feeds"]),
        ],
    )
    say()
    _clusters(clusters["items"])
    if status["findings"]:
        say()
        rows = [[styled(found["severity"]), found["message"]] for found in status["findings"]]
        show_table(["FINDING", ""], rows)
    problems = policy["problems"]
    if policy["rejectedAt"] is not None and problems:
        say()
        say("Policy problems", "bold")
        for problem in problems:
            say(problem["text"])


def _feed(feed: dict[str, Any]) -> str:
    refused = len(feed["refused"])
    told = f", {refused} of its figures REFUSED" if refused else ""
    return f"read {seconds(feed['ageSeconds'])} ago{' STALE' if feed['stale'] else ''}{told}"


def status(server: Server = DEFAULT_SERVER, output: OutputForm = Output.TABLE) -> None:
    """Show the whole at a glance. Exits with 1 when something is wrong."""
    answer = call(server, "GET", "/api/v1/status")
    if output is Output.JSON:
        write_json(answer)
    else:
        _status_text(answer, call(server, "GET", "/api/v1/clusters"))
    _exit_on(any(found["severity"] == "error" for found in answer["findings"]))


def weights(
    policy: Annotated[str | None, typer.Argument(help="Only this policy.", show_default=False)] = None,
    server: Server = DEFAULT_SERVER,
    output: OutputForm = Output.TABLE,
) -> None:
    """Show the weights in force, and why they are so."""
    query = {} if policy is None else {"policy": policy}
    answer = call(server, "GET", "/api/v1/weights", query=query)
    if output is Output.JSON:
        write_json(answer)
        return
    if answer["frozen"]:
        say(f"Frozen: {answer['frozen']}", "red")
    for region, frozen in answer["frozenRegions"].items():
        say(f"Frozen for {region}: {frozen}", "red")
    rows = []
    for item in answer["items"]:
        ordered = sorted(item["weights"].items(), key=lambda pair: (-pair[1], pair[0]))
        shares = "\n".join(f"{percent(weight / 10_000):>6}  {cluster}" for cluster, weight in ordered)
        rows.append([item["policy"], item["region"], item["model"], shares or styled("refused", "red"), item["reason"]])
    show_table(["POLICY", "EDGE", "MODEL", "WEIGHTS", "WHY"], rows, empty="no weights yet")


def nodes(
    group: Annotated[str | None, typer.Option(help="Only this node group.", show_default=False)] = None,
    server: Server = DEFAULT_SERVER,
    output: OutputForm = Output.TABLE,
) -> None:
    """Show the connected Envoys and what they acknowledged. Exits with 1 when one refuses its configuration."""
    answer = call(server, "GET", "/api/v1/nodes", query={} if group is None else {"group": group})
    if output is Output.JSON:
        write_json(answer)
    else:
        kinds = sorted({state["type"] for item in answer["items"] for state in item["types"]})
        rows = []
        for item in answer["items"]:
            by_kind = {state["type"]: state["status"] for state in item["types"]}
            connected = span(item["connectedAt"], answer["now"])
            rows.append(
                [item["node"], item["group"], item["variant"], *(by_kind.get(kind, "-") for kind in kinds), connected]
            )
        show_table(
            ["NODE", "GROUP", "VARIANT", *kinds, "CONNECTED#"],
            rows,
            empty="no Envoy is connected" if group is None else f"no Envoy of group {group} is connected",
        )
        for item in answer["items"]:
            for state in item["types"]:
                if state["error"]:
                    say(f"{item['node']} refused {state['type']}: {state['error']}", "red")
        if answer["matched"] > len(answer["items"]):
            say(f"{len(answer['items'])} of {answer['matched']} shown")
    _exit_on(any(item["status"] == "NACKED" for item in answer["items"]))


def node(
    name: Annotated[str, typer.Argument(metavar="NODE", help="The Envoy's node id, or the number of its stream.")],
    kind: Annotated[str | None, typer.Option("--type", help="Only this type, such as RDS.", show_default=False)] = None,
    server: Server = DEFAULT_SERVER,
    output: OutputForm = Output.TABLE,
) -> None:
    """Show every resource one Envoy holds, awaits or refuses. Exits with 1 when it refuses one."""
    listed = call(server, "GET", "/api/v1/nodes", query={"limit": "10000"})
    streams = [item["stream"] for item in listed["items"] if name in (item["node"], item["stream"])]
    if not streams:
        raise CommandError(f"no Envoy {clean(name)!r} is connected", hint="`penstock nodes` lists those that are")
    query = {} if kind is None else {"type": kind}
    found = [call(server, "GET", f"/api/v1/nodes/{quote(stream, safe='')}", query=query) for stream in streams]
    if output is Output.JSON:
        write_json({"items": found})
    else:
        for each in found:
            title = f"{each['node']} in {each['group']}, {each['variant']}, stream {each['stream']}"
            columns = ["TYPE", "NAME", "STATUS", "HOLDS", "REFUSES", "SINCE#"]
            show_table(columns, _resource_rows(each), title=title, empty="it asks for nothing")
            for refused in each["resources"]:
                if refused["message"]:
                    say(f"{refused['type']} {refused['name']}: {refused['message']}", "red")
            if each["matched"] > len(each["resources"]):
                say(f"{len(each['resources'])} of {each['matched']} shown")
    _exit_on(any(state["status"] == "NACKED" for each in found for state in each["resources"]))


def _resource_rows(answer: dict[str, Any]) -> list[list[object]]:
    return [
        [
            state["type"],
            state["name"],
            styled(state["status"]),
            state["version"] or "-",
            state["refusedVersion"] or "-",
            span(state["updatedAt"], answer["now"]),
        ]
        for state in answer["resources"]
    ]
