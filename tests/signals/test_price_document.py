"""What is a price document and what is not."""

import json
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.signals.price_document import PriceDocumentError, parse_carbon, parse_prices
from penstock.signals.price_litellm import litellm_prices
from penstock.signals.price_pointers import mapped_prices
from penstock_policies.feeds import FigureUnit, MappedFigure


def test_prices_are_read_by_key() -> None:
    text = (
        b'{"prices": [{"key": "eu/llama", "usdPerMillionTokens": 0.9}, {"key": "us/llama", "usdPerMillionTokens": 1}]}'
    )
    assert parse_prices(text) == {"eu/llama": 0.9, "us/llama": 1.0}


def test_values_come_as_they_are_for_the_engine_to_judge() -> None:
    assert parse_prices(b'{"prices": [{"key": "a", "usdPerMillionTokens": -3e9}]}') == {"a": -3e9}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "Invalid JSON"),
        (b"<html>502</html>", "Invalid JSON"),
        (b"[]", "document"),
        (b'{"prices": []}', "prices: .*at least 1"),
        (b'{"price": []}', "prices: Field required"),
        (b'{"prices": [{"key": "a"}]}', r"prices\.0\.usdPerMillionTokens: Field required"),
        (b'{"prices": [{"key": "a", "usdPerMillionTokens": "0.9"}]}', "valid number"),
        (b'{"prices": [{"key": "a", "usdPerMillionTokens": NaN}]}', "usdPerMillionTokens|JSON"),
        (b'{"prices": [{"key": "a", "usdPerMillionTokens": 1e999}]}', "usdPerMillionTokens|JSON"),
        (
            b'{"prices": [{"key": "a", "usdPerMillionTokens": 1, "currency": "EUR"}]}',
            r"^prices\.0: a field of an unknown name$",
        ),
        (
            b'{"prices": [{"key": "a", "usdPerMillionTokens": 1}, {"key": "a", "usdPerMillionTokens": 2}]}',
            "one price for a",
        ),
    ],
)
def test_anything_else_is_refused_with_the_place(text: bytes, says: str) -> None:
    with pytest.raises(PriceDocumentError, match=says):
        parse_prices(text)


def test_a_document_of_another_kind_is_refused_in_few_words() -> None:
    text = json.dumps({"prices": [{"model": "x"}] * 1000}).encode()
    with pytest.raises(PriceDocumentError) as caught:
        parse_prices(text)
    assert len(str(caught.value)) < 400


def test_carbon_intensities_are_read_by_key() -> None:
    text = b'{"carbon": [{"key": "eu", "gramsPerMillionTokens": 120}, {"key": "us", "gramsPerMillionTokens": 380.5}]}'
    assert parse_carbon(text) == {"eu": 120.0, "us": 380.5}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b'{"prices": [{"key": "a", "usdPerMillionTokens": 1}]}', "carbon: Field required"),
        (b'{"carbon": [{"key": "a", "gramsPerMillionTokens": "1"}]}', "valid number"),
        (
            b'{"carbon": [{"key": "a", "gramsPerMillionTokens": 1, "unit": "kg"}]}',
            r"^carbon\.0: a field of an unknown name$",
        ),
        (
            b'{"carbon": [{"key": "a", "gramsPerMillionTokens": 1}, {"key": "a", "gramsPerMillionTokens": 2}]}',
            "one carbon intensity for a",
        ),
    ],
)
def test_prices_are_never_taken_for_carbon_nor_anything_else(text: bytes, says: str) -> None:
    with pytest.raises(PriceDocumentError, match=says):
        parse_carbon(text)


@pytest.mark.parametrize(
    "text",
    [
        b"hunter2",
        b"hunter2: {}",
        b"12 hunter2",
        b"HOME=/hunter2\0TOKEN=hunter2\0",
        b'"hunter2"',
        b'["hunter2"]',
        b'{"hunter2": "hunter2"}',
        b'{"prices": "hunter2"}',
        b'{"prices": {"hunter2": 1}}',
        b'{"prices": [{"hunter2": "hunter2", "key": 7, "usdPerMillionTokens": "hunter2"}]}',
        b'{"prices": [{"key": "a", "usdPerMillionTokens": 1}], "hunter2": 1, "hunter2": 2}',
        b'{"prices": [{"key": "\\hunter2"}]}',
        b'{"prices": [hunter2',
        b"{hunter2: 1}",
    ],
)
def test_what_is_wrong_with_any_file_of_this_machine_is_told_without_a_word_of_it(text: bytes) -> None:
    pointed = [MappedFigure(pointer="/prices", key="k", unit=FigureUnit("usdPerHour"))]
    told = []
    for read in (parse_prices, parse_carbon, partial(litellm_prices, wanted=["k"])):
        with pytest.raises(PriceDocumentError) as caught:
            read(text)
        told.append(str(caught.value))
        assert caught.value.__cause__ is None or "hunter2" not in str(caught.value.__cause__)
    try:
        prices, refused = mapped_prices(text, pointed, 1.0)
        told.append(f"{prices} {refused}")
    except PriceDocumentError as error:
        told.append(str(error))
    assert [one for one in told if "hunter2" in one] == []


@given(st.binary(max_size=300))
def test_arbitrary_bytes_never_raise_anything_else(text: bytes) -> None:
    try:
        parse_prices(text)
    except PriceDocumentError:
        return
