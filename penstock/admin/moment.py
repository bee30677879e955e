"""Moments as people give them: RFC 3339, Unix seconds, or how long ago."""

import math
from datetime import datetime

from penstock_policies.quantities import parse_duration

EXPECTED = "expected a moment such as 2026-03-01T02:00:00Z, Unix seconds, or how long ago, such as 15m"


def parse_moment(text: str, now: float) -> float:
    """Return the Unix time that ``text`` means when it is read at ``now``.

    Raises:
        ValueError: it is no moment, or none that has passed.

    """
    moment = _ago(text, now)
    if moment is None:
        moment = _seconds(text)
    if moment is None:
        moment = _written_out(text)
    if moment > now:
        raise ValueError("expected a moment that has passed")
    return moment


def _ago(text: str, now: float) -> float | None:
    try:
        return now - parse_duration(text)
    except ValueError:
        return None


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(EXPECTED)
    return seconds


def _written_out(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(EXPECTED) from error
    if moment.tzinfo is None:
        raise ValueError("expected a time zone with it, such as the Z of 2026-03-01T02:00:00Z")
    return moment.timestamp()
