"""The cheapest plan of whoever knows the future: what every window will ask, every price and every outage.

A linear program a window, solved by HiGHS and written independently of the engine's own: the same planned capacities
(those of the engine with every cluster well, so headroom and SLO included) and the same declared work, but no forecast,
no limits on movement and no delay. Windows end where the world changes. Budgets are not part of it.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, Final

import highspy

from penstock.replay.scenario import Scenario
from penstock.replay.strategies import Rival, Spread
from penstock_policies.engine import decide
from penstock_policies.observations import Load, Observations
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import RowKey

WINDOW: Final = 60.0
"""Seconds a plan is for: long enough for a mean to mean something, short enough to follow the day."""
_OVERLOAD: Final = 1e3
"""USD for a slot-second beyond capacity: a hundred times what any token costs, so only where nothing else is left."""

_HALF: Final = 0.5
"""Of its concurrency: the load a cluster is shown to measure its service time."""
_LAST: Final = 1e-3
"""Seconds after the last request, so that it is in the last window."""


class Clairvoyant(Rival):
    """Plays back plans made with the whole trace in hand."""

    def __init__(self, scenario: Scenario, capacity: Mapping[str, float]) -> None:
        """``capacity`` is the slots a cluster may be planned to fill when it is well."""
        super().__init__(scenario)
        self._capacity = capacity
        begin = -scenario.run_in
        count = math.ceil((scenario.duration - begin) / WINDOW)
        edges = {begin + WINDOW * number for number in range(max(1, count))}
        self._starts = sorted({*edges, 0.0, *scenario.changes()})
        self._plans = [self._plan(start, end) for start, end in self._windows()]

    def _windows(self) -> list[tuple[float, float]]:
        ends = [*self._starts[1:], max(self.scenario.duration, self._starts[-1]) + _LAST]
        return list(zip(self._starts, ends, strict=True))

    def moments(self) -> Sequence[float]:
        """List the beginnings of its windows."""
        return self._starts

    def decide(self, now: float, observations: Observations) -> Mapping[RowKey, Spread]:  # noqa: ARG002 - it knows
        """Play the window's plan."""
        return self._plans[max(0, bisect_right(self._starts, now) - 1)]

    def _plan(self, start: float, end: float) -> dict[RowKey, Spread]:
        scenario = self.scenario
        lost = {
            name: scenario.endpoints_lost(name, start) / len(cluster.spec.endpoints)
            for name, cluster in self.policy.clusters.items()
        }
        asked = _asked(scenario, start, end)
        program = _Program({name: slots * (1 - lost[name]) for name, slots in self._capacity.items()})
        for key, (prompt, output) in asked.items():
            names = [name for name in self.eligible[key] if lost[name] < 1]
            for name in names:
                cluster = self.policy.clusters[name]
                cost = cluster.spec.cost
                usd = scenario.price(name, start) * (output + cost.prompt_price_ratio * prompt)
                usd += cost.egress_usd_per_million_tokens * (prompt + output)
                work = scenario.work(name, prompt, output) / scenario.capacity_factor(name, start)
                program.add(key, name, usd / 1e6 / (end - start), work / (end - start))
        shares = program.solve()
        spread = {}
        for key, every in self.eligible.items():
            well = [name for name in every if lost[name] < 1]
            chosen = shares.get(key) or ({well[0]: 1.0} if well else {})
            legs = {name: (name, *(other for other in every if other != name)) for name in every}
            spread[key] = Spread(chosen, legs)
        return spread


class _Program:
    """The linear program of one window: shares of rows at clusters."""

    def __init__(self, capacity: Mapping[str, float]) -> None:
        self._capacity = dict(sorted(capacity.items()))
        self._columns: list[tuple[RowKey, str, float, float]] = []

    def add(self, key: RowKey, cluster: str, usd: float, slots: float) -> None:
        """Let a row use a cluster: USD a second and slots for all of the row there."""
        self._columns.append((key, cluster, usd, slots))

    def solve(self) -> dict[RowKey, dict[str, float]]:
        """Give the cheapest shares."""
        if not self._columns:
            return {}
        solver: Any = _Quiet()
        solver.silent()
        solver.setOptionValue("threads", 1)
        for number, (_, _, usd, _) in enumerate(self._columns):
            solver.addVar(0.0, 1.0)
            solver.changeColCost(number, usd)
        for key in dict.fromkeys(column[0] for column in self._columns):
            mine = [number for number, column in enumerate(self._columns) if column[0] == key]
            solver.addRow(1.0, 1.0, len(mine), mine, [1.0] * len(mine))
        for name, slots in self._capacity.items():
            mine = [number for number, column in enumerate(self._columns) if column[1] == name]
            over = solver.getNumCol()
            solver.addVar(0.0, highspy.kHighsInf)
            solver.changeColCost(over, _OVERLOAD)
            factors = [self._columns[number][3] for number in mine]
            solver.addRow(-highspy.kHighsInf, slots, len(mine) + 1, [*mine, over], [*factors, -1.0])
        solver.run()
        values = solver.getSolution().col_value
        shares: dict[RowKey, dict[str, float]] = {}
        for (key, name, _, _), value in zip(self._columns, values, strict=False):
            shares.setdefault(key, {})[name] = max(0.0, value)
        return shares


class _Quiet(highspy.Highs):  # type: ignore[misc]  # highspy is not typed well enough to be read
    """HiGHS, but it does not write its name to standard output, where reports go."""

    def enableCallbacks(self) -> None:  # noqa: N802 - the name is HiGHS'
        """Ask for none: asking is what makes it write."""


def planned_slots(scenario: Scenario) -> dict[str, float]:
    """Give the slots that the engine plans to fill of each cluster when all are well and it has measured them.

    It knows how long requests take only once it has seen some, and plans for the SLO by that. So it is shown a fleet
    half full of the trace's mean request.
    """
    clusters = scenario.policy.clusters
    mean = (sum(scenario.prompt) / len(scenario.prompt), sum(scenario.output) / len(scenario.output))
    region = scenario.rows[0].region
    load = {
        name: Load(
            scenario.start,
            in_flight=_HALF * cluster.spec.capacity.concurrency,
            request_rate=_HALF * cluster.spec.capacity.concurrency / scenario.work(name, *mean),
            error_rate=0.0,
        )
        for name, cluster in clusters.items()
    }
    decision = decide(scenario.policy, Observations(load={region: load}), Overrides(), None, scenario.start)
    return {name: view.capacity for name, view in decision.clusters.items()}


def _asked(scenario: Scenario, start: float, end: float) -> dict[RowKey, tuple[float, float]]:
    """Add up the prompt and generated tokens of each row."""
    asked: dict[RowKey, tuple[float, float]] = {}
    for number in range(bisect_left(scenario.at, start), bisect_left(scenario.at, end)):
        key = scenario.rows[scenario.row[number]]
        prompt, output = asked.get(key, (0.0, 0.0))
        asked[key] = (prompt + scenario.prompt[number], output + scenario.output[number])
    return asked
