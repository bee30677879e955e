"""ENTSO-E's Transparency Platform: day-ahead prices of electricity by bidding zone (document A44). Pure.

The token is part of the address, so no address is ever told. The answer is XML: time series of periods of points, in
EUR/MWh, by the hour or the quarter. Of curve type A03 a point that is missing has the price of the one before. Prices
may be negative. What there is no data for is answered with an acknowledgement that gives a reason. Published prices
stand: the series of today and tomorrow is kept, and the hour's price taken from it without asking again.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlencode

from penstock.signals.asking import Answer, Ask, struck
from penstock.signals.conversation import Conversation
from penstock.signals.price_document import PriceDocumentError
from penstock.signals.price_errors import PriceSourceError
from penstock.signals.price_json import NoFigureError, figure_of
from penstock.signals.price_series import Series, Step
from penstock.signals.readings import Reading, some
from penstock.signals.xml_document import Element, read_xml
from penstock_policies.feed_apis import EntsoeFigure

ENTSOE: Final = "https://web-api.tp.entsoe.eu/api"
_DAY_AHEAD: Final = "A01"
_GAPS_REPEAT: Final = "A03"
_RESOLUTIONS: Final = {"PT15M": 900.0, "PT30M": 1800.0, "PT60M": 3600.0, "PT1H": 3600.0}
_MOST_STEPS: Final = 4 * 24 * 31
"""In a period: a month of quarters, where two days are asked for."""
_KWH_IN_MWH: Final = 1e3
_NO_DATA: Final = "999"


def ask_entsoe(
    base: str, figures: Sequence[EntsoeFigure], token: str, *, currency: str, usd_per_unit: float, now: float
) -> Conversation:
    """Ask for every zone, from yesterday to the end of tomorrow."""
    series: dict[str, Series] = {}
    refused: dict[str, str] = {}
    for figure in figures:
        answer = yield Ask(f"{base}?{_query(figure, token, now)}", secrets=(token,), read_errors=True)
        try:
            series[figure.key] = _series(_document(answer, token), currency, usd_per_unit / _KWH_IN_MWH)
        except NoFigureError as error:
            refused[figure.key] = str(error)
    some(dict.fromkeys(series, 0.0), refused)
    return Reading({}, refused, series=series)


def _query(figure: EntsoeFigure, token: str, now: float) -> str:
    midnight = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return urlencode(
        {
            "documentType": "A44",
            "in_Domain": figure.zone,
            "out_Domain": figure.zone,
            "contract_MarketAgreement.type": _DAY_AHEAD,
            "periodStart": (midnight - timedelta(days=1)).strftime("%Y%m%d%H%M"),
            "periodEnd": (midnight + timedelta(days=2)).strftime("%Y%m%d%H%M"),
            "securityToken": token,
        }
    )


def _document(answer: Answer, token: str) -> Element:
    if answer.status in {401, 403}:
        raise PriceSourceError(f"HTTP {answer.status}: ENTSO-E refuses the token")
    try:
        document = read_xml(answer.body)
    except PriceDocumentError:
        if answer.status != 200:
            raise PriceSourceError(f"HTTP {answer.status}") from None
        raise
    if document.name == "Acknowledgement_MarketDocument":
        code = document.words("Reason", "code") or "none"
        text = struck(document.words("Reason", "text") or "", (token,))[:120]
        if code == _NO_DATA:
            raise NoFigureError(f"ENTSO-E has no data: {text}")
        raise PriceSourceError(f"HTTP {answer.status}: ENTSO-E gives reason {code[:10]}: {text}")
    if document.name != "Publication_MarketDocument":
        raise PriceDocumentError("not a document of ENTSO-E's prices")
    return document


def _series(document: Element, currency: str, usd: float) -> Series:
    tracks: list[tuple[int, float, list[Step]]] = []
    for one in document.each("TimeSeries"):
        if one.words("contract_MarketAgreement.type") not in {None, _DAY_AHEAD}:
            continue
        told, measure = one.words("currency_Unit.name"), one.words("price_Measure_Unit.name")
        if told != currency or measure != "MWH":
            raise NoFigureError(f"ENTSO-E's price is in {told}/{measure}, not in {currency}/MWH")
        sequence = one.words("classificationSequence_AttributeInstanceComponent.position") or "1"
        repeats = one.words("curveType") == _GAPS_REPEAT
        for period in one.each("Period"):
            length = _RESOLUTIONS.get(period.words("resolution") or "")
            if length is None:
                raise NoFigureError(f"a resolution of {(period.words('resolution') or 'none')[:10]}")
            steps = list(_steps(period, length, repeats=repeats, usd=usd))
            tracks.append((int(sequence) if sequence.isdecimal() and len(sequence) < 4 else 999, length, steps))
    # The first auction before the second, quarters before the hours they are part of.
    ordered = [steps for _, _, steps in sorted(tracks, key=lambda track: track[:2]) if steps]
    if not ordered:
        raise NoFigureError("ENTSO-E's document has no prices")
    return Series(ordered)


def _steps(period: Element, length: float, *, repeats: bool, usd: float) -> Iterator[Step]:
    start, end = _moment(period, "start"), _moment(period, "end")
    count = round((end - start) / length)
    if not 0 < count <= _MOST_STEPS:
        raise NoFigureError("a period of no sound length")
    prices: dict[int, float] = {}
    for point in period.each("Point"):
        place = point.words("position") or ""
        if not (place.isdecimal() and len(place) < 6 and 1 <= int(place) <= count):
            raise NoFigureError("a point outside its period")
        prices[int(place)] = figure_of(point.words("price.amount"), usd)
    last: float | None = None
    for position in range(1, count + 1):
        last = prices.get(position, last if repeats else None)
        if last is not None:
            yield Step(start + (position - 1) * length, start + position * length, last)


def _moment(period: Element, which: str) -> float:
    text = period.words("timeInterval", which) or ""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise NoFigureError("a period without a time") from error
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
