"""OpenCost's (and Kubecost's) API: what workloads or nodes cost over a window, by the hour or GPU-hour. Pure.

``GET /allocation`` (or ``/allocation/compute``) with ``window``, ``aggregate`` and ``accumulate=true`` answers
``{"code": 200, "data": [{NAME: allocation}]}``; ``GET /assets`` the same of nodes. Money is in the currency OpenCost is
set up with. Cost and hours are summed over all sets and then divided, so that an hour that is missing at the source is
missing above and below the line.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, urlencode

from penstock.signals.asking import Ask
from penstock.signals.conversation import Conversation
from penstock.signals.price_document import PriceDocumentError
from penstock.signals.price_json import NoFigureError, figure_of, read_json
from penstock.signals.readings import some
from penstock_policies.feed_apis import OpenCostFigure

_LEAST_HOURS: Final = 1 / 60
"""Less than a minute of running says nothing of what an hour costs."""


def ask_opencost(
    base: str, figures: Sequence[OpenCostFigure], usd_per_unit: float, headers: Mapping[str, str], secret: str
) -> Conversation:
    """Ask for every figure, those that share a question together."""
    found: dict[str, float] = {}
    refused: dict[str, str] = {}
    questions: dict[str, list[OpenCostFigure]] = {}
    for figure in figures:
        questions.setdefault(_question(figure), []).append(figure)
    for question, asked in questions.items():
        answer = yield Ask(base.rstrip("/") + question, headers=headers, secrets=(secret,))
        entries = _entries(read_json(answer.body))
        for figure in asked:
            try:
                found[figure.key] = _price(figure, entries) * usd_per_unit
            except NoFigureError as error:
                refused[figure.key] = str(error)
    return some(found, refused)


def _question(figure: OpenCostFigure) -> str:
    query = {"window": _window(figure.window), "accumulate": "true"}
    if figure.aggregate is not None:
        query["aggregate"] = figure.aggregate
    return f"{figure.path}?{urlencode(query, quote_via=quote)}"


def _window(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes % 1440 == 0:
        return f"{minutes // 1440}d"
    return f"{minutes // 60}h" if minutes % 60 == 0 else f"{minutes}m"


def _entries(document: Any) -> list[tuple[str, Mapping[str, Any]]]:  # noqa: ANN401 - JSON is anything
    """Give every allocation or asset of an answer; a window without data is null or empty."""
    if not isinstance(document, dict) or "data" not in document:
        raise PriceDocumentError("not an answer of OpenCost: it has no data")
    if document.get("code", 200) != 200:
        raise PriceDocumentError(f"OpenCost answers with code {str(document['code'])[:20]}")
    data = document["data"]
    sets = data if isinstance(data, list) else [data]
    return [
        (str(name), entry)
        for one in sets
        if isinstance(one, dict)
        for name, entry in one.items()
        if isinstance(entry, dict)
    ]


def _price(figure: OpenCostFigure, entries: Iterable[tuple[str, Mapping[str, Any]]]) -> float:
    picked = [entry for name, entry in entries if _is_meant(figure, name, entry)]
    if not picked:
        raise NoFigureError(f"OpenCost has no {_sought(figure)}")
    cost = sum(_cost(figure, entry) for entry in picked)
    hours = sum(_hours(figure, entry) for entry in picked)
    if hours < _LEAST_HOURS:
        raise NoFigureError(f"{_sought(figure)} had no {'GPU-hours' if figure.unit == 'perGpuHour' else 'hours'}")
    return figure_of(cost / hours, 1.0)


def _sought(figure: OpenCostFigure) -> str:
    what = f"{figure.aggregate} {figure.name}" if figure.path != "/assets" else f"node {figure.name or figure.label}"
    return f"{what} in its last {_window(figure.window)}"


def _is_meant(figure: OpenCostFigure, name: str, entry: Mapping[str, Any]) -> bool:
    if figure.path != "/assets":
        return name == figure.name
    properties, labels = entry.get("properties"), entry.get("labels")
    if str(entry.get("type", "")).casefold() != "node":
        return False
    if figure.label is not None:
        label, _, value = figure.label.partition("=")
        # Prometheus has no other signs in the names of labels than underscores, and OpenCost takes them from there.
        plain = "".join(sign if sign.isalnum() else "_" for sign in label)
        known = labels if isinstance(labels, dict) else {}
        return value in {known.get(label), known.get(plain), known.get(f"label_{plain}")}
    return isinstance(properties, dict) and properties.get("name") == figure.name


def _cost(figure: OpenCostFigure, entry: Mapping[str, Any]) -> float:
    if figure.cost == "total":
        return _number(entry, "totalCost")
    return _number(entry, "gpuCost") + _number(entry, "gpuCostAdjustment", 0.0)


def _hours(figure: OpenCostFigure, entry: Mapping[str, Any]) -> float:
    if figure.unit == "perHour":
        return _number(entry, "minutes") / 60
    if "gpuHours" in entry:
        return _number(entry, "gpuHours")
    return _number(entry, "gpuCount") * _number(entry, "minutes") / 60


def _number(entry: Mapping[str, Any], name: str, default: float | None = None) -> float:
    if name not in entry and default is not None:
        return default
    try:
        return figure_of(entry.get(name), 1.0)
    except NoFigureError as error:
        raise NoFigureError(f"{name} is {error}") from error
