"""Which clusters and endpoints a notice is about: clouds name machines, policies name addresses. Pure."""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from penstock.admin.notice_errors import PlaceMissingError, UnknownEndpointError, UnmatchedNoticeError
from penstock.admin.ports import UnknownClusterError
from penstock.signals.notices import Announcement
from penstock_policies.policyset import PolicySet
from penstock_policies.schema import Cluster, Endpoint

ANNOTATION: Final = "instance-ids"
"""On a Cluster: the cloud's names of its machines, ``i-0abc=10.0.1.11:8000, i-0def=10.0.1.12:8000``. A name without an
endpoint stands for the cluster as a whole."""


class Place(NamedTuple):
    """What goes away."""

    cluster: str
    endpoint: str = ""
    """Empty: all of it."""


def places(
    policy: PolicySet, told: Announcement, cluster: str, endpoint: str
) -> tuple[tuple[Place, ...], tuple[str, ...]]:
    """Return where an announcement leads, and the machines it names that are none of ours.

    What the sender named beside the payload (``cluster``, ``endpoint``) outranks what is within.

    Raises:
        UnknownClusterError, UnknownEndpointError: the place that was named is none.
        UnmatchedNoticeError: machines are named, and none is ours.
        PlaceMissingError: nothing is named at all.

    """
    cluster, endpoint = cluster or told.cluster, endpoint or told.endpoint
    if cluster and cluster not in policy.clusters:
        raise UnknownClusterError(cluster, sorted(policy.clusters))
    within = [policy.clusters[cluster]] if cluster else [policy.clusters[name] for name in sorted(policy.clusters)]
    where = f"cluster {cluster}" if cluster else "the policy in force"
    if endpoint:
        return _named(within, endpoint, where), ()
    if told.names:
        return _matched(within, told.names, where, lone=bool(cluster))
    if not cluster:
        raise PlaceMissingError
    return (Place(cluster),), ()


def _named(within: Iterable[Cluster], endpoint: str, where: str) -> tuple[Place, ...]:
    keys = [Place(each.name, one.key) for each in within for one in each.spec.endpoints]
    found = tuple(place for place in keys if place.endpoint.lower() == endpoint.lower())
    if not found:
        raise UnknownEndpointError(endpoint, where, sorted({place.endpoint for place in keys}))
    return found


def _matched(
    within: list[Cluster], names: tuple[str, ...], where: str, *, lone: bool
) -> tuple[tuple[Place, ...], tuple[str, ...]]:
    found: dict[Place, None] = {}
    strangers: list[str] = []
    for name in names:
        ours = [place for each in within for place in _of(each, name.lower())]
        found.update(dict.fromkeys(ours))
        if not ours:
            strangers.append(name)
    # Only one machine can be meant where there is only one.
    if not found and lone and len(names) == 1 and len(within[0].spec.endpoints) == 1:
        return (Place(within[0].name, within[0].spec.endpoints[0].key),), ()
    if not found:
        raise UnmatchedNoticeError(names, where)
    return tuple(found), tuple(strangers)


def _of(cluster: Cluster, name: str) -> list[Place]:
    written = _annotated(cluster)
    if name in written:
        return [Place(cluster.name, written[name])]
    return [Place(cluster.name, one.key) for one in cluster.spec.endpoints if name in _hosts(one)]


def _hosts(endpoint: Endpoint) -> frozenset[str]:
    address = endpoint.address.lower()
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return frozenset({address, address.partition(".")[0], endpoint.key.lower()})
    return frozenset({address, endpoint.key.lower()})


def _annotated(cluster: Cluster) -> Mapping[str, str]:
    """Read the annotation; a name with an endpoint the cluster does not have is as good as not written."""
    keys = {one.key.lower(): one.key for one in cluster.spec.endpoints}
    read: dict[str, str] = {}
    for entry in re.split(r"[,\s]+", cluster.metadata.annotations.get(ANNOTATION, "")):
        name, separator, endpoint = entry.lower().partition("=")
        if name and not separator:
            read[name] = ""
        elif name and endpoint in keys:
            read[name] = keys[endpoint]
    return read
