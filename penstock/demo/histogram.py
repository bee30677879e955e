"""Durations in logarithmic buckets: constant memory, 5 % error, and differences between two moments. Pure."""

import math
from collections.abc import Sequence
from typing import Final, Self

_SMALLEST: Final = 0.0005
_GROWTH: Final = 1.05
_BUCKETS: Final = 256
"""0.5 ms up to more than two minutes; what is outside counts in the first or last bucket."""


class Histogram:
    """Counts of durations in seconds."""

    def __init__(self, counts: Sequence[int] = (0,) * _BUCKETS) -> None:
        self._counts = list(counts)

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        index = math.ceil(math.log(max(seconds, _SMALLEST) / _SMALLEST, _GROWTH))
        self._counts[min(index, _BUCKETS - 1)] += 1

    @property
    def count(self) -> int:
        """How many were counted."""
        return sum(self._counts)

    def quantile(self, fraction: float) -> float | None:
        """The duration in seconds that this fraction (0 to 1) does not exceed; None when nothing was counted."""
        wanted = math.ceil(self.count * fraction)
        seen = 0
        for index, count in enumerate(self._counts):
            seen += count
            if count and seen >= wanted:
                return _SMALLEST * _GROWTH**index
        return None

    def minus(self, earlier: Self) -> Self:
        """What was counted since ``earlier``, a copy of this histogram."""
        return type(self)([now - then for now, then in zip(self._counts, earlier._counts, strict=True)])
