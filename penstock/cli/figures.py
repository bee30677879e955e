"""Figures as people read them."""

from datetime import datetime
from typing import Final

_UNITS: Final = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))


def percent(share: float) -> str:
    """Return a share as a percentage with one decimal."""
    return f"{share:.1%}"


def seconds(value: float | None) -> str:
    """Return a span of time in its natural unit; a dash for none."""
    if value is None:
        return "-"
    for size, unit in _UNITS:
        if value >= 1.5 * size:
            return f"{value / size:.1f} {unit}"
    return f"{value:.0f} s"


def span(start: str | None, end: str | None) -> str:
    """Return the time from one RFC 3339 moment to another; a dash where one is missing."""
    if start is None or end is None:
        return "-"
    return seconds((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds())


def number(value: float | None, decimals: int = 0) -> str:
    """Return a figure, or a dash for none."""
    return "-" if value is None else f"{value:,.{decimals}f}"
