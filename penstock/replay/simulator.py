"""The fleet under a strategy's weights: every request is picked a leg, tried along it, queued, served and paid for.

What Envoy does is done here as Envoy does it: a refused attempt (no connection, 5xx, 429) goes on to the next cluster
of the leg, and a cluster that fails several times in a row is left out for a while. What is not simulated: the network
between regions failing, hedging, and clients that come back after an error.
"""

import heapq
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from penstock.replay.queueing import IDLE_SPEED, Queue
from penstock.replay.scenario import Scenario
from penstock_policies.engine.latency import round_trip

BUCKET: Final = 60.0
"""Seconds of a point of the plots."""

_LONGEST_EJECTION: Final = 300.0
"""Seconds; Envoy's default ``max_ejection_time``."""

Leg = tuple[tuple[Queue, float, bool], ...]
"""Clusters to try in order, each with its round trip in seconds and whether residency allows it."""


@dataclass(slots=True)
class Tally:
    """What became of the requests."""

    requests: int = 0
    cost_usd: float = 0.0
    unserved: int = 0
    slo_missed: int = 0
    """Answered too late, or not at all."""
    interrupted: int = 0
    """Answers cut off by an outage after they had begun."""
    failovers: int = 0
    """Attempts that went on to another cluster."""
    residency_breaches: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    ttft: list[float] = field(default_factory=list)
    served: dict[str, int] = field(default_factory=dict)
    cost_by_bucket: list[float] = field(default_factory=list)
    missed_by_bucket: list[int] = field(default_factory=list)
    served_by_bucket: dict[str, list[int]] = field(default_factory=dict)
    spend: dict[tuple[str, str], float] = field(default_factory=dict)
    """(Policy, cluster) to USD."""


@dataclass(frozen=True, slots=True)
class _Picks:
    """How a row's requests are spread: the upper edges of the legs' shares, and the legs."""

    edges: tuple[float, ...]
    legs: tuple[Leg, ...]


