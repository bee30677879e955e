"""Durations and percentages as an SRE writes them, and as the engine computes with them.

A policy file says ``500ms`` or ``10%``; code below the schema sees seconds and fractions, both as ``float``.
"""

import math
import re
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, WithJsonSchema

_UNIT_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
DURATION_PATTERN: Final = r"^(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d))+$"
PERCENTAGE_PATTERN: Final = r"^[0-9]+(?:\.[0-9]+)?%$"

_DURATION: Final = re.compile(DURATION_PATTERN)
_DURATION_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_PERCENTAGE: Final = re.compile(PERCENTAGE_PATTERN)

_LONGEST_DURATION: Final = 100 * 365 * 86400.0
"""A century: longer is a slip of the keyboard, and far longer ones are infinite as floats."""


def parse_duration(value: object) -> float:
    """Read the seconds in a duration such as ``500ms``, ``5s``, ``10m``, ``2h`` or ``1h30m``.

    Raises:
        ValueError: ``value`` is not such a string, or is longer than a century. A bare number is refused: its unit
            would be a guess.

    """
    if not isinstance(value, str) or not _DURATION.fullmatch(value):
        raise ValueError("expected a duration such as 500ms, 5s, 10m or 2h")
    seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION_PART.findall(value))
    if seconds > _LONGEST_DURATION:
        raise ValueError("expected a duration of at most a century")
    return seconds


def format_duration(seconds: float) -> str:
    """Write a duration in the greatest unit that is exact to the millisecond: ``0.5`` is ``500ms``, ``600`` is ``10m``.

    Raises:
        ValueError: ``seconds`` is negative or not finite.

    """
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"not a duration: {seconds}")
    milliseconds = round(seconds * 1000)
    if milliseconds == 0:
        return "0s"
    for unit in ("d", "h", "m", "s"):
        size = round(_UNIT_SECONDS[unit] * 1000)
        if milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"


def parse_percentage(value: object) -> float:
    """Read the fraction (0 to 1) in a percentage such as ``10%``.

    Raises:
        ValueError: ``value`` is not a percentage from ``0%`` to ``100%``.

    """
    if not isinstance(value, str) or not _PERCENTAGE.fullmatch(value) or float(value[:-1]) > 100:
        raise ValueError("expected a percentage from 0% to 100%, such as 10%")
    return float(value[:-1]) / 100


def format_percentage(fraction: float) -> str:
    """Write a fraction as a percentage: ``0.15`` is ``15%``."""
    return f"{fraction * 100:g}%"


Seconds = Annotated[
    float,
    BeforeValidator(parse_duration, json_schema_input_type=str),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": ["500ms", "5s", "2h"]}),
]
"""A duration; in memory, seconds."""

Fraction = Annotated[
    float,
    BeforeValidator(parse_percentage, json_schema_input_type=str),
    WithJsonSchema({"type": "string", "pattern": PERCENTAGE_PATTERN, "examples": ["10%"]}),
]
"""A percentage; in memory, a fraction from 0 to 1."""

Port = Annotated[int, Field(ge=1, le=65535, strict=True)]
