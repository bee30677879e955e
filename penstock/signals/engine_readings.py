"""From single readings of an engine's counters to rates, and from its endpoints to their cluster. Pure.

A :class:`Window` holds the latest readings of one endpoint; :func:`cluster_load` sums those of a cluster.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from penstock.signals.engine_figures import COUNTERS, HISTOGRAMS, Buckets, Figures, merged
from penstock_policies.observations import EngineLoad

WINDOW: Final = 15.0
"""Seconds that rates and percentiles look back: long enough for a percentile of a modest load, short enough to steer
by."""

LEAST_SPAN: Final = 0.5
"""Seconds. Counters read closer together than this would turn one request into a huge rate."""

LEAST_REQUESTS: Final = 20
"""Of fewer than this, the slowest is the 95th percentile: it says nothing."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one endpoint said at a moment (Unix seconds as this process received it)."""

    at: float
    figures: Figures


class Window:
    """The readings of one endpoint over the last :data:`WINDOW` seconds, oldest first."""

    def __init__(self) -> None:
        self._readings: deque[Reading] = deque()

    def add(self, reading: Reading) -> None:
        """Take a reading in. Counters that went back were reset: what was read before says nothing any more."""
        if self._readings and _reset(self._readings[-1].figures, reading.figures):
            self._readings.clear()
        if self._readings and reading.at <= self._readings[-1].at:
            # This machine's clock was set back.
            self._readings.clear()
        self._readings.append(reading)
        # The youngest reading outside the window is kept: the span is then a little longer than it, never empty.
        while len(self._readings) > 2 and reading.at - self._readings[1].at >= WINDOW:
            self._readings.popleft()

    def latest(self) -> Reading | None:
        """Return the newest reading."""
        return self._readings[-1] if self._readings else None

    def grown(self) -> tuple[float, Figures] | None:
        """Return the seconds between the oldest and the newest reading, and what the counters grew by meanwhile."""
        if not self._readings:
            return None
        first, last = self._readings[0], self._readings[-1]
        span = last.at - first.at
        if span < LEAST_SPAN:
            return None
        old, new = first.figures, last.figures
        return span, replace(
            new,
            prompt_tokens=_growth(old.prompt_tokens, new.prompt_tokens),
            output_tokens=_growth(old.output_tokens, new.output_tokens),
            prefix_hits=_growth(old.prefix_hits, new.prefix_hits),
            prefix_lookups=_growth(old.prefix_lookups, new.prefix_lookups),
            ttft=_grown(old.ttft, new.ttft),
            inter_token=_grown(old.inter_token, new.inter_token),
        )


def _growth(before: float | None, after: float | None) -> float | None:
    return after - before if before is not None and after is not None else None


def _grown(before: Buckets | None, after: Buckets | None) -> Buckets | None:
    if before is None or after is None:
        return None
    return {bound: count - before[bound] for bound, count in after.items()}


def _reset(before: Figures, after: Figures) -> bool:
    return any(
        (growth := _growth(getattr(before, name), getattr(after, name))) is not None and growth < 0 for name in COUNTERS
    ) or any(_begun_anew(getattr(before, name), getattr(after, name)) for name in HISTOGRAMS)


def _begun_anew(before: Buckets | None, after: Buckets | None) -> bool:
    """Tell whether a histogram counts from the beginning again, or by other bounds."""
    if before is None or after is None:
        return False
    return before.keys() != after.keys() or any(after[bound] < count for bound, count in before.items())


def cluster_load(windows: Sequence[Window]) -> EngineLoad | None:
    """Sum what the endpoints of a cluster say; None when none says anything. As old as the oldest of its parts.

    A sum of some of the endpoints, taken for that of all, would be a lie: what one of them does not tell is unknown.
    """
    readings = [reading for window in windows if (reading := window.latest()) is not None]
    if not readings:
        return None
    grown = [each for window in windows if (each := window.grown()) is not None]
    whole = len(grown) == len(readings)
    return EngineLoad(
        at=min(reading.at for reading in readings),
        waiting=_total([reading.figures.waiting for reading in readings]),
        running=_total([reading.figures.running for reading in readings]),
        prompt_tokens=_total([_rate(figures.prompt_tokens, span) for span, figures in grown]) if whole else None,
        output_tokens=_total([_rate(figures.output_tokens, span) for span, figures in grown]) if whole else None,
        ttft_p95=percentile(merged([each.ttft for _, each in grown if each.ttft is not None]) or {}, 0.95),
    )


def _rate(growth: float | None, span: float) -> float | None:
    return growth / span if growth is not None else None


def _total(parts: Sequence[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return math.fsum(known) if len(known) == len(parts) else None


def percentile(buckets: Mapping[float, float], share: float) -> float | None:
    """Find the value that ``share`` of the requests stayed under, from cumulative counts by upper bound.

    As ``histogram_quantile`` of Prometheus: linear within a bucket; in the last, infinite one its lower bound. None of
    too few requests.
    """
    ordered = sorted(buckets.items())
    if not ordered or ordered[-1][1] < LEAST_REQUESTS:
        return None
    rank = share * ordered[-1][1]
    lower = below = 0.0
    for bound, count in ordered:
        if count >= rank:
            if math.isinf(bound) or count <= below:
                return lower
            return lower + (bound - lower) * (rank - below) / (count - below)
        lower, below = bound, count
    return lower