class Simulator:
    """Runs the requests of a scenario up to a moment, then the next, under weights that may change between."""

    def __init__(self, scenario: Scenario) -> None:
        policy = scenario.policy
        self._scenario = scenario
        self.queues = {
            name: Queue(cluster, scenario.outages(name)) for name, cluster in sorted(policy.clusters.items())
        }
        self._slo = [policy.policies[key.policy].spec.slo.ttft_p95 or float("inf") for key in scenario.rows]
        buckets = int(scenario.duration / BUCKET) + 1
        self.tally = Tally(
            cost_by_bucket=[0.0] * buckets,
            missed_by_bucket=[0] * buckets,
            served_by_bucket={name: [0] * buckets for name in self.queues},
            served=dict.fromkeys(self.queues, 0),
        )
        self._lawful = {
            (number, name): policy.allowed(cluster, policy.policies[key.policy].spec.data_class) is None
            for number, key in enumerate(scenario.rows)
            for name, cluster in policy.clusters.items()
        }
        self._picks: list[_Picks] = [_Picks((), ()) for _ in scenario.rows]
        self._legs: dict[tuple[int, tuple[str, ...]], Leg] = {}
        self._next = 0
        self._first = bisect_left(scenario.at, 0.0)
        """The first request that counts; those before are the run-in."""
        self._retries: list[tuple[float, int, int, Leg]] = []
        self.refresh(-scenario.run_in)

    def refresh(self, now: float) -> None:
        """Take over what the world is like now."""
        for name, queue in self.queues.items():
            queue.price = self._scenario.price(name, now)
            queue.slowness = 1 / self._scenario.capacity_factor(name, now)
            there = len(self._scenario.policy.clusters[name].spec.endpoints)
            lost = self._scenario.endpoints_lost(name, now)
            queue.slots = queue.whole_slots * (there - lost) // there if lost < there else queue.whole_slots

    def route(self, row: int, shares: Mapping[str, float], legs: Mapping[str, tuple[str, ...]]) -> None:
        """Spread a row's requests from now on. No share at all: they are refused."""
        whole = sum(shares.values())
        edge, edges, chosen = 0.0, [], []
        for name, share in sorted(shares.items()):
            if share > 0:
                edge += share / whole
                edges.append(edge)
                chosen.append(self._leg(row, legs[name]))
        self._picks[row] = _Picks(tuple(edges), tuple(chosen))

    def _leg(self, row: int, names: tuple[str, ...]) -> Leg:
        leg = self._legs.get((row, names))
        if leg is None:
            clusters = self._scenario.policy.clusters
            region = self._scenario.rows[row].region
            leg = tuple(
                (self.queues[name], round_trip(clusters[name], region), self._lawful[row, name]) for name in names
            )
            self._legs[row, names] = leg
        return leg

    def run_until(self, end: float) -> None:
        """Serve every request that comes before ``end``."""
        scenario, retries, picks = self._scenario, self._retries, self._picks
        at, rows, draws = scenario.at, scenario.row, scenario.draw
        number, count = self._next, len(at)
        while True:
            due = at[number] if number < count else float("inf")
            if retries and retries[0][0] <= due:
                if retries[0][0] >= end:
                    break
                time, index, position, leg = heapq.heappop(retries)
                self._serve(index, time, leg, position)
                continue
            if due >= end:
                break
            pick = picks[rows[number]]
            if pick.edges:
                draw, position = draws[number], 0
                while position < len(pick.edges) - 1 and draw > pick.edges[position]:
                    position += 1
                self._serve(number, due, pick.legs[position], 0)
            else:
                self._unserved(number)
            number += 1
        self._next = number

    def finish(self) -> None:
        """Serve what is left."""
        self.run_until(float("inf"))

    def _serve(self, number: int, now: float, leg: Leg, position: int) -> None:
        scenario, tally = self._scenario, self.tally
        row = scenario.row[number]
        region = scenario.rows[row].region
        prompt, output, arrived = scenario.prompt[number], scenario.output[number], scenario.at[number]
        for place in range(position, len(leg)):
            queue, round_trip_time, lawful = leg[place]
            if now < queue.ejected_until:
                continue
            counts = queue.counts
            counts.issued[region] = counts.issued.get(region, 0) + 1
            if not lawful:
                tally.residency_breaches += number >= self._first
            if now >= queue.gone_until:
                queue.come_back()
            if now >= queue.gone_from:
                now += self._failed(queue, region, now, round_trip_time)
                continue
            slot = queue.admit(now)
            if slot is None:
                counts.refused += 1
                tally.failovers += number >= self._first
                now += round_trip_time
                continue
            start, running = slot
            queue.consecutive = 0
            load = queue.slowness * (IDLE_SPEED + (1 - IDLE_SPEED) * running / queue.slots)
            end = start + (output * queue.per_output + prompt * queue.per_prompt) * load
            first = start + queue.base + prompt * queue.prefill * load
            part = 1.0
            if end > queue.gone_from:
                if first >= queue.gone_from:
                    tally.failovers += number >= self._first
                    heapq.heappush(self._retries, (queue.gone_from, number, place + 1, leg))
                    return
                part = (queue.gone_from - first) / (end - first)
                tally.interrupted += 1
            heapq.heappush(queue.busy_until, end)
            counts.prompt += prompt
            counts.output += output
            self._account(number, queue, first + round_trip_time - arrived, part)
            queue.recent.append((now, first - now))
            return
        self._unserved(number)

    def _failed(self, queue: Queue, region: str, now: float, round_trip_time: float) -> float:
        """Count a failed attempt, and give the seconds it took."""
        queue.counts.failed[region] = queue.counts.failed.get(region, 0) + 1
        self.tally.failovers += 1
        queue.consecutive += 1
        if queue.consecutive >= queue.eject_after:
            queue.consecutive = 0
            queue.ejections += 1
            queue.ejected_until = now + min(_LONGEST_EJECTION, queue.eject_for * queue.ejections)
        return queue.connect_timeout if queue.hangs else round_trip_time

    def _account(self, number: int, queue: Queue, ttft: float, part: float) -> None:
        if number < self._first:
            return
        scenario, tally = self._scenario, self.tally
        tally.requests += 1
        row = scenario.row[number]
        prompt, output = scenario.prompt[number], scenario.output[number] * part
        usd = (queue.price * (output + queue.prompt_ratio * prompt) + queue.egress * (prompt + output)) / 1e6
        bucket = int(scenario.at[number] / BUCKET)
        tally.cost_usd += usd
        tally.cost_by_bucket[bucket] += usd
        tally.served[queue.name] += 1
        tally.served_by_bucket[queue.name][bucket] += 1
        tally.prompt_tokens += prompt
        tally.output_tokens += int(output)
        tally.ttft.append(ttft)
        spent = (scenario.rows[row].policy, queue.name)
        tally.spend[spent] = tally.spend.get(spent, 0.0) + usd
        if ttft > self._slo[row]:
            tally.slo_missed += 1
            tally.missed_by_bucket[bucket] += 1

    def _unserved(self, number: int) -> None:
        if number < self._first:
            return
        self.tally.requests += 1
        self.tally.unserved += 1
        self.tally.slo_missed += 1
        self.tally.missed_by_bucket[int(self._scenario.at[number] / BUCKET)] += 1
