"""A made-up fleet of any size for the decision benchmark: its policy set, and what it reports tick after tick.

Every row is different from every other (each policy has its own distance penalty, each region its own distances), so
that nothing can be solved once for many. Traffic comes to 70 % of what the fleet is planned for: the cheapest clusters
are full, and what they have is fought over.
"""

import random
from dataclasses import dataclass, field
from typing import Any, Final

from penstock_policies.decision import Decision
from penstock_policies.observations import EndpointProbe, Load, Observations, Price
from penstock_policies.policyset import PolicySet, RowKey
from penstock_policies.schema import Cluster, CostFeed, NodeGroup, ResidencyRule, TrafficPolicy

START: Final = 1_750_000_000.0
MODEL: Final = "llama-3-70b"
AREAS: Final = ("eu", "us", "ap")
CONCURRENCY: Final = 400
USE: Final = 0.7
"""Of the fleet's planned capacity."""
HEADROOM: Final = 0.15
SERVICE_SECONDS: Final = (0.5, 4.0)


def _document(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "penstock/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def _region(number: int) -> str:
    return f"{AREAS[number % len(AREAS)]}-{number // len(AREAS)}"


def policy_set(policies: int, regions: int, clusters: int) -> PolicySet:
    """Build a fleet with ``policies * regions`` rows, each of which may use each of the clusters."""
    return PolicySet(
        digest="bench",
        clusters={one.name: one for one in (_cluster(number) for number in range(clusters))},
        feeds={"prices": _feed()},
        listeners={},
        groups={f"edge-{number}": _group(number) for number in range(regions)},
        residency={"rule-restricted": _rule()},
        policies={one.name: one for one in (_policy(number, clusters) for number in range(policies))},
    )


def _cluster(number: int) -> Cluster:
    name = f"cluster-{number:02}"
    spec = {
        "site": "on_prem" if number % 4 == 0 else "cloud",
        "region": _region(number),
        "engine": "vllm",
        "models": [MODEL],
        "endpoints": [{"address": f"10.0.{number}.{index + 1}", "port": 8000} for index in range(4)],
        "capacity": {"concurrency": CONCURRENCY, "headroom": "15%"},
        "cost": {"usdPerMillionTokens": 0.2 + 0.05 * number, "feed": "prices", "key": name},
    }
    return Cluster.model_validate(_document("Cluster", name, spec))


def _policy(number: int, clusters: int) -> TrafficPolicy:
    spec = {
        "match": {"path": f"/p{number}/", "models": [MODEL]},
        "dataClass": "internal" if number % 3 else "public",
        "clusters": [f"cluster-{index:02}" for index in range(clusters)],
        "objective": {"minimize": "cost", "distancePenalty": f"{1 + number % 97}%"},
    }
    return TrafficPolicy.model_validate(_document("TrafficPolicy", f"policy-{number:03}", spec))


def _feed() -> CostFeed:
    spec = {"type": "file", "path": "prices.json", "refresh": "10s", "maxAge": "10m"}
    return CostFeed.model_validate(_document("CostFeed", "prices", spec))


def _group(number: int) -> NodeGroup:
    spec = {"match": {"cluster": f"edge-{number}"}, "region": _region(number), "listeners": ["public"]}
    return NodeGroup.model_validate(_document("NodeGroup", f"edge-{number}", spec))


def _rule() -> ResidencyRule:
    spec = {"dataClass": "restricted", "allow": {"sites": ["on_prem"]}}
    return ResidencyRule.model_validate(_document("ResidencyRule", "rule-restricted", spec))


@dataclass
class Traffic:
    """What the fleet reports under the weights in force: every second a little different."""

    policy: PolicySet
    seed: int = 7
    _random: random.Random = field(init=False)
    _rates: dict[RowKey, float] = field(init=False)
    _service: dict[str, float] = field(init=False)
    _prices: dict[str, float] = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        least, most = SERVICE_SECONDS
        self._service = {name: self._random.uniform(least, most) for name in self.policy.clusters}
        rows = self.policy.rows()
        sizes = [self._random.expovariate(1.0) + 0.01 for _ in rows]
        room = USE * (1 - HEADROOM) * CONCURRENCY * sum(1 / seconds for seconds in self._service.values())
        self._rates = {key: size / sum(sizes) * room for key, size in zip(rows, sizes, strict=True)}
        self._prices = {name: 0.2 + self._random.random() for name in self.policy.clusters}

    def observe(self, previous: Decision | None, now: float) -> Observations:
        """Report probes, load under the weights of ``previous``, and prices that quiver."""
        return Observations(
            probes={
                name: {one.key: EndpointProbe(now, 5, 0) for one in cluster.spec.endpoints}
                for name, cluster in self.policy.clusters.items()
            },
            load=self._load(previous, now),
            prices={
                "prices": {
                    name: Price(now, price * self._random.uniform(0.97, 1.03)) for name, price in self._prices.items()
                }
            },
        )

    def _load(self, previous: Decision | None, now: float) -> dict[str, dict[str, Load]]:
        arrived: dict[str, dict[str, float]] = {region: {} for region in self.policy.regions()}
        for key, rate in self._rates.items() if previous is not None else ():
            for name, weight in previous.rows[key].weights.items() if previous is not None else ():
                by = arrived[key.region]
                by[name] = by.get(name, 0.0) + rate * weight / 10_000 * self._random.uniform(0.9, 1.1)
        return {
            region: {
                name: Load(at=now, in_flight=rate * self._service[name], request_rate=rate, error_rate=0.0)
                for name, rate in by.items()
            }
            for region, by in arrived.items()
        }
