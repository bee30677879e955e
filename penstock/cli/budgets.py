"""``penstock budgets``: what may be spent, what was, and where it goes."""

from typing import Any

import typer

from penstock.cli.client import call
from penstock.cli.errors import FINDINGS
from penstock.cli.figures import number, percent, seconds
from penstock.cli.options import DEFAULT_SERVER, OutputForm, Server
from penstock.cli.terminal import Output, say, show_table, styled, write_json

_STYLES = {"within": "green", "paced": "yellow", "exhausted": "red", "unknown": "yellow"}


def budgets(server: Server = DEFAULT_SERVER, output: OutputForm = Output.TABLE) -> None:
    """Show every budget. Exits with 1 when one is exhausted."""
    answer = call(server, "GET", "/api/v1/budgets")
    if output is Output.JSON:
        write_json(answer)
    else:
        columns = ["BUDGET", "FOR", "STATE", "SPENT#", "OF#", "FORECAST#", "NOW $/H#", "MAY $/H#", "PERIOD ENDS"]
        show_table(columns, [_row(item) for item in answer["items"]], empty="the policy has no budgets")
        for mean, names in sorted(_means(answer["items"]).items()):
            say(f"NOW is a mean over about {seconds(mean)} for {', '.join(names)}.")
        for item in answer["items"]:
            if item["state"] == "exhausted":
                say(f"{item['name']} is exhausted: {_consequence(item['onExhausted'])}", "red")
    if any(item["state"] == "exhausted" for item in answer["items"]):
        raise typer.Exit(FINDINGS)


def _row(item: dict[str, Any]) -> list[object]:
    standing: dict[str, Any] | None = item["standing"]
    state = styled(item["state"], _STYLES.get(item["state"], ""))
    amount = f"${number(item['amountUsd'], 2)}"
    if standing is None:
        return [item["name"], item["scopeText"], state, "-", amount, "-", "-", "-", "-"]
    limit = standing["limitUsdPerHour"]
    return [
        item["name"],
        item["scopeText"],
        state,
        f"${number(standing['spentUsd'], 2)} ({percent(standing['usedShare'])})",
        amount,
        f"${number(standing['forecastUsd'], 2)}",
        f"${number(standing['burnUsdPerHour'], 2)}",
        "any" if limit is None else f"${number(limit, 2)}",
        f"{standing['periodEnd']} ({item['per']}, {item['timeZone']})",
    ]


def _means(items: list[dict[str, Any]]) -> dict[float, list[str]]:
    """Over how many seconds what is being spent is averaged, to the budgets for which it is."""
    means: dict[float, list[str]] = {}
    for item in items:
        if item["standing"] is not None:
            means.setdefault(item["standing"]["burnMeanSeconds"], []).append(item["name"])
    return means


def _consequence(on_exhausted: str) -> str:
    if on_exhausted == "reject":
        return "what only its clusters could serve is refused with 503 budget_exhausted; restricted traffic is served"
    return "nothing more goes there by choice, only what nobody else can serve"
