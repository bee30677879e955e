"""From single readings of an engine's counters to rates, and from its endpoints to their cluster. Pure.

A :class:`Window` holds the latest readings of one endpoint; :func:`cluster_load` sums those of a cluster.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from penstock.signals.vllm_text import VllmFigures
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
    figures: VllmFigures


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

    def grown(self) -> tuple[float, VllmFigures] | None:
        """Return the seconds between the oldest and the newest reading, and what the counters grew by meanwhile."""
        if not self._readings:
            return None
        first, last = self._readings[0], self._readings[-1]
        span = last.at - first.at
        if span < LEAST_SPAN:
            return None
        return span, VllmFigures(
            running=last.figures.running,
            waiting=last.figures.waiting,
            prompt_tokens=last.figures.prompt_tokens - first.figures.prompt_tokens,
            output_tokens=last.figures.output_tokens - first.figures.output_tokens,
            ttft={bound: count - first.figures.ttft.get(bound, 0.0) for bound, count in last.figures.ttft.items()},
        )


def _reset(before: VllmFigures, after: VllmFigures) -> bool:
    return (
        after.prompt_tokens < before.prompt_tokens
        or after.output_tokens < before.output_tokens
        or any(after.ttft.get(bound, 0.0) < count for bound, count in before.ttft.items())
    )


def cluster_load(windows: Sequence[Window]) -> EngineLoad | None:
    """Sum what the endpoints of a cluster say; None when none says anything. As old as the oldest of its parts."""
    readings = [reading for window in windows if (reading := window.latest()) is not None]
    if not readings:
        return None
    grown = [each for window in windows if (each := window.grown()) is not None]
    # A rate of some of the endpoints, taken for that of all, would be a lie.
    whole = len(grown) == len(readings)
    buckets: dict[float, float] = {}
    for _, figures in grown:
        for bound, count in figures.ttft.items():
            buckets[bound] = buckets.get(bound, 0.0) + count
    return EngineLoad(
        at=min(reading.at for reading in readings),
        waiting=math.fsum(reading.figures.waiting for reading in readings),
        running=math.fsum(reading.figures.running for reading in readings),
        prompt_tokens=math.fsum(figures.prompt_tokens / span for span, figures in grown) if whole else None,
        output_tokens=math.fsum(figures.output_tokens / span for span, figures in grown) if whole else None,
        ttft_p95=percentile(buckets, 0.95),
    )


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
