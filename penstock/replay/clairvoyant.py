"""The cheapest plan of whoever knows the future: every request, every price and every outage.

What it is: a linear program a window of some seconds (windows end where the world changes), solved by HiGHS and written
independently of the engine's own. It knows what is asked within the window and each request's tokens, and so, by the
simulator's own law, how long each is in flight at the load that is planned; and it sees what is truly in flight, and
until when, where others see telemetry of the second before. It pays the true price of the moment. It keeps what is the
policy's word: residency, headroom, spot confidence, and the utilisation up to which the tightest SLO holds
(:mod:`penstock.replay.planned`); within that it fills every cheap cluster to the brim all the time. It has no limits
on movement, no delay, nothing to estimate.

What it is not: a bound that nothing can pass. Like Envoy's weights its plans are shares, so that which request goes
where is chance, and clusters stray from the plan within a window. Windows are planned one after the other: it does not
leave a cheap cluster idle now for a dearer hour to come, and empties none before an outage that it knows of. It
minimises money at planned load, not SLO misses: whoever overfills clusters pays less than it and keeps people waiting.
Budgets, tiers, pins, floors and ceilings of the policy are no part of it, and it minimises cost whatever the policy's
objective is.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from penstock.replay.planned import PlannedSlots
from penstock.replay.program import Program
from penstock.replay.queueing import Queue, slot_seconds, speed
from penstock.replay.scenario import Scenario
from penstock.replay.strategies import Rival, Spread
from penstock_policies.observations import Observations
from penstock_policies.policyset import RowKey

_LENGTHS: Final = (1.0, 5.0)
"""Seconds that a window has at least and at most, in a trace that is not too long for it."""
_OF_A_REQUEST: Final = 0.25
"""A window's length as a part of the time that a request is in flight: what is sent in one is still there in the next,
so that clusters are about as full within a window as at its ends."""
_MOST_WINDOWS: Final = 9000
"""Of a plan: for a day, windows become longer, lest planning takes longer than the replay."""
_LATTER: Final = 0.5
"""The part of a window, its latter one, whose mean load is planned: all of it, and plans would overshoot to make good
what the window began with; its end alone, and requests that are over by then would not count."""
_AROUND: Final = 30.0
"""Seconds before and after whose requests tell the mean one, for what the SLO takes of the capacity."""
_LAST: Final = 1e-3
"""Seconds after the last request, so that it is in the last window."""

_Floats = np.ndarray[tuple[int], np.dtype[np.float64]]


class Clairvoyant(Rival):
    """Plans each window with the whole trace in hand, and the clusters' true state before its eyes."""

    def __init__(self, scenario: Scenario, queues: Mapping[str, Queue]) -> None:
        """``queues`` are the simulation's own: what is in flight, and until when."""
        super().__init__(scenario)
        self._queues = queues
        self._planned = PlannedSlots(scenario, self.eligible)
        self._at = np.asarray(scenario.at, dtype=np.float64)
        self._prompt = np.asarray(scenario.prompt, dtype=np.float64)
        self._output = np.asarray(scenario.output, dtype=np.float64)
        self._row = np.asarray(scenario.row)
        begin = -scenario.run_in
        length = max(self._length(), (scenario.duration - begin) / _MOST_WINDOWS)
        edges = {begin + length * number for number in range(max(1, int((scenario.duration - begin) / length) + 1))}
        self._starts = sorted({*edges, 0.0, *scenario.changes()})
        self._capacity: dict[tuple[str, int, float, int], float] = {}
        self._in_force = -1
        self._shares: dict[RowKey, dict[str, float]] = {}
        self._spreads: dict[RowKey, Spread] = {}

    def moments(self) -> Sequence[float]:
        """List the beginnings of its windows."""
        return self._starts

    def decide(self, now: float, observations: Observations) -> Mapping[RowKey, Spread]:  # noqa: ARG002 - it knows
        """Plan a window as it begins, and keep to the plan until it ends."""
        window = max(0, bisect_right(self._starts, now) - 1)
        if window != self._in_force:
            self._in_force = window
            last = max(self.scenario.duration, now) + _LAST
            self._spreads = self._plan(now, self._starts[window + 1] if window + 1 < len(self._starts) else last)
        return self._spreads

    def _plan(self, start: float, end: float) -> dict[RowKey, Spread]:
        there = {name: self._slots(name, start) for name in self.policy.clusters}
        well = {key: [name for name in names if there[name] > 0] for key, names in self.eligible.items()}
        planned = {name: self._planned_slots(name, slots, start) for name, slots in there.items()}
        program = Program(planned, {name: self._room(name, slots, start, end) for name, slots in planned.items()})
        window = slice(bisect_left(self.scenario.at, start), bisect_left(self.scenario.at, end))
        for number, key in enumerate(self.scenario.rows):
            mine = self._row[window] == number
            if not mine.any():
                continue
            at, prompt, output = (column[window][mine] for column in (self._at, self._prompt, self._output))
            for name in well[key]:
                ends = at + self._work(name, prompt, output, start) * speed(planned[name] / there[name])
                usd = self._usd(name, float(prompt.sum()), float(output.sum()), start)
                program.add(key, name, usd / (end - start), _load(at, ends, start, end))
        self._shares |= program.solve()
        return {key: self._spread(key, names) for key, names in well.items()}

    def _slots(self, name: str, at: float) -> int:
        cluster = self.policy.clusters[name].spec
        count = len(cluster.endpoints)
        return cluster.capacity.concurrency * (count - self.scenario.endpoints_lost(name, at)) // count

    def _room(self, name: str, planned: float, start: float, end: float) -> float:
        """Give the slots that what is in flight leaves of the plan."""
        ends = np.asarray(self._queues[name].busy_until, dtype=np.float64)
        return max(0.0, planned - _load(np.full(len(ends), start), ends, start, end))

    def _length(self) -> float:
        works = [self._work(name, self._prompt, self._output, 0.0).mean() for name in self.policy.clusters]
        least, most = _LENGTHS
        return min(most, max(least, _OF_A_REQUEST * float(min(works))))

    def _planned_slots(self, name: str, slots: int, at: float) -> float:
        """Give the slots that may be planned, worked out anew every half minute or when the world changes."""
        key = (name, slots, self.scenario.capacity_factor(name, at), int(at // _AROUND))
        if key not in self._capacity:
            self._capacity[key] = self._planned.of(name, slots, self._mean_work(name, at))
        return self._capacity[key]

    def _work(self, name: str, prompt: _Floats, output: _Floats, at: float) -> _Floats:
        """Give the seconds that requests hold a slot of the cluster when it is full."""
        per_output, per_prompt = slot_seconds(self.policy.clusters[name])
        return (output * per_output + prompt * per_prompt) / self.scenario.capacity_factor(name, at)

    def _mean_work(self, name: str, at: float) -> float:
        near = slice(bisect_left(self.scenario.at, at - _AROUND), bisect_left(self.scenario.at, at + _AROUND))
        if near.start == near.stop:
            near = slice(None)
        return float(self._work(name, self._prompt[near], self._output[near], at).mean())

    def _usd(self, name: str, prompt: float, output: float, at: float) -> float:
        cost = self.policy.clusters[name].spec.cost
        usd = self.scenario.price(name, at) * (output + cost.prompt_price_ratio * prompt)
        return (usd + cost.egress_usd_per_million_tokens * (prompt + output)) / 1e6

    def _spread(self, key: RowKey, well: Sequence[str]) -> Spread:
        every = self.eligible[key]
        known = {name: share for name, share in self._shares.get(key, {}).items() if name in well}
        chosen = known if sum(known.values()) > 0 else ({well[0]: 1.0} if well else {})
        return Spread(chosen, {name: (name, *(other for other in every if other != name)) for name in every})


def _load(at: _Floats, ends: _Floats, start: float, end: float) -> float:
    """Give the slots that requests hold in the mean over the latter part of a window."""
    since = end - _LATTER * (end - start)
    held = np.minimum(ends, end) - np.maximum(at, since)
    return float(np.maximum(held, 0.0).sum() / (end - since))
