"""The linear program of the clairvoyant's window: which share of each row goes where, at the least cost.

Written independently of the engine's own and much smaller: one level, no limits on movement, no bounds.
"""

from collections.abc import Mapping
from typing import Any, Final

import highspy

from penstock_policies.engine.optimum.highs import QuietHighs
from penstock_policies.policyset import RowKey

_OVERLOAD: Final = 1e3
"""USD for a slot-second beyond capacity: a hundred times what any token costs, so only where nothing else is left."""
_STEPS: Final = (0.05, 0.05, 0.05, 0.1)
"""Parts of its capacity by which a cluster is overloaded at a price, then at twice, three times ... that price: what is
too much for all is spread, and not heaped on one."""


class Program:
    """Shares of rows at clusters, within the room there is."""

    def __init__(self, capacity: Mapping[str, float], room: Mapping[str, float]) -> None:
        """``capacity`` is cluster to slots, ``room`` to those of them that are left."""
        self._capacity = capacity
        self._room = dict(sorted(room.items()))
        self._columns: list[tuple[RowKey, str, float, float]] = []

    def add(self, key: RowKey, cluster: str, usd: float, slots: float) -> None:
        """Let a row use a cluster: USD a second and slots for all of the row there."""
        self._columns.append((key, cluster, usd, slots))

    def solve(self) -> dict[RowKey, dict[str, float]]:
        """Give the cheapest shares."""
        if not self._columns:
            return {}
        solver: Any = QuietHighs()
        solver.silent()
        solver.setOptionValue("threads", 1)
        # A dozen columns: simplifying them first takes longer than solving them.
        solver.setOptionValue("presolve", "off")
        for number, (_, _, usd, _) in enumerate(self._columns):
            solver.addVar(0.0, 1.0)
            solver.changeColCost(number, usd)
        for key in dict.fromkeys(column[0] for column in self._columns):
            mine = [number for number, column in enumerate(self._columns) if column[0] == key]
            solver.addRow(1.0, 1.0, len(mine), mine, [1.0] * len(mine))
        for name, slots in self._room.items():
            mine = [number for number, column in enumerate(self._columns) if column[1] == name]
            if mine:
                over = self._overload(solver, self._capacity[name])
                factors = [*(self._columns[number][3] for number in mine), *(-1.0 for _ in over)]
                solver.addRow(-highspy.kHighsInf, slots, len(factors), [*mine, *over], factors)
        solver.run()
        values = solver.getSolution().col_value
        shares: dict[RowKey, dict[str, float]] = {}
        for (key, name, _, _), value in zip(self._columns, values, strict=False):
            shares.setdefault(key, {})[name] = max(0.0, value)
        return shares

    @staticmethod
    def _overload(solver: Any, capacity: float) -> list[int]:  # noqa: ANN401 - highspy is not typed
        columns = []
        for step, part in enumerate((*_STEPS, highspy.kHighsInf), 1):
            columns.append(solver.getNumCol())
            solver.addVar(0.0, part * capacity if step <= len(_STEPS) else part)
            solver.changeColCost(columns[-1], step * _OVERLOAD)
        return columns
