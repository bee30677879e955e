"""Who decides where requests go: Penstock's engine and the rivals it is measured against.

Every strategy sees the same telemetry, keeps residency, and gets the same data path: legs with stand-ins, ejection of
what fails. What differs is the weights alone. What a rival assumes of a request is what the cluster declares.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from penstock.replay.scenario import Scenario
from penstock.replay.telemetry import believed_down
from penstock_policies.decision import Decision
from penstock_policies.engine import decide
from penstock_policies.engine.latency import round_trip
from penstock_policies.observations import Observations
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import RowKey
from penstock_policies.words import Site

Shares = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Spread:
    """How a row is spread: shares, and for each cluster the list Envoy tries."""

    shares: Shares
    legs: Mapping[str, tuple[str, ...]]


class Strategy(Protocol):
    """Decides how every row is spread."""

    def moments(self) -> Sequence[float]:
        """List when it must be asked besides at every tick."""

    def decide(self, now: float, observations: Observations) -> Mapping[RowKey, Spread]:
        """Spread every row from ``now`` (seconds since the start) on."""


class Penstock:
    """The real engine, with all its stages."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._previous: Decision | None = None

    def moments(self) -> Sequence[float]:
        """List none: it decides at every tick."""
        return ()

    def decide(self, now: float, observations: Observations) -> Mapping[RowKey, Spread]:
        """Run the pipeline."""
        decision = decide(self._scenario.policy, observations, Overrides(), self._previous, self._scenario.start + now)
        self._previous = decision
        return {
            key: Spread({name: float(weight) for name, weight in row.weights.items()}, row.legs)
            for key, row in decision.rows.items()
        }


_SMOOTHING: Final = 10.0
"""Seconds over which rivals average the request rate; a raw second of traffic would make them swing for nothing."""


class Rival:
    """What the simple strategies share: who is eligible and well, how much is asked, how much fits."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.policy = scenario.policy
        self.eligible = {key: _eligible(scenario, key) for key in scenario.rows}
        self._rate: float | None = None
        self._seen = 0.0
        mean_prompt = sum(scenario.prompt) / len(scenario.prompt)
        mean_output = sum(scenario.output) / len(scenario.output)
        # Told the trace's mean sizes, as whoever writes such tables would measure them.
        self.room = {
            name: cluster.spec.capacity.concurrency / scenario.work(name, mean_prompt, mean_output)
            for name, cluster in self.policy.clusters.items()
        }
        """Cluster to requests a second it carries when full."""

    def moments(self) -> Sequence[float]:
        """List none: they decide at every tick."""
        return ()

    def decide(self, now: float, observations: Observations) -> Mapping[RowKey, Spread]:
        """Spread every row by the strategy's own rule."""
        self._measure(now, observations)
        down = believed_down(self.policy.clusters, observations)
        left = dict(self.room)
        spread: dict[RowKey, Spread] = {}
        # Rows with the fewest clusters first, so that what can go nowhere else finds its place.
        for key in sorted(self.eligible, key=lambda row: (len(self.eligible[row]), row)):
            names = [name for name in self.eligible[key] if name not in down] or list(self.eligible[key])
            shares = self.shares(key, names, left, observations) if names else {}
            spread[key] = Spread(shares, _legs(self.eligible[key]))
        return spread

    def shares(self, key: RowKey, names: Sequence[str], left: dict[str, float], seen: Observations) -> Shares:
        """Spread one row; ``left`` is the room that rows before it left, in requests a second."""
        raise NotImplementedError

    def _measure(self, now: float, observations: Observations) -> None:
        rate = sum(load.request_rate - load.error_rate for by in observations.load.values() for load in by.values())
        if not observations.load:
            return
        gain = min(1.0, (now - self._seen) / _SMOOTHING)
        self._rate = rate if self._rate is None else self._rate + gain * (rate - self._rate)
        self._seen = now

    def demand(self, key: RowKey) -> float:
        """Estimate the requests a second of a row: its known part of all traffic."""
        return (self._rate or 0.0) * self.scenario.part(key)

    def price(self, name: str, seen: Observations) -> float:
        """Give the price last heard of."""
        cost = self.policy.clusters[name].spec.cost
        if cost.feed is not None and cost.key is not None and cost.key in seen.prices.get(cost.feed, {}):
            return seen.prices[cost.feed][cost.key].usd_per_million_tokens
        return cost.usd_per_million_tokens or 0.0

    def fill(self, key: RowKey, order: Sequence[str], left: dict[str, float], level: float) -> Shares:
        """Fill clusters one after the other up to ``level`` of their room; what is too much goes by their size."""
        demand = self.demand(key)
        if demand <= 0:
            return {order[0]: 1.0}
        rest, shares = demand, dict.fromkeys(order, 0.0)
        for name in order:
            taken = min(rest, max(0.0, left[name] - (1 - level) * self.room[name]))
            left[name] -= taken
            rest -= taken
            shares[name] += taken / demand
        whole = sum(self.room[name] for name in order)
        for name in order:
            shares[name] += rest / demand * self.room[name] / whole
        return shares


