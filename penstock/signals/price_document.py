"""The documents of cost feeds: text in, figures out. Pure.

Prices come as ``{"prices": [{"key": ..., "usdPerMillionTokens": ...}]}``, carbon intensities as ``{"carbon": [{"key":
..., "gramsPerMillionTokens": ...}]}``.

What goes wrong is told by its place and kind and never quoted, not even the name of an unknown field: a policy may name
any file that this process can read, and must not have it told what is in it.

Strict about its shape: an unknown field may change what a number means (a currency, a unit), so a document with one is
refused whole. Not about its values: whether a figure is absurd is judged by the engine, key by key, so that one wrong
figure does not take the others with it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

MOST_SHOWN: Final = 3
"""Findings repeated in a message; a document of the wrong kind has one for every entry."""


class _Price(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    key: Annotated[str, Field(min_length=1)]
    usd_per_million_tokens: Annotated[float, Field(alias="usdPerMillionTokens", allow_inf_nan=False)]


class _Prices(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    prices: Annotated[list[_Price], Field(min_length=1)]


class _Intensity(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    key: Annotated[str, Field(min_length=1)]
    grams_per_million_tokens: Annotated[float, Field(alias="gramsPerMillionTokens", allow_inf_nan=False)]


class _Intensities(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    carbon: Annotated[list[_Intensity], Field(min_length=1)]


class PriceDocumentError(Exception):
    """Something that is no document of the kind asked for; the text says what and where."""


def parse_prices(text: bytes) -> Mapping[str, float]:
    """Return the prices of a document, in dollars per million tokens, by key.

    Raises:
        PriceDocumentError: it is not JSON of the shape above, holds no price, or one key twice.

    """
    try:
        document = _Prices.model_validate_json(text)
    except ValidationError as error:
        raise PriceDocumentError(_words(error)) from None
    return _by_key([(price.key, price.usd_per_million_tokens) for price in document.prices], "price")


def parse_carbon(text: bytes) -> Mapping[str, float]:
    """Return the carbon intensities of a document, in grams of CO2 equivalent per million tokens, by key.

    Raises:
        PriceDocumentError: it is not JSON of the shape above, holds no intensity, or one key twice.

    """
    try:
        document = _Intensities.model_validate_json(text)
    except ValidationError as error:
        raise PriceDocumentError(_words(error)) from None
    return _by_key([(each.key, each.grams_per_million_tokens) for each in document.carbon], "carbon intensity")


def _by_key(figures: Sequence[tuple[str, float]], what: str) -> Mapping[str, float]:
    found = dict(figures)
    if len(found) < len(figures):
        counts = Counter(key for key, _ in figures)
        twice = sorted(key for key, count in counts.items() if count > 1)
        raise PriceDocumentError(f"more than one {what} for {', '.join(twice[:MOST_SHOWN])}")
    return found


def _words(error: ValidationError) -> str:
    findings = [_finding(each) for each in error.errors(include_url=False, include_input=False)]
    more = f"; and {len(findings) - MOST_SHOWN} more" if len(findings) > MOST_SHOWN else ""
    return "; ".join(findings[:MOST_SHOWN]) + more


def _finding(finding: ErrorDetails) -> str:
    unknown = finding["type"] == "extra_forbidden"
    place = finding["loc"][:-1] if unknown else finding["loc"]
    what = "a field of an unknown name" if unknown else finding["msg"]
    return f"{'.'.join(str(step) for step in place) or 'document'}: {what}"
