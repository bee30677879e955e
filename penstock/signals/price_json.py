"""JSON of somebody else's making: read within limits, and numbers taken from it with care. Pure."""

import codecs
import math
import re
from typing import Any, Final

import pydantic_core

from penstock.signals.price_document import PriceDocumentError

_NUMBER: Final = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?")
_DIGITS: Final = 12
"""Significant ones kept: a double has some 16, and 3.3e-07 times a million should read 0.33."""


class NoFigureError(Exception):
    """A place that has no figure; the text says why."""


def read_json(text: bytes) -> Any:  # noqa: ANN401 - JSON is anything
    """Read a document of any shape, with or without a byte order mark. Nesting is bounded by the parser.

    Raises:
        PriceDocumentError: it is no JSON; NaN and infinity are none.

    """
    try:
        return pydantic_core.from_json(text.removeprefix(codecs.BOM_UTF8), allow_inf_nan=False)
    except ValueError as error:
        raise PriceDocumentError(f"Invalid JSON: {error}") from error


def figure_of(value: object, factor: float) -> float:
    """Take a number, or one written as text (many price lists do, lest a reader rounds it), times a factor.

    Raises:
        NoFigureError: it is neither, or too large for a float.

    """
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NoFigureError(f"{_kind(value)}, not a number")
    try:
        figure = float(value) * factor
    except OverflowError:
        figure = math.inf
    if not math.isfinite(figure):
        raise NoFigureError("too large a number")
    return float(f"{figure:.{_DIGITS}g}")


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list) else "an object"
