"""A small fleet and a world to drive the engine through, tick by tick. Shared by the engine's tests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from penstock_policies.decision import Decision
from penstock_policies.engine import decide
from penstock_policies.observations import EndpointProbe, EngineLoad, Load, Observations, Price, Spend
from penstock_policies.overrides import Drain, Overrides
from penstock_policies.policyset import PolicySet, RowKey
from penstock_policies.schema import Budget, Cluster, CostFeed, Listener, NodeGroup, ResidencyRule, TrafficPolicy

START = 1_700_000_000.0
ONPREM, EU, US = "onprem-fra", "cloud-eu-west", "cloud-us-east"
MODEL = "llama-3-70b"
CLASSES = ("public", "internal", "restricted")


def _document(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "penstock/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def cluster(
    name: str,
    *,
    site: str = "cloud",
    region: str = "eu-west",
    concurrency: int = 600,
    price: float | None = None,
    feed: str | None = "cloud-prices",
    endpoints: int = 1,
    models: Sequence[str] = (MODEL,),
    headroom: str = "15%",
    ramp_interval: str = "5s",
    versions: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> Cluster:
    cost: dict[str, Any] = {}
    if price is not None:
        cost["usdPerMillionTokens"] = price
    if feed is not None:
        cost |= {"feed": feed, "key": name}
    spec = {
        "site": site,
        "region": region,
        "engine": "vllm",
        "models": list(models),
        "endpoints": [{"address": f"{name}-{index}.example.com", "port": 8000} for index in range(endpoints)],
        "capacity": {"concurrency": concurrency, "headroom": headroom},
        "cost": cost,
        "health": {
            "interval": "1s",
            "timeout": "500ms",
            "unhealthyThreshold": 2,
            "healthyThreshold": 2,
            "rampInterval": ramp_interval,
        },
        "modelVersions": dict(versions or {}),
        **(more or {}),
    }
    return Cluster.model_validate(_document("Cluster", name, spec))


def onprem(name: str = ONPREM, *, concurrency: int = 160, endpoints: int = 2, **more: Any) -> Cluster:
    fixed = {"site": "on_prem", "region": "eu-central", "price": 0.02, "feed": None, **more}
    return cluster(name, concurrency=concurrency, endpoints=endpoints, **fixed)


def traffic(
    name: str = "chat",
    *,
    clusters: Sequence[str] = (ONPREM, EU, US),
    data_class: str = "public",
    models: Sequence[str] | None = (MODEL,),
    max_step: str = "10%",
    min_dwell: str = "30s",
    distance_penalty: str = "10%",
    load_step: str | None = None,
    path: str = "/v1/",
    more: Mapping[str, Any] | None = None,
) -> TrafficPolicy:
    match: dict[str, Any] = {"path": path}
    if models is not None:
        match["models"] = list(models)
    spec = {
        "match": match,
        "dataClass": data_class,
        "clusters": list(clusters),
        "objective": {"minimize": "cost", "distancePenalty": distance_penalty},
        "limits": {"maxStep": max_step, "minDwell": min_dwell, **({"loadStep": load_step} if load_step else {})},
        **(more or {}),
    }
    return TrafficPolicy.model_validate(_document("TrafficPolicy", name, spec))


def records(clusters: Sequence[str] = (ONPREM,)) -> TrafficPolicy:
    return traffic("records", clusters=clusters, data_class="restricted")


def residency(data_class: str = "restricted", **allow: Any) -> ResidencyRule:
    spec = {"dataClass": data_class, "allow": allow or {"sites": ["on_prem"]}}
    return ResidencyRule.model_validate(_document("ResidencyRule", f"rule-{data_class}", spec))


def feed(name: str = "cloud-prices", *, max_age: str = "10m") -> CostFeed:
    spec = {"type": "file", "path": "prices.json", "refresh": "1s", "maxAge": max_age}
    return CostFeed.model_validate(_document("CostFeed", name, spec))


def carbon_feed(name: str) -> CostFeed:
    spec = {"type": "file", "path": "carbon.json", "refresh": "1s", "maxAge": "10m", "measures": "carbon"}
    return CostFeed.model_validate(_document("CostFeed", name, spec))


def budget(name: str, scope: Mapping[str, str], *, amount: float = 100.0, on_exhausted: str = "shift") -> Budget:
    spec = {"scope": dict(scope), "amount": amount, "per": "day", "onExhausted": on_exhausted}
    return Budget.model_validate(_document("Budget", name, spec))


def listener(name: str, data_class: str, port: int) -> Listener:
    spec = {"address": "127.0.0.1", "port": port, "dataClass": data_class}
    return Listener.model_validate(_document("Listener", name, spec))


def group(region: str) -> NodeGroup:
    spec = {"match": {"cluster": f"edge-{region}"}, "region": region, "listeners": ["public", "internal", "restricted"]}
    return NodeGroup.model_validate(_document("NodeGroup", f"edge-{region}", spec))


def fleet(
    *,
    clusters: Sequence[Cluster] | None = None,
    policies: Sequence[TrafficPolicy] | None = None,
    regions: Sequence[str] = ("eu-west",),
    rules: Sequence[ResidencyRule] | None = None,
    feeds: Sequence[CostFeed] | None = None,
    budgets: Sequence[Budget] = (),
) -> PolicySet:
    """On-prem in Frankfurt, clouds in the EU and the US, a public and a restricted policy, unless told otherwise."""
    if clusters is None:
        clusters = (onprem(), cluster(EU), cluster(US, region="us-east"))
    if policies is None:
        policies = (traffic(), records())
    return PolicySet(
        digest="test",
        clusters={one.name: one for one in clusters},
        feeds={one.name: one for one in (feeds if feeds is not None else (feed(),))},
        listeners={name: listener(name, name, 10_000 + index) for index, name in enumerate(CLASSES)},
        groups={f"edge-{region}": group(region) for region in regions},
        residency={one.name: one for one in (rules if rules is not None else (residency(),))},
        policies={one.name: one for one in policies},
        budgets={one.name: one for one in budgets},
    )


def row(policy: str = "chat", region: str = "eu-west", model: str = MODEL) -> RowKey:
    return RowKey(policy, region, model)


@dataclass
class World:
    """What the engine is shown: every endpoint well, prices fresh, traffic as the last weights would send it."""

    policy: PolicySet
    now: float = START
    previous: Decision | None = None
    rates: dict[RowKey, float] = field(default_factory=dict)
    service_time: dict[str, float] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    """Clusters, or single endpoints, whose probes fail."""
    erring: set[str] = field(default_factory=set)
    """Clusters whose requests fail."""
    prices: dict[str, float] = field(default_factory=lambda: {EU: 0.90, US: 1.00})
    priced_at: dict[str, float] = field(default_factory=dict)
    """Key to when its price was last read; just now where missing."""
    drains: dict[str, Drain] = field(default_factory=dict)
    engines: dict[str, EngineLoad] = field(default_factory=dict)
    spend: dict[str, Spend] = field(default_factory=dict)
    silent: bool = False
    """No load reports."""

    def observations(self) -> Observations:
        return Observations(
            probes={
                name: {one.key: self._probe(name, one.key) for one in each.spec.endpoints}
                for name, each in self.policy.clusters.items()
            },
            load={} if self.silent else self._load(),
            prices={
                "cloud-prices": {
                    key: Price(self.priced_at.get(key, self.now), price) for key, price in self.prices.items()
                }
            },
            engines={name: replace(one, at=self.now) for name, one in self.engines.items()},
            spend={name: replace(one, at=self.now) for name, one in self.spend.items()},
        )

    def _probe(self, name: str, endpoint: str) -> EndpointProbe:
        failed = name in self.failing or endpoint in self.failing
        return EndpointProbe(self.now, 0 if failed else 5, 5 if failed else 0, detail="refused" if failed else "")

    def _load(self) -> dict[str, dict[str, Load]]:
        arrived: dict[str, dict[str, float]] = {region: {} for region in self.policy.regions()}
        for key, rate in self.rates.items():
            weights: Mapping[str, int] = self.previous.rows[key].weights if self.previous is not None else {}
            for name, weight in weights.items():
                by = arrived[key.region]
                by[name] = by.get(name, 0.0) + rate * weight / 10_000
        return {
            region: {
                name: Load(
                    at=self.now,
                    in_flight=rate * self.service_time.get(name, 1.0),
                    request_rate=rate,
                    error_rate=rate if name in self.erring else 0.0,
                    success_rate=0.0 if name in self.erring else min(rate, self._greatest_rate(name)),
                )
                for name, rate in by.items()
            }
            for region, by in arrived.items()
        }

    def _greatest_rate(self, name: str) -> float:
        """Completions a second of a full cluster."""
        return self.policy.clusters[name].spec.capacity.concurrency / self.service_time.get(name, 1.0)

    def drain(self, name: str, *, ramp: float = 0.0, last: float = 3600.0) -> None:
        self.drains[name] = Drain(name, self.now, self.now + last, "maintenance", "alice", ramp)

    def tick(self, seconds: float = 1.0) -> Decision:
        """Let time pass, then decide."""
        self.now += seconds
        self.previous = decide(self.policy, self.observations(), Overrides(dict(self.drains)), self.previous, self.now)
        return self.previous

    def run(self, seconds: float, *, step: float = 1.0) -> Decision:
        """Decide every ``step`` seconds for a while."""
        decision = self.tick(step)
        for _ in range(round(seconds / step) - 1):
            decision = self.tick(step)
        return decision

    def weights(self, key: RowKey | None = None) -> Mapping[str, int]:
        assert self.previous is not None
        return self.previous.rows[key or row()].weights
