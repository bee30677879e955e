"""The price document, ``{"prices": [{"key": ..., "usdPerMillionTokens": ...}]}``: text in, prices out. Pure.

Strict about its shape: an unknown field may change what a number means (a currency, a unit), so a document with one is
refused whole. Not about its values: whether a price is absurd is judged by the engine, key by key, so that one wrong
price does not take the others with it.
"""

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MOST_SHOWN: Final = 3
"""Findings repeated in a message; a document of the wrong kind has one for every entry."""


class _Price(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    key: Annotated[str, Field(min_length=1)]
    usd_per_million_tokens: Annotated[float, Field(alias="usdPerMillionTokens", allow_inf_nan=False)]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    prices: Annotated[list[_Price], Field(min_length=1)]


class PriceDocumentError(Exception):
    """Something that is no price document; the text says what and where."""


def parse_prices(text: bytes) -> Mapping[str, float]:
    """Return the prices of a document, in dollars per million tokens, by key.

    Raises:
        PriceDocumentError: it is not JSON of the shape above, holds no price, or one key twice.

    """
    try:
        document = _Document.model_validate_json(text)
    except ValidationError as error:
        raise PriceDocumentError(_words(error)) from error
    prices = {price.key: price.usd_per_million_tokens for price in document.prices}
    if len(prices) < len(document.prices):
        keys = [price.key for price in document.prices]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        raise PriceDocumentError(f"more than one price for {', '.join(twice[:MOST_SHOWN])}")
    return prices


def _words(error: ValidationError) -> str:
    findings = [
        f"{'.'.join(str(step) for step in finding['loc']) or 'document'}: {finding['msg']}"
        for finding in error.errors(include_url=False, include_input=False)
    ]
    more = f"; and {len(findings) - MOST_SHOWN} more" if len(findings) > MOST_SHOWN else ""
    return "; ".join(findings[:MOST_SHOWN]) + more
