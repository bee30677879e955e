"""Prices by JSON pointers out of documents of any shape."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.signals.price_document import PriceDocumentError
from penstock.signals.price_json import NoFigureError
from penstock.signals.price_pointers import mapped_prices, value_at
from penstock_policies.feeds import FigureUnit, MappedFigure

RFC_6901 = {
    "foo": ["bar", "baz"],
    "": 0,
    "a/b": 1,
    "c%d": 2,
    "e^f": 3,
    "g|h": 4,
    "i\\j": 5,
    'k"l': 6,
    " ": 7,
    "m~n": 8,
    "~1": 9,
}
"""The document of RFC 6901, section 5, and a name that only the right order of unescaping finds."""


def mapped(pointer: str, unit: FigureUnit = FigureUnit.USD_PER_MILLION_TOKENS, key: str = "a") -> MappedFigure:
    return MappedFigure(pointer=pointer, key=key, unit=unit)


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("", RFC_6901),
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/", 0),
        ("/a~1b", 1),
        ("/c%d", 2),
        ("/e^f", 3),
        ("/g|h", 4),
        ("/i\\j", 5),
        ('/k"l', 6),
        ("/ ", 7),
        ("/m~0n", 8),
        ("/~01", 9),
    ],
)
def test_the_examples_of_the_rfc(pointer: str, value: Any) -> None:
    assert value_at(RFC_6901, pointer) == value


@pytest.mark.parametrize("pointer", ["/foo/2", "/foo/-", "/foo/01", "/foo/-1", "/foo/bar", "/nope", "/foo/0/0", "foo"])
def test_a_pointer_that_leads_nowhere_is_no_figure(pointer: str) -> None:
    with pytest.raises(NoFigureError):
        value_at(RFC_6901, pointer)


@pytest.mark.parametrize(
    ("text", "unit", "usd"),
    [
        (b"0.9", FigureUnit.USD_PER_MILLION_TOKENS, 0.9),
        (b"0.0009", FigureUnit.USD_PER_THOUSAND_TOKENS, 0.9),
        (b"9e-7", FigureUnit.USD_PER_TOKEN, 0.9),
        (b'"0.0000009"', FigureUnit.USD_PER_TOKEN, 0.9),
        (b"-3", FigureUnit.USD_PER_TOKEN, -3e6),
        (b"0.5", FigureUnit.PER_MILLION_TOKENS, 0.54),
        (b"0.0005", FigureUnit.PER_THOUSAND_TOKENS, 0.54),
        (b"5e-7", FigureUnit.PER_TOKEN, 0.54),
    ],
)
def test_figures_are_turned_into_usd_per_million_tokens(text: bytes, unit: FigureUnit, usd: float) -> None:
    assert mapped_prices(b'{"p": ' + text + b"}", [mapped("/p", unit)], 1.08) == ({"a": usd}, {})


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"null", "null"),
        (b"true", "true or false"),
        (b'"free"', "text"),
        (b'"NaN"', "text"),
        (b'"1_000"', "text"),
        (b"[1]", "a list"),
        (b"{}", "an object"),
        (b"1e999", "too large"),
        (b"9" * 400, "too large"),
        (b'"1e999"', "too large"),
    ],
)
def test_what_is_no_number_is_its_keys_refusal_and_the_others_are_kept(value: bytes, why: str) -> None:
    text = b'{"bad": ' + value + b', "good": 2}'
    prices, refused = mapped_prices(text, [mapped("/bad"), mapped("/good", key="b"), mapped("/no", key="c")], 1.0)
    assert prices == {"b": 2.0}
    assert refused["a"].startswith(f"/bad: {why}")
    assert refused["c"] == "/no: nothing is there"


@pytest.mark.parametrize("text", [b"", b"<html>", b'{"p": 1', b'{"p": NaN}', b"[" * 100_000, b"\xff\xfe{}"])
def test_what_is_no_json_is_refused_whole(text: bytes) -> None:
    with pytest.raises(PriceDocumentError, match="Invalid JSON"):
        mapped_prices(text, [mapped("/p")], 1.0)


def test_a_byte_order_mark_does_no_harm() -> None:
    assert mapped_prices(b'\xef\xbb\xbf{"p": 1}', [mapped("/p")], 1.0) == ({"a": 1.0}, {})


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab~/01", max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(_JSON, st.text("/~01ab-", max_size=12))
def test_any_pointer_into_any_document_gives_a_value_or_none(document: Any, pointer: str) -> None:
    try:
        value_at(document, pointer)
    except NoFigureError:
        return


@given(st.binary(max_size=300))
def test_arbitrary_bytes_never_raise_anything_else(text: bytes) -> None:
    try:
        mapped_prices(text, [mapped("/0"), mapped("", key="b")], 1.0)
    except PriceDocumentError:
        return
