"""How long figures have stood without a change: a source that repeats itself is not one that stands by its figures.

A frozen exporter, or a cache in front of a dead one, answers well for ever. What its figures' times are then is decided
here: a figure is never older than ``maxAge`` until ``maxUnchanged`` after its last change, and always from then on, so
that the engine falls back as for any other stale figure. What was before the first read is not known: a figure counts
as changed then.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Times:
    """The times of a feed's figures, and which of them are frozen."""

    at: Mapping[str, float]
    """Key to the Unix time its figure counts as being of."""
    frozen: frozenset[str]
    """Keys whose figures have not changed for ``maxUnchanged``."""


class Changes:
    """The last change of every figure of a feed that clusters ask for; of the others nobody minds."""

    def __init__(self, max_age: float, max_unchanged: float | None) -> None:
        self._max_age = max_age
        self._max_unchanged = max_unchanged
        self._since: dict[str, tuple[float, float]] = {}

    def times(self, figures: Mapping[str, float], wanted: AbstractSet[str], now: float) -> Times:
        """Take in what was read just now, and say of what time each figure is."""
        at = dict.fromkeys(figures, now)
        if self._max_unchanged is None:
            return Times(at, frozenset())
        # One that is missing for a while and comes back as it was has not moved either.
        self._since = {key: known for key, known in self._since.items() if key in wanted}
        frozen = set()
        for key in wanted & figures.keys():
            figure, since = self._since.get(key, (None, now))
            if figure != figures[key]:
                since = now
            self._since[key] = (figures[key], since)
            at[key] = min(now, since + self._max_unchanged - self._max_age)
            if now - since > self._max_unchanged:
                frozen.add(key)
        return Times(at, frozenset(frozen))
