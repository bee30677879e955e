"""Probing from the edge, as operators see it: plain data that crosses the port, and how a cluster shows it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from penstock.admin.wire import timestamp
from penstock_policies.decision import Decision
from penstock_policies.schema import Cluster


@dataclass(frozen=True, slots=True)
class EndpointVotes:
    """The live votes of a region on one endpoint."""

    well: int = 0
    ill: int = 0
    at: float | None = None
    """Unix time of the newest; None where there is none."""


@dataclass(frozen=True, slots=True)
class ClusterVotes:
    """The votes of a region on one cluster."""

    checkers: int
    """Envoys of the region that are asked to probe it."""
    endpoints: Mapping[str, EndpointVotes]


@dataclass(frozen=True, slots=True)
class EdgeProbing:
    """How probing from the edge goes. Counts are since the process began where not said otherwise."""

    votes: Mapping[str, Mapping[str, ClusterVotes]] = field(default_factory=dict)
    """Region, cluster: of every cluster that Envoys of the region are to probe, whether there are any or not."""
    streams: int = 0
    """Envoys that offer to probe now."""
    checkers: Mapping[str, int] = field(default_factory=dict)
    """Region to the Envoys that have something to probe now."""
    silent: int = 0
    """Envoys that fell silent and are not asked for a while."""
    unplaced: int = 0
    """Envoys of no node group now, which are asked nothing."""
    reports: int = 0
    refused: int = 0
    """Reports, and parts of them, that were not asked for or made no sense."""
    expired: int = 0
    """Votes that nobody renewed."""

    def unchecked(self) -> dict[str, list[str]]:
        """Give the regions that have clusters to probe and no Envoy that does, with those clusters."""
        found = {
            region: [name for name, votes in sorted(by.items()) if votes.checkers == 0]
            for region, by in sorted(self.votes.items())
        }
        return {region: names for region, names in found.items() if names}


def regions_view(
    cluster: Cluster, decision: Decision | None, probing: EdgeProbing, now: float
) -> Iterator[dict[str, object]]:
    """Show a cluster as each region sees it; nothing for one that is not probed from the edge."""
    seen = (
        {}
        if decision is None
        else {region: by[cluster.name] for region, by in decision.edge_health.items() if cluster.name in by}
    )
    for region in sorted({*seen, *(region for region, by in probing.votes.items() if cluster.name in by)}):
        health, votes = seen.get(region), probing.votes.get(region, {}).get(cluster.name)
        unhealthy = () if health is None else health.unhealthy_endpoints
        yield {
            "region": region,
            "state": None if health is None else health.state,
            "since": None if health is None else timestamp(health.since),
            "ceiling": None if health is None else health.ceiling,
            "reason": "" if health is None else health.reason,
            "distrusted": "" if decision is None else decision.frozen_regions.get(region, ""),
            "checkers": 0 if votes is None else votes.checkers,
            "endpoints": [
                _endpoint(endpoint.key, votes, now, healthy=endpoint.key not in unhealthy)
                for endpoint in cluster.spec.endpoints
            ],
        }


def _endpoint(key: str, votes: ClusterVotes | None, now: float, *, healthy: bool) -> dict[str, object]:
    told = EndpointVotes() if votes is None else votes.endpoints.get(key, EndpointVotes())
    return {
        "endpoint": key,
        "healthy": healthy,
        "well": told.well,
        "ill": told.ill,
        "votedSecondsAgo": None if told.at is None else max(0.0, now - told.at),
    }
