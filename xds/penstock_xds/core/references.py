"""Which resource names which: the only place that looks into a body.

A protobuf message holds its strings verbatim, at any depth, so a body that does not contain the bytes of a name cannot
refer to it. The converse may fail (one name inside another), which is safe here: such a resource is merely held a
little longer.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from google.protobuf.message import DecodeError

from penstock_xds.core.snapshot import Resource
from penstock_xds.protos import Cluster
from penstock_xds.types import ENDPOINT

# Beyond this many names, searching each body for each of them costs more than the wait it could save.
_WORTH_SEARCHING = 64


@dataclass(frozen=True, slots=True)
class ForeignVersion:
    """A version the client brought from an earlier stream; its body is not known here."""

    version: str


Held = Resource | ForeignVersion
"""What a client has under a name."""


UNKNOWN = ForeignVersion("")
"""Something not seen yet; it may name anything."""


def mentions(held: Held, names: Iterable[str]) -> bool:
    """Whether the resource may refer to any of the names; an unknown body may refer to anything."""
    if isinstance(held, ForeignVersion):
        return True
    searched = list(names)
    if len(searched) > _WORTH_SEARCHING:
        return True
    return any(name.encode() in held.body for name in searched)


def named_by(parent: Resource, type_url: str, names: Iterable[str]) -> Iterable[str]:
    """Return what the parent uses of a type: of endpoints, as it says; of others, those of the names it mentions."""
    if type_url == ENDPOINT:
        return endpoints_of(parent)
    return [name for name in names if name.encode() in parent.body]


# Sized for a few snapshots of a large fleet; an entry is one short string.
@lru_cache(maxsize=65_536)
def endpoints_of(cluster: Resource) -> tuple[str, ...]:
    """Return the names a cluster may fetch its endpoints by: its own, or the service name in its EDS settings."""
    try:
        service_name = Cluster.FromString(cluster.body).eds_cluster_config.service_name
    except DecodeError:
        return (cluster.name,)
    return (cluster.name, service_name) if service_name else (cluster.name,)
