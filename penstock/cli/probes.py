"""``penstock probes``: what probing found of every endpoint, layer by layer, and what generations cost."""

from typing import Any

from penstock.cli.client import call
from penstock.cli.figures import number, seconds
from penstock.cli.options import DEFAULT_SERVER, OutputForm, Server
from penstock.cli.terminal import Output, say, show_table, styled, write_json


def probes(server: Server = DEFAULT_SERVER, output: OutputForm = Output.TABLE) -> None:
    """Show what probing found of every endpoint, layer by layer, and what it costs in tokens."""
    items = call(server, "GET", "/api/v1/clusters")["items"]
    if output is Output.JSON:
        write_json({"items": [{"cluster": item["name"], **item["health"]} for item in items]})
        return
    rows = [
        [item["name"], endpoint["endpoint"], _state(endpoint), *_generation(endpoint["probing"]), _odd(endpoint)]
        for item in items
        for endpoint in item["health"]["endpoints"]
    ]
    columns = ["CLUSTER", "ENDPOINT", "PROBE", "GENERATION", "TTFT#", "TOKENS#", "ODD"]
    show_table(columns, rows, empty="no endpoints")
    for item in items:
        spent = item["health"]["probing"]["generation"]
        if spent is not None:
            used = spent["promptTokens"] + spent["outputTokens"]
            say(
                f"{item['name']}: generations by {spent['model']} cost {number(used)} tokens since {spent['since']}, "
                f"of {number(spent['tokensPerDay'])} a day; one every {seconds(spent['everySeconds'])}"
            )


def _state(endpoint: dict[str, Any]) -> object:
    probing = endpoint["probing"]
    if probing is None:
        return "not from here"
    if probing["failedAt"] is not None:
        return styled(f"fails at {probing['failedAt']} ({endpoint['consecutiveFailed']})", "red")
    latency = endpoint["latencySeconds"]
    return "well" if latency is None else f"well, {latency * 1000:.0f} ms"


def _generation(probing: dict[str, Any] | None) -> tuple[object, str, str]:
    generation = None if probing is None else probing["generation"]
    if generation is None:
        return "-", "-", "-"
    told = "paused, requests prove it" if generation["paused"] else generation["verdict"]
    if generation["failedInARow"]:
        told = styled(f"{generation['failedInARow']} failed", "red")
    ttft = "-" if generation["ttftSeconds"] is None else f"{generation['ttftSeconds']:.2f} s"
    return told, ttft, number(generation["promptTokens"] + generation["outputTokens"])


def _odd(endpoint: dict[str, Any]) -> str:
    probing = endpoint["probing"]
    if probing is None:
        return str(endpoint["detail"])
    generation = probing["generation"]
    odd = [endpoint["detail"], probing["credential"], "" if generation is None else generation["detail"]]
    if probing["missingModels"]:
        odd.append(f"does not list {', '.join(probing['missingModels'])}")
    if probing["limited"]:
        odd.append("at its limit (429)")
    return "\n".join(dict.fromkeys(told for told in odd if told))
