"""The recent past of the weights, in memory, for charts. Bounded; the full past is in the store."""

from collections import deque
from collections.abc import Sequence
from typing import Final

from penstock.admin.ports import HistoryPoint
from penstock_policies.decision import Decision

# One change a second for an hour: what a chart can show and an operator can read.
_CAPACITY: Final = 3600


class WeightHistory:
    """The latest changes of weights, oldest first."""

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._points: deque[HistoryPoint] = deque(maxlen=capacity)

    def add(self, decision: Decision) -> bool:
        """Take in a decision; returns whether its weights differ from the last ones."""
        weights = {key: dict(row.weights) for key, row in decision.rows.items()}
        if self._points and self._points[-1].weights == weights:
            return False
        self._points.append(HistoryPoint(at=decision.at, weights=weights))
        return True

    def points(self) -> Sequence[HistoryPoint]:
        """What is remembered."""
        return tuple(self._points)
