"""Azure's Retail Prices API: list and spot prices of machines, and of tokens, by filter. Pure.

``GET /api/retail/prices?api-version=2023-01-01-preview&$filter=...`` answers ``{"Items": [...], "NextPageLink": ...}``,
a hundred items a page. It needs no key. Values in filters are compared to the letter. An item with the very price that
is meant may stand beside many that are not: other operating systems, spot and low priority, reservations, savings
plans (inside the item), meters of the past and of the future. What is left after sorting those out must be one price;
where it is not, the figure is refused and says between what it could not choose.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlencode

from yarl import URL

from penstock.signals.asking import Ask, AskError
from penstock.signals.conversation import Conversation
from penstock.signals.price_document import PriceDocumentError
from penstock.signals.price_json import NoFigureError, figure_of, read_json
from penstock.signals.readings import some
from penstock_policies.feed_apis import AzureFigure

AZURE_PRICES: Final = "https://prices.azure.com/api/retail/prices"
_VERSION: Final = "2023-01-01-preview"
_MEASURE: Final = re.compile(r"([1-9][0-9]{0,6})([KM]?)(?: (Hours?|Tokens?))?")
_TIMES: Final = {"": 1.0, "K": 1e3, "M": 1e6}
_NAMED: Final = 3
"""Meters that a message names."""

_Item = Mapping[str, Any]


def ask_azure(
    base: str, figures: Sequence[AzureFigure], currency: str, usd_per_unit: float, now: float
) -> Conversation:
    """Ask for every figure, page by page."""
    found: dict[str, float] = {}
    refused: dict[str, str] = {}
    for figure in figures:
        link: str | None = f"{base}?{_query(figure, currency)}"
        items: list[_Item] = []
        asked: set[str] = set()
        try:
            while link is not None:
                if link in asked:
                    raise PriceDocumentError("the pages of Azure's answer go round in a circle")
                asked.add(link)
                answer = yield Ask(link)
                page = read_json(answer.body)
                items += _items(page)
                link = _next(base, page)
            found[figure.key] = _price(figure, items, currency, now) * usd_per_unit
        except NoFigureError as error:
            refused[figure.key] = str(error)
        except AskError as error:
            # A filter that this API does not understand is no fault of the others.
            if error.status not in {400, 404}:
                raise
            refused[figure.key] = str(error)
    return some(found, refused)


def _query(figure: AzureFigure, currency: str) -> str:
    terms = {
        "serviceName": figure.service,
        "armRegionName": figure.region,
        "armSkuName": figure.sku,
        "meterName": figure.meter,
        "priceType": "Consumption",
    }
    quoted = {name: value.replace("'", "''") for name, value in terms.items() if value is not None}
    query = {"api-version": _VERSION, "$filter": " and ".join(f"{name} eq '{one}'" for name, one in quoted.items())}
    if currency != "USD":
        query["currencyCode"] = f"'{currency}'"
    return urlencode(query, quote_via=quote, safe="$'")


def _items(page: Any) -> list[_Item]:  # noqa: ANN401 - JSON is anything
    items = page.get("Items") if isinstance(page, dict) else None
    if not isinstance(items, list):
        raise PriceDocumentError("not a page of Azure's prices: it has no Items")
    return [item for item in items if isinstance(item, dict)]


def _next(base: str, page: Mapping[str, Any]) -> str | None:
    """Give the next page's address, which must be of the server that was asked."""
    link = page.get("NextPageLink")
    if not link:
        return None
    try:
        url, own = URL(str(link)), URL(base)
    except ValueError as error:
        raise PriceDocumentError("NextPageLink is no address") from error
    if (url.scheme, url.host, url.port) != (own.scheme, own.host, own.port):
        raise PriceDocumentError(f"NextPageLink leads to another server, {url.host}")
    return str(url)


def _price(figure: AzureFigure, items: Sequence[_Item], currency: str, now: float) -> float:
    meant = [item for item in items if _is_meant(figure, item)]
    if not meant:
        raise NoFigureError(f"none of the {len(items)} prices that Azure lists is the one meant")
    current = [item for item in meant if _holds(item, now)]
    primary = [item for item in current if item.get("isPrimaryMeterRegion") is True] or current
    latest = max((str(item.get("effectiveStartDate", "")) for item in primary), default="")
    newest = [item for item in primary if str(item.get("effectiveStartDate", "")) == latest]
    prices = {_figure(figure, item, currency): item for item in newest}
    if not prices:
        raise NoFigureError("every price that Azure lists is of the past or the future")
    if len(prices) > 1:
        meters = sorted({str(item.get("meterName")) for item in prices.values()})[:_NAMED]
        raise NoFigureError(f"{len(prices)} prices fit, of the meters {', '.join(meters)}: name one as meter")
    return next(iter(prices))


def _is_meant(figure: AzureFigure, item: _Item) -> bool:
    names = f"{item.get('skuName', '')} {item.get('meterName', '')}"
    return (
        item.get("type") == "Consumption"
        and not item.get("reservationTerm")
        and item.get("armRegionName") == figure.region
        and item.get("serviceName") == figure.service
        and figure.sku in {None, item.get("armSkuName")}
        and figure.meter in {None, item.get("meterName")}
        and ("Spot" in names) == figure.spot
        and "Low Priority" not in names
        and ("Windows" in str(item.get("productName", ""))) == figure.windows
        and item.get("tierMinimumUnits", 0) == 0
    )


def _holds(item: _Item, now: float) -> bool:
    start, end = _moment(item.get("effectiveStartDate")), _moment(item.get("effectiveEndDate"))
    return (start is None or start <= now) and (end is None or now < end)


def _moment(text: object) -> float | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def _figure(figure: AzureFigure, item: _Item, currency: str) -> float:
    if item.get("currencyCode") != currency:
        raise NoFigureError(f"Azure's price is in {str(item.get('currencyCode'))[:10]}, not in {currency}")
    measure = _MEASURE.fullmatch(str(item.get("unitOfMeasure", "")))
    by_hour = measure is not None and (measure[3] or "").startswith("Hour")
    if measure is None or by_hour != (figure.unit == "perHour"):
        raise NoFigureError(f"Azure's price is by {str(item.get('unitOfMeasure'))[:20]!r}, not {figure.unit}")
    units = float(measure[1]) * _TIMES[measure[2]]
    return figure_of(item.get("retailPrice"), (1.0 if by_hour else 1e6) / units)
