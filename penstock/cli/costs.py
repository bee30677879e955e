"""``penstock costs``: what traffic came to, and what it would have cost all on-prem or all in the cloud."""

from typing import Annotated, Any

import typer

from penstock.admin.moment import FORMS
from penstock.cli.client import call
from penstock.cli.download import download
from penstock.cli.errors import CommandError
from penstock.cli.figures import number, percent, seconds
from penstock.cli.options import DEFAULT_SERVER, Server
from penstock.cli.terminal import CostsForm, complain, say, show_table, write_json
from penstock_policies.policyset import ANY_MODEL


def costs(
    by: Annotated[
        str,
        typer.Option(
            metavar="PARTS",
            help="What to tell apart, separated by commas: policy, class, model, cluster, site, clusterRegion, region"
            " (the edge's).",
        ),
    ] = "cluster",
    since: Annotated[str, typer.Option(metavar="TIME", help=f"From the hour of {FORMS}.")] = "24h",
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="To the end of the hour of that.", show_default="now")
    ] = None,
    *,
    hourly: Annotated[bool, typer.Option("--hourly", help="Tell hours (UTC) apart.")] = False,
    server: Server = DEFAULT_SERVER,
    output: Annotated[
        CostsForm,
        typer.Option("--output", "-o", help="focus: a CSV by the hour and every part, in columns of FOCUS 1.2."),
    ] = CostsForm.TABLE,
) -> None:
    """Show what traffic cost, at marginal prices and with what is paid by the hour shared out."""
    query = {"since": since, **({} if until is None else {"until": until})}
    if output is CostsForm.FOCUS:
        if by != "cluster" or hourly:
            raise CommandError("--by and --hourly do not go with -o focus", hint="it tells every hour and part apart")
        rows = download(server, "/api/v1/costs.csv", query) - 1
        complain(f"{rows} charge{'' if rows == 1 else 's'} exported", None if rows else "yellow")
        return
    answer = call(server, "GET", "/api/v1/costs", query={**query, "by": by, "step": "hour" if hourly else "none"})
    if output is CostsForm.JSON:
        write_json(answer)
    else:
        _show(answer, hourly=hourly)


def _show(answer: dict[str, Any], *, hourly: bool) -> None:
    parts: list[str] = answer["by"]
    heads = [*(["hour"] if hourly else []), *parts]
    figures = ["REQUESTS#", "TOKENS#", "MARGINAL#", "$/MTOK#", "AMORTIZED#", "$/MTOK#", "MEASURED#"]
    columns = [*(_heading(each) for each in heads), *figures, "ALL ON-PREM#", "ALL CLOUD#"]
    rows = [[*(_name(item, each) for each in heads), *_figures(item)] for item in answer["items"]]
    rows.extend(_idle(idle, heads) for idle in answer["idle"])
    total = {**answer["total"], "amortizedUsd": answer["total"]["amortizedWithIdleUsd"]}
    if rows:
        rows.append(["TOTAL", *[""] * (len(heads) - 1), *_figures(total)])
    show_table(columns, rows, empty="no traffic in that time")
    say(f"From {answer['since']} to {answer['until']}.")
    if rows:
        _explain(answer["total"])


def _heading(part: str) -> str:
    return "CLUSTER REGION" if part == "clusterRegion" else part.upper()


def _name(item: dict[str, Any], part: str) -> str:
    if part == "model" and item[part] == ANY_MODEL:
        return "(none named)"
    if part == "cluster" and not item[part]:
        return "(none answered)"
    return str(item[part] or "-")


def _idle(idle: dict[str, Any], heads: list[str]) -> list[object]:
    """One line of a cluster's idle time, however the rest is told apart."""
    named = [idle.get(each, "") for each in heads]
    if "cluster" not in heads:
        named[0] = f"{named[0]} {idle['cluster']}".strip()
    named[-1] = f"{named[-1]} (idle {seconds(idle['hours'] * 3600)})".strip()
    return [*named, "", "", "", "", _usd(idle["usd"]), "", "", "", ""]


def _figures(of: dict[str, Any]) -> list[object]:
    tokens = of["tokens"]["prompt"] + of["tokens"]["output"]
    estimated = of["estimated"]["tokenShare"]
    each = of["usdPerMillionTokens"]
    amortized = of["amortizedUsd"] / tokens * 1e6 if tokens else None
    return [
        number(of["requests"]),
        number(tokens),
        _usd(of["marginalUsd"]),
        _usd(each["marginal"]),
        _usd(of["amortizedUsd"]),
        _usd(amortized),
        "-" if estimated is None else percent(1 - estimated),
        _usd(of["whatIf"]["allOnPrem"]["usd"]),
        _usd(of["whatIf"]["allCloud"]["usd"]),
    ]


def _usd(value: float | None) -> str:
    if value is None:
        return "-"
    # Half a cent and more is money; less is shown by its first digits, since a token costs less than that.
    return f"${value:,.2f}" if value == 0 or abs(value) >= 0.005 else f"${value:.2g}"


def _explain(total: dict[str, Any]) -> None:
    estimated = total["estimated"]["tokenShare"]
    if estimated:
        say(f"{percent(estimated)} of the tokens are estimated: no access log told them.", "yellow")
    kept = [
        f"{percent(what_if['keptUsd'] / what_if['usd'])} of {words}"
        for words, what_if in (
            ("all on-prem", total["whatIf"]["allOnPrem"]),
            ("all cloud", total["whatIf"]["allCloud"]),
        )
        if what_if["keptUsd"] > 0
    ]
    if kept:
        say(f"Actual cost stands in where nobody else lawfully could have served: {' and '.join(kept)}.")
    say("All on-prem and all cloud are at marginal prices, and do not ask whether there was room.")
