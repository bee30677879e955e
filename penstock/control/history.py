"""The recent past of the weights, in memory, for charts. Bounded; the full past is in the store."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

from penstock.admin.ports import HistoryPoint
from penstock_policies.decision import Decision

# One change a second for an hour: what a chart can show and an operator can read.
_CAPACITY: Final = 3600
# Of all points together: a large fleet's history is shorter, rather than gigabytes.
_ROWS: Final = 500_000


class WeightHistory:
    """The latest changes of weights, oldest first."""

    def __init__(self, capacity: int = _CAPACITY, rows: int = _ROWS) -> None:
        self._points: deque[HistoryPoint] = deque(maxlen=capacity)
        self._rows = rows

    def add(self, decision: Decision) -> bool:
        """Take in a decision; returns whether its weights differ from the last ones."""
        before = self._points[-1].weights if self._points else {}
        # A row that did not change is kept once for all points.
        weights = {key: _kept(before.get(key), row.weights) for key, row in decision.rows.items()}
        if self._points and before == weights:
            return False
        self._points.append(HistoryPoint(at=decision.at, weights=weights))
        while len(self._points) > 1 and len(self._points) * len(weights) > self._rows:
            self._points.popleft()
        return True

    def points(self) -> Sequence[HistoryPoint]:
        """What is remembered."""
        return tuple(self._points)


def _kept(before: Mapping[str, int] | None, now: Mapping[str, int]) -> Mapping[str, int]:
    return before if before is not None and before == now else now
