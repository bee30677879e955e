"""What the program would know of the simulated fleet: probes, load reports, engine metrics, prices, spending.

With the delays there are: a probe is as old as its interval, a load report tells of the second before, a price of the
last refresh. A source that a fault has silenced goes on showing what it showed last.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Final

from penstock.replay.faults import Outage, Source
from penstock.replay.queueing import Counts, Queue
from penstock.replay.scenario import Scenario
from penstock.replay.simulator import Simulator
from penstock_policies.engine.budgets import in_scope, period
from penstock_policies.observations import EndpointProbe, EngineLoad, Intensity, Load, Observations, Price, Spend
from penstock_policies.schema import Cluster
from penstock_policies.words import Engine

REPORT_DELAY: Final = 1.0
"""Seconds a load report is old when it is decided by: the edges report once a second."""
_HISTOGRAM: Final = 15.0
"""Seconds that a percentile of the engines' histograms looks back."""
_WELL: Final = 1000
"""Good probes in a row of an endpoint that was never gone."""


class Telemetry:
    """Watches a simulator."""

    def __init__(self, scenario: Scenario, simulator: Simulator) -> None:
        self._scenario = scenario
        self._simulator = simulator
        self._sampled_at = -scenario.run_in
        self._loads: dict[str, dict[str, Load]] = {}
        self._engines: dict[str, EngineLoad] = {}
        self._spent: dict[str, tuple[float, float]] = {}
        """Budget to (start of its period, spent before it)."""

    def sample(self, now: float) -> None:
        """Take the load reports and the engines' metrics of the time since the last sample."""
        span = now - self._sampled_at
        if span <= 0:
            return
        self._sampled_at = now
        heard = self._scenario.silent_since(Source.LOADS, now) is None
        seen = self._scenario.silent_since(Source.ENGINES, now) is None
        regions = sorted({key.region for key in self._scenario.rows})
        loads: dict[str, dict[str, Load]] = {region: {} for region in regions}
        for name, queue in self._simulator.queues.items():
            counts, queue.counts = queue.counts, Counts()
            running, waiting = queue.in_flight(now)
            issued = sum(counts.issued.values())
            for region in regions:
                part = counts.issued.get(region, 0) / issued if issued else 1 / len(regions)
                loads[region][name] = self._load(counts, region, (running + waiting) * part, now, span)
            if seen and self._scenario.policy.clusters[name].spec.engine is Engine.VLLM:
                self._engine(queue, counts, running, waiting, now=now, span=span)
        if heard:
            self._loads = loads

    def _load(self, counts: Counts, region: str, in_flight: float, now: float, span: float) -> Load:
        issued, failed = counts.issued.get(region, 0), counts.failed.get(region, 0)
        return Load(
            at=self._scenario.start + now,
            in_flight=in_flight,
            request_rate=issued / span,
            error_rate=failed / span,
            # Envoy counts a 429 as a success: whoever answers is alive.
            success_rate=(issued - failed) / span,
        )

    def _engine(self, queue: Queue, counts: Counts, running: int, waiting: int, *, now: float, span: float) -> None:
        if now >= queue.gone_from:
            self._engines.pop(queue.name, None)
            return
        recent = queue.recent
        while recent and recent[0][0] < now - _HISTOGRAM:
            recent.popleft()
        times = sorted(seconds for _, seconds in recent)
        self._engines[queue.name] = EngineLoad(
            at=self._scenario.start + now,
            waiting=float(waiting),
            running=float(running),
            prompt_tokens=counts.prompt / span,
            output_tokens=counts.output / span,
            ttft_p95=times[math.ceil(0.95 * len(times)) - 1] if times else None,
        )

    def observe(self, now: float) -> Observations:
        """Show what is known at a moment."""
        scenario = self._scenario
        return Observations(
            probes={name: self._probes(cluster, now) for name, cluster in scenario.policy.clusters.items()},
            load=self._loads,
            prices=self._prices(now),
            engines=dict(self._engines),
            carbon={
                feed: {key: Intensity(self._read_at(feed, now), grams) for key, grams in figures.items()}
                for feed, figures in scenario.carbon.items()
            },
            spend=self._spend(now),
        )

    def _probes(self, cluster: Cluster, now: float) -> dict[str, EndpointProbe]:
        silent = self._scenario.silent_since(Source.PROBES, now)
        interval = cluster.spec.health.interval
        probed = math.floor((now if silent is None else silent) / interval) * interval
        faults = [f for f in self._scenario.faults if isinstance(f, Outage) and f.cluster == cluster.name]
        return {
            endpoint.key: self._probe(faults, number, probed, interval)
            for number, endpoint in enumerate(cluster.spec.endpoints)
        }

    def _probe(self, faults: Iterable[Outage], number: int, probed: float, interval: float) -> EndpointProbe:
        at = self._scenario.start + probed
        back = -math.inf
        for fault in faults:
            if fault.endpoints is not None and number >= fault.endpoints:
                continue
            if fault.start <= probed < fault.end:
                failed = int((probed - fault.start) / interval) + 1
                return EndpointProbe(at, 0, failed, detail="connection refused")
            if fault.end <= probed:
                back = max(back, fault.end)
        return EndpointProbe(at, _WELL if math.isinf(back) else int((probed - back) / interval) + 1, 0, 0.01)

    def _read_at(self, feed: str, now: float) -> float:
        silent = self._scenario.silent_since(Source.PRICES, now)
        refresh = self._scenario.policy.feeds[feed].spec.period
        return self._scenario.start + math.floor((now if silent is None else silent) / refresh) * refresh

    def _prices(self, now: float) -> dict[str, dict[str, Price]]:
        prices: dict[str, dict[str, Price]] = {}
        for name, cluster in self._scenario.policy.clusters.items():
            cost = cluster.spec.cost
            if cost.feed is not None and cost.key is not None:
                at = self._read_at(cost.feed, now)
                price = self._scenario.price(name, at - self._scenario.start)
                prices.setdefault(cost.feed, {})[cost.key] = Price(at, price)
        return prices

    def _spend(self, now: float) -> dict[str, Spend]:
        policy, spend = self._scenario.policy, self._simulator.tally.spend
        found: dict[str, Spend] = {}
        for name, budget in policy.budgets.items():
            start, _ = period(budget.spec, self._scenario.start + now)
            total = sum(usd for (row, cluster), usd in spend.items() if in_scope(policy, budget, row, cluster))
            begun, before = self._spent.get(name, (start, 0.0))
            if begun != start:
                begun, before = start, total
            self._spent[name] = (begun, before)
            found[name] = Spend(self._scenario.start + now, start, total - before)
        return found


def believed_down(policy_clusters: Mapping[str, Cluster], observations: Observations) -> frozenset[str]:
    """Name the clusters all of whose endpoints fail their probes, by the thresholds they declare."""
    return frozenset(
        name
        for name, cluster in policy_clusters.items()
        if all(
            observations.probes[name][endpoint.key].consecutive_failed >= cluster.spec.health.unhealthy_threshold
            or 0 < observations.probes[name][endpoint.key].consecutive_ok < cluster.spec.health.healthy_threshold
            for endpoint in cluster.spec.endpoints
        )
    )