class StaticSplit(Rival):
    """A table written once: shares in proportion to declared concurrency. Knows nothing of the day."""

    def decide(self, now: float, observations: Observations) -> Mapping[RowKey, Spread]:  # noqa: ARG002 - blind
        """Spread as ever."""
        return {
            key: Spread(
                {name: float(self.policy.clusters[name].spec.capacity.concurrency) for name in names}, _legs(names)
            )
            for key, names in self.eligible.items()
        }


class OneSite(StaticSplit):
    """The static split over the clusters of some sites alone, where a row has any."""

    def __init__(self, scenario: Scenario, *, on_prem: bool) -> None:
        super().__init__(scenario)
        for key, names in self.eligible.items():
            wanted = tuple(name for name in names if (self.policy.clusters[name].spec.site is Site.ON_PREM) is on_prem)
            # Residency first: data that may not leave goes where it may, whatever the strategy is called.
            self.eligible[key] = wanted or names


class Waterfall(Rival):
    """Nearest first, each up to its capacity less headroom, the excess to the next; blind to prices."""

    def shares(self, key: RowKey, names: Sequence[str], left: dict[str, float], seen: Observations) -> Shares:  # noqa: ARG002
        """Fill in order of preference: on-prem, then near, then as written."""
        headroom = max(self.policy.clusters[name].spec.capacity.headroom for name in names)
        return self.fill(key, names, left, 1 - headroom)


class CheapestFirst(Rival):
    """The cheapest first, each until it is full."""

    def shares(self, key: RowKey, names: Sequence[str], left: dict[str, float], seen: Observations) -> Shares:
        """Fill in order of price."""
        return self.fill(key, sorted(names, key=lambda name: (self.price(name, seen), name)), left, 1.0)


class LatencyGreedy(Rival):
    """Everything to whoever answers soonest by the last report."""

    def shares(self, key: RowKey, names: Sequence[str], left: dict[str, float], seen: Observations) -> Shares:  # noqa: ARG002
        """Send all to the fastest."""
        return {min(names, key=lambda name: (self._seconds(key, name, seen), name)): 1.0}

    def _seconds(self, key: RowKey, name: str, seen: Observations) -> float:
        cluster = self.policy.clusters[name]
        in_flight = sum(by[name].in_flight for by in seen.load.values() if name in by)
        over = max(0.0, in_flight - cluster.spec.capacity.concurrency) / self.room[name]
        measured = seen.engines[name].ttft_p95 if name in seen.engines else None
        idle = cluster.spec.latency.ttft_p95 or 0.0
        crowd = in_flight / cluster.spec.capacity.concurrency
        return round_trip(cluster, key.region) + (measured if measured is not None else idle * (1 + crowd)) + over


def _eligible(scenario: Scenario, key: RowKey) -> tuple[str, ...]:
    policy = scenario.policy
    traffic = policy.policies[key.policy]
    return tuple(
        name
        for name in policy.preference(traffic, key.model, key.region)
        if policy.allowed(policy.clusters[name], traffic.spec.data_class) is None
    )


def _legs(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    return {chosen: (chosen, *(name for name in names if name != chosen)) for chosen in names}
