"""Tells news from repetition, for logs: a refused client comes back every few seconds, for days."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

# Often enough to be seen by whoever looks, seldom enough to be borne.
_QUIET_SECONDS: Final = 60.0

# Somebody who makes up names must not fill the memory with them; the oldest are forgotten first.
_MOST_REMEMBERED: Final = 1024


class Repeats:
    """Remembers what was told when."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._told: OrderedDict[tuple[str, ...], tuple[float, int]] = OrderedDict()

    def count(self, *fact: str) -> int | None:
        """Return how often the fact came up since it was last told; None if that is too short ago to tell it again."""
        now = self._clock()
        told_at, repeated = self._told.get(fact, (None, 0))
        if told_at is not None and now - told_at < _QUIET_SECONDS:
            self._told[fact] = (told_at, repeated + 1)
            return None
        self._told[fact] = (now, 0)
        self._told.move_to_end(fact)
        if len(self._told) > _MOST_REMEMBERED:
            self._told.popitem(last=False)
        return repeated
