"""ENTSO-E's day-ahead prices, in the shape of its documentation."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from penstock.signals.price_document import PriceDocumentError
from penstock.signals.price_entsoe import ENTSOE, ask_entsoe
from penstock.signals.price_errors import PriceSourceError
from penstock.signals.readings import Reading
from penstock_policies.feed_apis import EntsoeFigure
from tests.signals.price_answers import MIDNIGHT, acknowledgement, document, period, series
from tests.signals.talking import answer, talk

HOUR = 3600.0
TOKEN = "0c1e-hunter2"
DE = EntsoeFigure(key="de", zone="10Y1001A1001A82H")


def read(*answers: Any, currency: str = "EUR", rate: float = 1.0) -> Reading:
    figures = [DE, EntsoeFigure(key="fr", zone="10YFR-RTE------C")][: len(answers)]
    conversation = ask_entsoe(ENTSOE, figures, TOKEN, currency=currency, usd_per_unit=rate, now=MIDNIGHT + 5)
    return talk(conversation, answers)[0]


def at(reading: Reading, hours: float) -> float | None:
    return reading.as_of(MIDNIGHT + hours * HOUR).figures.get("de")


def test_each_hour_has_its_price_in_usd_a_kilowatt_hour() -> None:
    reading = read(document(series(period({hour: 10.0 * hour for hour in range(1, 25)}))), rate=1.1)
    assert at(reading, 0.0) == pytest.approx(0.011)
    assert at(reading, 5.99) == pytest.approx(0.066)
    assert at(reading, 23.5) == pytest.approx(0.264)
    now = reading.as_of(MIDNIGHT + 2.5 * HOUR)
    assert now.until == MIDNIGHT + 3 * HOUR


def test_a_point_that_is_missing_has_the_price_before_it_and_prices_may_be_negative() -> None:
    reading = read(document(series(period({1: 50.0, 3: -12.5, 5: 0.0}))))
    assert [at(reading, hour) for hour in (0, 1, 2, 3, 4, 23)] == [0.05, 0.05, -0.0125, -0.0125, 0.0, 0.0]


def test_of_another_curve_a_point_that_is_missing_is_missing() -> None:
    reading = read(document(series(period({1: 50.0, 3: 60.0}), curve="A01")))
    assert [at(reading, hour) for hour in (0, 1, 2, 3)] == [0.05, None, 0.06, None]
    assert reading.as_of(MIDNIGHT + HOUR).refused == {"de": "no price was published for this hour"}


def test_quarters_outrank_the_hours_they_are_part_of_and_the_first_auction_the_second() -> None:
    tag = "classificationSequence_AttributeInstanceComponent.position"
    place = f"<{tag}>{{}}</{tag}>"
    reading = read(
        document(
            series(period({1: 99.0}), more=place.format(2)),
            series(period({1: 40.0}), more=place.format(1)),
            series(period({1: 10.0, 2: 20.0, 3: 30.0, 4: 40.0}, "PT15M", hours=1), more=place.format(1)),
            series(period({1: 1.0}), agreement="A07"),
        )
    )
    assert [at(reading, hour) for hour in (0.0, 0.25, 0.5, 0.75, 1.0)] == [0.01, 0.02, 0.03, 0.04, 0.04]


def test_days_follow_one_another_and_the_end_is_the_end() -> None:
    reading = read(document(series(period({1: 10.0})), series(period({1: 20.0}, day=20))))
    assert [at(reading, hour) for hour in (-0.1, 0, 23.9, 24, 47.9, 48)] == [None, 0.01, 0.01, 0.02, 0.02, None]
    assert reading.as_of(MIDNIGHT + 48 * HOUR).until is None


def test_the_question_is_in_the_apis_words() -> None:
    conversation = ask_entsoe(ENTSOE, [DE], TOKEN, currency="EUR", usd_per_unit=1.0, now=MIDNIGHT + 5)
    _, asked = talk(conversation, [document(series(period({1: 1.0})))])
    query = parse_qs(urlsplit(asked[0].url).query)
    assert query["documentType"] == ["A44"]
    assert query["in_Domain"] == query["out_Domain"] == ["10Y1001A1001A82H"]
    assert (query["periodStart"], query["periodEnd"]) == (["202611180000"], ["202611210000"])
    assert query["securityToken"] == [TOKEN]
    assert TOKEN not in repr(asked[0])


@pytest.mark.parametrize("status", [200, 400])
def test_a_zone_without_data_leaves_the_others(status: int) -> None:
    nothing = answer(acknowledgement("999", f"No matching data found for {TOKEN}"), status)
    reading = read(document(series(period({1: 10.0}))), nothing)
    assert reading.refused == {"fr": "ENTSO-E has no data: No matching data found for ***"}
    assert at(reading, 0) == 0.01


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (answer("<html>Unauthorized</html>", 401), "HTTP 401: ENTSO-E refuses the token"),
        (answer(acknowledgement("A99", f"bad {TOKEN}"), 400), r"HTTP 400: ENTSO-E gives reason A99: bad \*\*\*"),
        (answer("gateway", 404), "^HTTP 404$"),
    ],
)
def test_a_refusal_is_an_error_of_the_feed_without_the_token(said: Any, why: str) -> None:
    with pytest.raises(PriceSourceError, match=why):
        read(said)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (acknowledgement("999", "none"), "ENTSO-E has no data"),
        ("gateway", "Invalid XML"),
        ("<Other/>", "not a document of ENTSO-E's prices"),
        (document(), "has no prices"),
        (document(series(period({1: 1.0}), currency="PLN")), "in PLN/MWH, not in EUR/MWH"),
        (document(series(period({1: "NaN"}))), "text, not a number"),
        (document(series(period({25: 1.0}))), "a point outside its period"),
        (document(series(period({0: 1.0}))), "a point outside its period"),
        (document(series(period({1: 1.0}, "P1Y"))), "a resolution of P1Y"),
        (document(series(period({1: 1.0}, hours=0))), "no sound length"),
        (document(series(period({1: 1.0}).replace("2026-11-19T00:00Z", "yesterday"))), "a period without a time"),
        (document(series(period({1: 1.0}).replace("2026-11-19T00:00Z", "1026-11-19T00:00Z"))), "no sound length"),
        ("<!DOCTYPE a><a/>", "document type declaration"),
    ],
)
def test_what_has_no_price_at_all_is_refused_whole(said: str, why: str) -> None:
    with pytest.raises(PriceDocumentError, match=why):
        read(said)
