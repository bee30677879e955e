"""The board on which every source pins its latest facts, and from which the engine's observations are taken.

Owned by the composition root; written by the probes, the load reports, the engines' metrics, the feeds and the
spending meter, all on the event loop's thread, so there is no lock. It keeps only what the policy set in force names:
:meth:`ObservationBoard.apply` must be called with a policy set before its sources are told of it, and a fact about
anything unknown is dropped.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from penstock_policies.observations import (
    EndpointProbe,
    EngineLoad,
    Intensity,
    Load,
    Observations,
    Price,
    Rate,
    Spend,
)
from penstock_policies.policyset import PolicySet
from penstock_policies.words import Vantage

LOAD_MEMORY: Final = 60.0
"""Seconds after which load that no edge renews is forgotten. The engine distrusts it much sooner; this only keeps a
region whose edges are gone from standing on people's screens for ever."""


@dataclass(frozen=True, slots=True)
class Signs:
    """What deeper probes of an endpoint found, beside whatever says that it is reachable."""

    generation_failed: int = 0
    """As :attr:`penstock_policies.observations.EndpointProbe.generation_failed`."""
    limited_at: float | None = None
    """When it last said that it is asked for too much, Unix time."""


class ObservationBoard:
    """The latest of everything that is observed."""

    def __init__(self) -> None:
        self._endpoints: Mapping[str, frozenset[str]] = {}
        self._feeds: frozenset[str] = frozenset()
        self._probes: dict[str, dict[str, EndpointProbe]] = {}
        self._signs: dict[tuple[str, str], Signs] = {}
        self._load: dict[str, Mapping[str, Load]] = {}
        self._prices: dict[str, Mapping[str, Price]] = {}
        self._rates: dict[str, Mapping[str, Rate]] = {}
        self._engines: dict[str, EngineLoad] = {}
        self._spoken: dict[str, EngineLoad] = {}
        self._carbon: dict[str, Mapping[str, Intensity]] = {}
        self._spend: Mapping[str, Spend] = MappingProxyType({})
        self._regions: frozenset[str] = frozenset()
        self._outer: frozenset[str] = frozenset()
        """Clusters that are probed from the edge, and by nobody else."""
        self._edge_probes: dict[str, dict[str, dict[str, EndpointProbe]]] = {}

    def apply(self, policy_set: PolicySet) -> None:
        """Keep what this policy set names, drop the rest."""
        self._endpoints = {
            name: frozenset(endpoint.key for endpoint in cluster.spec.endpoints)
            for name, cluster in policy_set.clusters.items()
        }
        self._feeds = frozenset(policy_set.feeds)
        kept = {
            cluster: {key: probe for key, probe in probes.items() if key in self._endpoints.get(cluster, ())}
            for cluster, probes in self._probes.items()
        }
        self._regions = frozenset(policy_set.regions())
        self._outer = frozenset(n for n, one in policy_set.clusters.items() if one.spec.health.vantage is Vantage.EDGE)
        self._probes = {cluster: probes for cluster, probes in kept.items() if probes and cluster not in self._outer}
        self._keep_edge_probes()
        self._signs = {
            (cluster, key): signs
            for (cluster, key), signs in self._signs.items()
            if key in self._endpoints.get(cluster, ())
        }
        self.set_load(self._load)
        self._prices = {feed: prices for feed, prices in self._prices.items() if feed in self._feeds}
        self._rates = {feed: rates for feed, rates in self._rates.items() if feed in self._feeds}
        self._carbon = {feed: figures for feed, figures in self._carbon.items() if feed in self._feeds}
        self._engines = {name: load for name, load in self._engines.items() if name in self._endpoints}
        self._spoken = {name: load for name, load in self._spoken.items() if name in self._endpoints}
        self.set_spend({name: spend for name, spend in self._spend.items() if name in policy_set.budgets})

    def set_probe(self, cluster: str, endpoint: str, probe: EndpointProbe) -> None:
        """Pin what is known of one endpoint, by its ``address:port`` key."""
        if endpoint in self._endpoints.get(cluster, ()) and cluster not in self._outer:
            self._probes.setdefault(cluster, {})[endpoint] = probe

    def set_edge_probe(self, region: str, cluster: str, endpoint: str, probe: EndpointProbe) -> None:
        """Pin what most Envoys of a region say of one endpoint."""
        if region in self._regions and cluster in self._outer and endpoint in self._endpoints[cluster]:
            self._edge_probes.setdefault(region, {}).setdefault(cluster, {})[endpoint] = probe

    def _keep_edge_probes(self) -> None:
        told, self._edge_probes = self._edge_probes, {}
        for region, clusters in told.items():
            for cluster, probes in clusters.items():
                for endpoint, probe in probes.items():
                    self.set_edge_probe(region, cluster, endpoint, probe)

    def set_signs(self, cluster: str, endpoint: str, signs: Signs) -> None:
        """Pin what deeper probes found; it is shown with what is known of the endpoint otherwise."""
        if endpoint in self._endpoints.get(cluster, ()):
            self._signs[cluster, endpoint] = signs

    def probe_of(self, cluster: str, endpoint: str) -> EndpointProbe | None:
        """Return what was last pinned of one endpoint."""
        return self._probes.get(cluster, {}).get(endpoint)

    def loads_of(self, cluster: str) -> list[Load]:
        """Return what every region's edges last said of one cluster."""
        return [facts[cluster] for facts in self._load.values() if cluster in facts]

    def set_load(self, load: Mapping[str, Mapping[str, Load]]) -> None:
        """Pin the load of every region, by region and cluster; what is not in it is no longer known."""
        self._load = {
            region: MappingProxyType({name: fact for name, fact in facts.items() if name in self._endpoints})
            for region, facts in load.items()
        }

    def set_prices(self, feed: str, prices: Mapping[str, Price], rates: Mapping[str, Rate] | None = None) -> None:
        """Pin all prices of a feed, by key: those of tokens, and those of something else."""
        if feed in self._feeds:
            self._prices[feed] = MappingProxyType(dict(prices))
            self._rates[feed] = MappingProxyType(dict(rates or {}))

    def set_carbon(self, feed: str, figures: Mapping[str, Intensity]) -> None:
        """Pin all carbon intensities of a feed, by key."""
        if feed in self._feeds:
            self._carbon[feed] = MappingProxyType(dict(figures))

    def set_engine(self, cluster: str, load: EngineLoad | None) -> None:
        """Pin what the engines of a cluster say of themselves; None: nothing is known any more."""
        if load is None:
            self._engines.pop(cluster, None)
        elif cluster in self._endpoints:
            self._engines[cluster] = load

    def set_spoken(self, cluster: str, load: EngineLoad | None) -> None:
        """Pin what a cluster's engines say of themselves in their answers, for where their own pages are silent."""
        if load is None:
            self._spoken.pop(cluster, None)
        elif cluster in self._endpoints:
            self._spoken[cluster] = load

    def set_spend(self, spend: Mapping[str, Spend]) -> None:
        """Pin what was spent under every budget."""
        self._spend = MappingProxyType(dict(spend))

    def snapshot(self, now: float) -> Observations:
        """Everything known, as a value that later changes to the board do not touch."""
        load = {
            region: {name: fact for name, fact in facts.items() if now - fact.at <= LOAD_MEMORY}
            for region, facts in self._load.items()
        }
        return Observations(
            probes=self._signed(self._probes),
            load=MappingProxyType({region: MappingProxyType(facts) for region, facts in load.items() if facts}),
            prices=MappingProxyType(dict(self._prices)),
            engines=MappingProxyType(
                {name: fact for name, fact in self._known_engines().items() if now - fact.at <= LOAD_MEMORY}
            ),
            carbon=MappingProxyType(dict(self._carbon)),
            spend=self._spend,
            rates=MappingProxyType({feed: rates for feed, rates in self._rates.items() if rates}),
            edge_probes=MappingProxyType({region: self._signed(by) for region, by in self._edge_probes.items()}),
        )

    def _signed(self, known: Mapping[str, Mapping[str, EndpointProbe]]) -> Mapping[str, Mapping[str, EndpointProbe]]:
        """Copy what is known of endpoints, with what deeper probes found of them."""

        def signed(cluster: str, endpoint: str, probe: EndpointProbe) -> EndpointProbe:
            signs = self._signs.get((cluster, endpoint))
            if signs is None:
                return probe
            return replace(probe, generation_failed=signs.generation_failed, limited_at=signs.limited_at)

        return MappingProxyType(
            {
                cluster: MappingProxyType({key: signed(cluster, key, probe) for key, probe in probes.items()})
                for cluster, probes in known.items()
            }
        )

    def _known_engines(self) -> dict[str, EngineLoad]:
        """What a page tells outranks what answers tell: it is of this moment, and of every engine behind it."""
        return self._spoken | self._engines
