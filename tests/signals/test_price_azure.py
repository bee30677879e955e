"""Azure's Retail Prices API, in the shape of its documentation."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from penstock.signals.asking import AskError
from penstock.signals.price_azure import AZURE_PRICES, ask_azure
from penstock.signals.price_document import PriceDocumentError
from penstock.signals.readings import Reading
from penstock_policies.feed_apis import AzureFigure
from tests.signals.price_answers import NEIGHBOURS, SKU, item, page
from tests.signals.talking import talk

NOW = 1_795_000_000.0


def figure(**more: Any) -> AzureFigure:
    return AzureFigure.model_validate({"key": "nd", "region": "westeurope", "sku": SKU, **more})


def read(*items: dict[str, Any], currency: str = "USD", rate: float = 1.0, **more: Any) -> Reading:
    reading, _ = talk(ask_azure(AZURE_PRICES, [figure(**more)], currency, rate, NOW), [page(*items)])
    return reading


@pytest.mark.parametrize(("more", "price"), [({}, 98.32), ({"spot": True}, 19.0), ({"windows": True}, 102.7)])
def test_the_one_price_that_is_meant_is_found_among_its_neighbours(more: dict[str, Any], price: float) -> None:
    assert read(*NEIGHBOURS, item(), **more).figures == {"nd": price}


def test_the_question_is_in_the_apis_words_and_pages_are_followed() -> None:
    second = "https://prices.azure.com:443/api/retail/prices?api-version=2023-01-01-preview&$filter=x eq 'y'&$skip=100"
    conversation = ask_azure(AZURE_PRICES, [figure(meter="O'Hara")], "EUR", 1.1, NOW)
    pages = [page(NEIGHBOURS[0], following=second), page(item(currencyCode="EUR", meterName="O'Hara", retailPrice=90))]
    reading, asked = talk(conversation, pages)
    assert reading.figures == {"nd": pytest.approx(99.0)}
    query = parse_qs(urlsplit(asked[0].url).query)
    assert query["api-version"] == ["2023-01-01-preview"]
    assert query["currencyCode"] == ["'EUR'"]
    terms = "serviceName eq 'Virtual Machines' and armRegionName eq 'westeurope' and armSkuName eq "
    assert query["$filter"] == [f"{terms}'{SKU}' and meterName eq 'O''Hara' and priceType eq 'Consumption'"]
    assert " " not in asked[1].url
    assert parse_qs(urlsplit(asked[1].url).query)["$skip"] == ["100"]


@pytest.mark.parametrize(
    ("link", "why"),
    [
        ("https://evil.example/api", "leads to another server, evil.example"),
        ("http://prices.azure.com/api/retail/prices?$skip=100", "leads to another server"),
        ("https://prices.azure.com:8443/", "leads to another server"),
        ("https://[::1", "no address"),
    ],
)
def test_a_next_page_at_another_server_is_refused(link: str, why: str) -> None:
    with pytest.raises(PriceDocumentError, match=why):
        talk(ask_azure(AZURE_PRICES, [figure()], "USD", 1.0, NOW), [page(item(), following=link)])


def test_pages_that_go_round_in_a_circle_are_refused() -> None:
    link = f"{AZURE_PRICES}?$skip=100"
    with pytest.raises(PriceDocumentError, match="circle"):
        talk(ask_azure(AZURE_PRICES, [figure()], "USD", 1.0, NOW), lambda _: page(item(), following=link))


@pytest.mark.parametrize(
    ("unit", "measure", "price"),
    [
        ("perHour", "1 Hour", 10.0),
        ("perHour", "100 Hours", 0.1),
        ("perMillionTokens", "1K", 10_000.0),
        ("perMillionTokens", "1M", 10.0),
        ("perMillionTokens", "1K Tokens", 10_000.0),
    ],
)
def test_the_measure_is_taken_from_the_list(unit: str, measure: str, price: float) -> None:
    reading = read(item(unitOfMeasure=measure, retailPrice=10.0), unit=unit)
    assert reading.figures == {"nd": pytest.approx(price)}


@pytest.mark.parametrize(
    ("items", "more", "why"),
    [
        ([], {}, "none of the 0 prices"),
        ([item(armSkuName=SKU.lower())], {}, "none of the 1 prices"),
        ([item(unitOfMeasure="1K")], {}, "Azure's price is by '1K', not perHour"),
        ([item(unitOfMeasure="1 Hour")], {"unit": "perMillionTokens"}, "by '1 Hour', not perMillionTokens"),
        ([item(unitOfMeasure="1 GB/Month")], {}, "by '1 GB/Month'"),
        ([item(currencyCode="EUR")], {}, "in EUR, not in USD"),
        ([item(retailPrice="free")], {}, "text, not a number"),
        (
            [item(), item(meterName="another", retailPrice=1.0)],
            {},
            "2 prices fit, of the meters ND96isr H100 v5, another",
        ),
        ([item(effectiveStartDate="2027-01-01T00:00:00Z")], {}, "past or the future"),
        ([item(effectiveEndDate="2026-06-01T00:00:00Z")], {}, "past or the future"),
    ],
)
def test_what_is_not_the_price_that_is_meant_is_refused(
    items: list[dict[str, Any]], more: dict[str, Any], why: str
) -> None:
    with pytest.raises(PriceDocumentError, match=why):
        read(*items, **more)


def test_a_filter_that_azure_does_not_take_leaves_the_others() -> None:
    bad, good = figure(key="bad", region="nowhere"), figure()

    def answers(ask: Any) -> Any:
        return AskError("HTTP 400", status=400) if "nowhere" in ask.url else page(item())

    reading, _ = talk(ask_azure(AZURE_PRICES, [bad, good], "USD", 1.0, NOW), answers)
    assert (reading.figures, reading.refused) == ({"nd": 98.32}, {"bad": "HTTP 400"})
    with pytest.raises(AskError):
        talk(ask_azure(AZURE_PRICES, [good], "USD", 1.0, NOW), lambda _: AskError("HTTP 503, busy", status=503))


@pytest.mark.parametrize("body", ["<html>", "[]", "{}", '{"Items": {}}'])
def test_what_is_no_page_is_refused_whole(body: str) -> None:
    with pytest.raises(PriceDocumentError):
        talk(ask_azure(AZURE_PRICES, [figure()], "USD", 1.0, NOW), [body])
