"""What a policy wants to have probed from the edge, and by whom: clusters as checkers are told of them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from envoy.service.health.v3 import hds_pb2
from google.protobuf.duration_pb2 import Duration

from penstock_policies.policyset import PolicySet
from penstock_policies.probing import Health
from penstock_policies.words import Vantage


@dataclass(frozen=True, slots=True)
class Check:
    """A cluster to be probed from the edge."""

    health: Health
    keys: dict[str, str]
    """Address and port as Envoy writes them to the endpoint's key."""
    told: bytes
    """Its part of a ``HealthCheckSpecifier``, serialised."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a checker is, and what it could be asked to check."""

    region: str
    may: frozenset[str]


def checks_of(policy: PolicySet, told: Mapping[str, bytes]) -> dict[str, Check]:
    """Give what is to be probed from the edge; ``told`` is what checkers are told of each such cluster."""
    return {
        name: Check(
            health=cluster.spec.health,
            keys={f"{ip_address(one.address)} {one.port}": one.key for one in cluster.spec.endpoints},
            told=_part(told[name]),
        )
        for name, cluster in sorted(policy.clusters.items())
        if cluster.spec.health.vantage is Vantage.EDGE
    }


def places_of(policy: PolicySet) -> dict[str, Place]:
    """Give, by ``node.cluster``, the region of its Envoys and the clusters that they are served and so can reach."""
    places: dict[str, Place] = {}
    for group in policy.groups.values():
        classes = {
            data_class
            for name in group.spec.listeners
            for data_class in policy.listeners[name].spec.data_class.at_least()
        }
        served = {
            name
            for traffic in policy.policies.values()
            if traffic.spec.data_class in classes
            for name in traffic.spec.clusters
        }
        places[group.spec.match.cluster] = Place(group.spec.region, frozenset(served))
    return places


def _part(check: bytes) -> bytes:
    """Serialise one entry of a specifier; a specifier is its entries and an interval, one after the other."""
    parsed = hds_pb2.ClusterHealthCheck.FromString(check)
    part: bytes = hds_pb2.HealthCheckSpecifier(cluster_health_checks=[parsed]).SerializeToString(deterministic=True)
    return part


def report_interval(seconds: float) -> bytes:
    """Serialise the interval of a specifier, in seconds."""
    every = Duration()
    every.FromNanoseconds(round(seconds * 1e9))
    part: bytes = hds_pb2.HealthCheckSpecifier(interval=every).SerializeToString(deterministic=True)
    return part
