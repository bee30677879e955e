"""A fleet seen from two regions of the edge, whose Envoys probe its clusters. Shared by tests of the engine."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from penstock_policies.decision import ClusterHealth
from penstock_policies.observations import EndpointProbe, Load, Observations
from penstock_policies.policyset import PolicySet
from penstock_policies.schema import Cluster, TrafficPolicy
from penstock_policies.words import Vantage
from tests.engine.engine_world import EU, ONPREM, US, World, cluster, fleet, onprem, records, row, traffic

WEST, EAST = "eu-west", "us-east"


def from_edge(given: Cluster) -> Cluster:
    """The same cluster, probed from the edge."""
    health = given.spec.health.model_copy(update={"vantage": Vantage.EDGE})
    return given.model_copy(update={"spec": given.spec.model_copy(update={"health": health})})


def edge_fleet(*, edge: Sequence[str] = (ONPREM, EU, US), policies: Sequence[TrafficPolicy] | None = None) -> PolicySet:
    clusters = (onprem(), cluster(EU, endpoints=2), cluster(US, region="us-east", endpoints=2))
    return fleet(
        clusters=[from_edge(one) if one.name in edge else one for one in clusters],
        policies=policies or (traffic(), records()),
        regions=(WEST, EAST),
    )


@dataclass
class EdgeWorld(World):
    """A world in which some clusters, or single endpoints, are out of reach of some regions."""

    policy: PolicySet = field(default_factory=edge_fleet)
    unreachable: dict[str, set[str]] = field(default_factory=dict)
    """Region to clusters or endpoints that neither its probes nor, of a whole cluster, its requests reach."""
    unchecked: set[str] = field(default_factory=set)
    """Regions in which no Envoy probes."""
    heard: dict[str, float] = field(default_factory=dict)
    """Region to when its Envoys last said anything; just now where missing."""

    def observations(self) -> Observations:
        seen = super().observations()
        outer = {name for name, one in self.policy.clusters.items() if one.spec.health.vantage is Vantage.EDGE}
        return replace(
            seen,
            probes={name: by for name, by in seen.probes.items() if name not in outer},
            edge_probes={
                region: {
                    name: {endpoint: self._vote(region, name, endpoint) for endpoint in seen.probes[name]}
                    for name in sorted(outer)
                }
                for region in self.policy.regions()
                if region not in self.unchecked
            },
        )

    def _load(self) -> dict[str, dict[str, Load]]:
        return {
            region: {
                name: replace(load, error_rate=load.request_rate, success_rate=0.0)
                if name in self.unreachable.get(region, set())
                else load
                for name, load in by.items()
            }
            for region, by in super()._load().items()
        }

    def _vote(self, region: str, name: str, endpoint: str) -> EndpointProbe:
        lost = self.unreachable.get(region, set())
        failed = {name, endpoint} & (lost | self.failing)
        at = self.heard.get(region, self.now)
        return EndpointProbe(at, 0, 2, detail="2 of 3 checkers fail") if failed else EndpointProbe(at, 2, 0)

    def seen(self, region: str, name: str) -> ClusterHealth:
        assert self.previous is not None
        return self.previous.edge_health[region][name]

    def share(self, region: str, name: str, policy: str = "chat") -> float:
        return self.weights(row(policy, region)).get(name, 0) / 10_000


def busy(world: EdgeWorld, rate: float = 20.0) -> EdgeWorld:
    """Give both regions traffic of the public policy."""
    world.rates = {row("chat", region): rate for region in (WEST, EAST)}
    return world
