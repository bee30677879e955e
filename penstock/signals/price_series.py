"""Prices that were published for hours to come: which one holds at a moment, and until when. Pure."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Step(NamedTuple):
    """A price and when it holds, Unix seconds, the end not included."""

    start: float
    end: float
    usd: float


@dataclass(frozen=True, slots=True)
class Series:
    """Tracks of steps, each sorted and without overlaps; where two tell of a moment the first track decides."""

    tracks: Sequence[Sequence[Step]]

    def at(self, now: float) -> float | None:
        """Give the price that holds; None where none was published for this moment."""
        for track in self.tracks:
            step = _covering(track, now)
            if step is not None:
                return step.usd
        return None

    def next_change(self, now: float) -> float | None:
        """Give the next moment at which another price may hold; None where nothing more is published."""
        edges = (edge for track in self.tracks for step in track for edge in (step.start, step.end))
        return min((edge for edge in edges if edge > now), default=None)


def _covering(track: Sequence[Step], now: float) -> Step | None:
    index = bisect_right(track, now, key=lambda step: step.start) - 1
    return track[index] if index >= 0 and track[index].end > now else None
