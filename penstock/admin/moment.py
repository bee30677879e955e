"""Moments as people give them: RFC 3339, a time of today, Unix seconds, or how long ago. What names no zone is UTC."""

import re
from datetime import UTC, datetime
from typing import Final

from penstock_policies.quantities import parse_duration

FORMS: Final = "2026-03-01T02:00:00Z (UTC where it names no zone), 02:00 (today, UTC), 15m (ago), or Unix seconds"
"""How a moment may be given, for help texts."""
EXPECTED: Final = f"expected a moment such as {FORMS}"

_TIME_OF_DAY: Final = re.compile(r"[0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?")
_LEAST_SECONDS: Final = 1e9
"""September 2001: a smaller number is a slip, such as a date without its hyphens."""
_MOST_SECONDS: Final = 253_402_300_800.0
"""The year 10000, which no calendar here has."""


def parse_moment(text: str, now: float, *, may_come: bool = False) -> float:
    """Return the Unix time that ``text`` means when it is read at ``now``.

    Raises:
        ValueError: it is no moment, or, unless it ``may_come``, none that has passed.

    """
    stripped = text.strip()
    for read in (_ago, _seconds, _today):
        moment = read(stripped, now)
        if moment is not None:
            break
    else:
        moment = _written_out(stripped)
    if moment > now and not may_come:
        told = datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        raise ValueError(f"expected a moment that has passed, and {text!r} is {told}")
    return moment


def _ago(text: str, now: float) -> float | None:
    try:
        return now - parse_duration(text)
    except ValueError:
        return None


def _seconds(text: str, _: float) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    if not _LEAST_SECONDS <= seconds < _MOST_SECONDS:
        raise ValueError(EXPECTED)
    return seconds


def _today(text: str, now: float) -> float | None:
    if not _TIME_OF_DAY.fullmatch(text):
        return None
    today = datetime.fromtimestamp(now, UTC).date().isoformat()
    return _written_out(f"{today}T{'0' if text[1] == ':' else ''}{text}")


def _written_out(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(EXPECTED) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
