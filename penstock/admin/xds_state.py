"""What the admin side shows of the xDS streams: plain data that crosses :class:`penstock.admin.ports.ControlPlane`."""

from dataclasses import dataclass
from enum import StrEnum


class SyncStatus(StrEnum):
    """How an Envoy stands for one type of resource."""

    SYNCED = "SYNCED"
    STALE = "STALE"
    """Sent, not yet acknowledged."""
    NACKED = "NACKED"
    NOT_SENT = "NOT_SENT"


@dataclass(frozen=True, slots=True)
class TypeState:
    """One type of resource on one stream."""

    type_url: str
    status: SyncStatus
    sent_version: str = ""
    acked_version: str = ""
    error: str = ""
    """The last refusal, in Envoy's words; empty when it never refused."""
    resources: int = 0
    pushes: int = 0
    nacks: int = 0


@dataclass(frozen=True, slots=True)
class ConnectedEnvoy:
    """One xDS stream, as seen now."""

    stream: str
    node: str
    node_cluster: str
    group: str
    peer: str
    variant: str
    """``delta`` or ``sotw``."""
    connected_at: float
    """Unix time."""
    types: tuple[TypeState, ...] = ()


@dataclass(frozen=True, slots=True)
class ResourceState:
    """One resource an Envoy asks for, on one stream."""

    type_url: str
    name: str
    status: SyncStatus
    version: str = ""
    """What the Envoy holds; empty when it holds nothing of this name."""
    refused_version: str = ""
    """What it refused and would be served; empty when it refuses nothing."""
    message: str = ""
    """Why it refused, in Envoy's words."""
    updated_at: float = 0.0
    """When this last changed, Unix time."""


@dataclass(frozen=True, slots=True)
class QuarantinedResource:
    """One version of a resource that an Envoy of a group refused, and that the group is not sent any more."""

    group: str
    type_url: str
    name: str
    version: str
    nodes: tuple[str, ...]
    """Those that refused it, in the order they did."""
    message: str
    """Why, in Envoy's words."""
    first_at: float
    """Unix time."""
    last_at: float
    """Unix time."""
    served_instead: str = ""
    """The version that goes on being served; empty when there is none, and Envoys keep what they hold."""
    held_back: tuple[tuple[str, str], ...] = ()
    """Other resources (type URL, name) kept at an older version because their new one names this one."""
    held: str = ""
    """Why the group is kept at *all* of its earlier configuration: the residency proof's words on the mixture that
    would be served otherwise. Empty when all but this resource moved on."""
    origins: tuple[str, ...] = ()
    """Where the policy documents stand that this resource is made from, as ``file:line``, the most telling first."""


@dataclass(frozen=True, slots=True)
class CanaryRollout:
    """A configuration that some Envoys of a group try before the others get it."""

    group: str
    nodes: int
    """How many have been sent it."""
    waiting: int
    """How many of them have not accepted all of it."""
    since: float
    """Unix time."""
    stuck: bool
    """Nobody is left to try it, and nobody accepted it."""


@dataclass(frozen=True, slots=True)
class Queue:
    """Streams that want their first, whole configuration: how many get it now, and how many wait for their turn."""

    building: int = 0
    waiting: int = 0
