"""Durations and percentages as an SRE writes them, and as the engine computes with them.

A policy file says ``500ms`` or ``10%``; code below the schema sees seconds and fractions, both as ``float``.
"""

import re
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, WithJsonSchema

_UNIT_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"^(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+$")
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_PERCENTAGE: Final = re.compile(r"^(\d+(?:\.\d+)?)%$")

_DURATION_PATTERN: Final = _DURATION.pattern


def parse_duration(value: object) -> float:
    """Seconds in a duration such as ``500ms``, ``5s``, ``10m``, ``2h`` or ``1h30m``.

    Raises:
        ValueError: ``value`` is not such a string. A bare number is refused: its unit would be a guess.
    """
    if not isinstance(value, str) or not _DURATION.match(value):
        raise ValueError("expected a duration such as 500ms, 5s, 10m or 2h")
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION_PART.findall(value))


def parse_percentage(value: object) -> float:
    """The fraction (0 to 1) in a percentage such as ``10%``.

    Raises:
        ValueError: ``value`` is not a percentage from ``0%`` to ``100%``.
    """
    matched = _PERCENTAGE.match(value) if isinstance(value, str) else None
    if matched is None or float(matched[1]) > 100:
        raise ValueError("expected a percentage from 0% to 100%, such as 10%")
    return float(matched[1]) / 100


Seconds = Annotated[
    float,
    BeforeValidator(parse_duration, json_schema_input_type=str),
    WithJsonSchema({"type": "string", "pattern": _DURATION_PATTERN, "examples": ["500ms", "5s", "2h"]}),
]
"""A duration; in memory, seconds."""

Fraction = Annotated[
    float,
    BeforeValidator(parse_percentage, json_schema_input_type=str),
    WithJsonSchema({"type": "string", "pattern": _PERCENTAGE.pattern, "examples": ["10%"]}),
]
"""A percentage; in memory, a fraction from 0 to 1."""

Port = Annotated[int, Field(ge=1, le=65535, strict=True)]
