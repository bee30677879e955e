"""The report of a replay as one self-contained page: the table, and plots over time. Needs no network to be read."""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import accumulate
from typing import Any, Final

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from penstock.replay.faults import described
from penstock.replay.report_text import COLUMNS, conclusions, headline, table
from penstock.replay.results import Result, cadence
from penstock.replay.scenario import Scenario
from penstock.replay.simulator import BUCKET

_COLOURS: Final = {
    "penstock": "#0b6e4f",
    "clairvoyant": "#222222",
    "static_split": "#8d99ae",
    "on_prem_only": "#b08968",
    "cloud_only": "#4895ef",
    "waterfall": "#f4a261",
    "cheapest_first": "#e76f51",
    "latency_greedy": "#9d4edd",
}

_CONFIG: Final = {"displaylogo": False, "showSendToCloud": False, "plotlyServerURL": "", "responsive": True}
"""Plotly's defaults offer to upload the figures to its maker's site. They are nobody's business but the reader's."""

_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy"
 content="connect-src 'none'; form-action 'none'; img-src data: blob:; font-src data:">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1100px; padding: 0 1rem; color: #1b1b1b; }}
table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .35rem .6rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }}
th:first-child, td:first-child {{ text-align: left; }}
dt {{ font-weight: 600; }}
dd {{ margin: 0 0 .4rem 1.5rem; }}
tr.ours {{ background: #e8f5ef; font-weight: 600; }}
.wide {{ overflow-x: auto; }}
</style>
<script>{script}</script></head><body>
<h1>Penstock replay</h1>
<p>{headline}</p>
{cadence}
{faults}
<div class="wide">{table}</div>
<ul>{conclusions}</ul>
<details><summary>What the columns mean</summary><dl>{meanings}</dl></details>
{plots}
</body></html>
"""


def as_html(scenario: Scenario, results: Mapping[str, Result]) -> str:
    """Render the page."""
    minutes = [number * BUCKET / 60 for number in range(int(scenario.duration / BUCKET) + 1)]
    figures = [
        _cost_and_misses(results),
        _lines(
            minutes, results, "Cost so far", "USD", {n: list(accumulate(r.cost_by_bucket)) for n, r in _of(results)}
        ),
        _lines(minutes, results, "SLO misses a minute", "requests", {n: r.missed_by_bucket for n, r in _of(results)}),
        *(_served(minutes, name, results[name]) for name in ("penstock", "clairvoyant") if name in results),
    ]
    for figure in figures[1:]:
        _mark(figure, scenario)
    faults = "".join(f"<li>{escape(described(fault))}</li>" for fault in scenario.faults)
    return _PAGE.format(
        title=escape(f"Penstock replay of {scenario.name}"),
        script=get_plotlyjs(),
        headline=escape(headline(scenario)),
        cadence=f"<p>{escape(cadence(scenario))}</p>" if cadence(scenario) else "",
        meanings="".join(f"<dt>{escape(_name(c.heading))}</dt><dd>{escape(c.meaning)}.</dd>" for c in COLUMNS),
        faults=f"<ul>{faults}</ul>" if faults else "",
        table=_table(results),
        conclusions="".join(f"<li>{escape(sentence)}</li>" for sentence in conclusions(results)),
        plots="\n".join(
            figure.to_html(full_html=False, include_plotlyjs=False, div_id=f"plot-{number}", config=_CONFIG)
            for number, figure in enumerate(figures)
        ),
    )


def _of(results: Mapping[str, Result]) -> list[tuple[str, Result]]:
    return list(results.items())


def _table(results: Mapping[str, Result]) -> str:
    headings, rows = table(results)
    head = "".join(f"<th>{escape(_name(heading))}</th>" for heading in headings)
    body = "".join(_table_row(name, row) for name, row in zip(results, rows, strict=True))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _name(heading: str) -> str:
    return heading.removesuffix("#")


def _table_row(name: str, row: Sequence[str]) -> str:
    mark = ' class="ours"' if name == "penstock" else ""
    cells = "".join(f"<td>{escape(cell)}</td>" for cell in row)
    return f"<tr{mark}>{cells}</tr>"


def _cost_and_misses(results: Mapping[str, Result]) -> Any:  # noqa: ANN401 - plotly has no types
    figure = go.Figure()
    for name, result in results.items():
        # Names stand in the legend: beside the points, those of strategies that are near each other would overlap.
        figure.add_scatter(
            x=[result.cost_usd],
            y=[result.slo_missed],
            mode="markers",
            name=name.replace("_", " "),
            marker={"size": 12, "color": _COLOURS[name]},
        )
    _frame(figure, "Cost against SLO misses: down and left is better", "USD", "requests that missed their SLO")
    return figure


def _lines(
    minutes: Sequence[float],
    results: Mapping[str, Result],
    title: str,
    unit: str,
    series: Mapping[str, Sequence[float]],
) -> Any:  # noqa: ANN401 - plotly has no types
    figure = go.Figure()
    for name in results:
        figure.add_scatter(x=minutes, y=list(series[name]), name=name.replace("_", " "), line={"color": _COLOURS[name]})
    _frame(figure, title, "minutes", unit)
    return figure


def _served(minutes: Sequence[float], name: str, result: Result) -> Any:  # noqa: ANN401 - plotly has no types
    figure = go.Figure()
    for cluster, counts in sorted(result.served_by_bucket.items()):
        figure.add_scatter(x=minutes, y=list(counts), name=cluster, stackgroup="one", line={"width": 0.5})
    _frame(figure, f"Who served, by {name}", "minutes", "requests a minute")
    return figure


def _frame(figure: Any, title: str, x: str, y: str) -> None:  # noqa: ANN401 - plotly has no types
    figure.update_layout(title=title, xaxis_title=x, yaxis_title=y, template="plotly_white", height=420)


def _mark(figure: Any, scenario: Scenario) -> None:  # noqa: ANN401 - plotly has no types
    for fault in scenario.faults:
        if fault.start >= scenario.duration:
            continue
        figure.add_vrect(
            x0=fault.start / 60,
            x1=min(fault.end, scenario.duration) / 60,
            fillcolor="#d62828",
            opacity=0.08,
            line_width=0,
        )
