"""What goes in and out of the core: requests, responses and events, free of protobuf."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from penstock_xds.core.snapshot import Resource, ResourceError

__all__ = [
    "Acked",
    "DeltaRequest",
    "Event",
    "Nacked",
    "ResourceError",
    "ResourceView",
    "Response",
    "SotwRequest",
    "SyncStatus",
    "TypeView",
    "Variant",
]


class Variant(StrEnum):
    """The two ways to talk xDS."""

    SOTW = "sotw"
    DELTA = "delta"


@dataclass(frozen=True, slots=True)
class SotwRequest:
    """A DiscoveryRequest."""

    type_url: str
    version: str = ""
    nonce: str = ""
    names: tuple[str, ...] = ()
    error: str | None = None
    """The message of `error_detail`. Its presence alone makes the request a NACK."""


@dataclass(frozen=True, slots=True)
class DeltaRequest:
    """A DeltaDiscoveryRequest."""

    type_url: str
    nonce: str = ""
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    initial_versions: Mapping[str, str] = field(default_factory=dict)
    """Name to version of what the client held when its stream opened; only in its first request of the type."""
    error: str | None = None
    """The message of `error_detail`. Its presence alone makes the request a NACK."""


@dataclass(frozen=True, slots=True)
class Response:
    """A DiscoveryResponse or DeltaDiscoveryResponse, to be sent in the order given."""

    type_url: str
    version: str
    nonce: str
    resources: tuple[Resource, ...]
    removed: tuple[str, ...] = ()
    """Delta only: names the client is to drop, or that it asked for and that do not exist."""
    errors: tuple[ResourceError, ...] = ()
    """Why names the client asked for are not among the resources."""
    heartbeats: tuple[Resource, ...] = ()
    """Delta: resources the client holds and is to keep for another `ttl`; sent without their bodies."""
    expires: bool = False
    """The client understands times to live, so they are to be sent."""


@dataclass(frozen=True, slots=True)
class Acked:
    """The client accepted a response."""

    type_url: str
    version: str
    seconds: float
    """From the moment the content was wanted of this stream to the acknowledgement."""
    resources: tuple[Resource, ...] = ()
    """Those of the response."""


@dataclass(frozen=True, slots=True)
class Nacked:
    """The client refused a response and stays with what it had."""

    type_url: str
    names: tuple[str, ...]
    """The refused resources: those its message names, or all that were new to it when it names none."""
    version: str
    message: str
    resources: tuple[Resource, ...] = ()
    """The refused ones, as they were sent."""
    accepted: tuple[Resource, ...] = ()
    """The others of the response: the client has taken them over all the same, or had them before."""


Event = Acked | Nacked


class SyncStatus(StrEnum):
    """How a client stands to what it should have, of one type (the words are CSDS's)."""

    SYNCED = "SYNCED"
    STALE = "STALE"
    NACKED = "NACKED"
    NOT_SENT = "NOT_SENT"


@dataclass(frozen=True, slots=True)
class TypeView:
    """The state of one type on one stream, for people to look at."""

    type_url: str
    status: SyncStatus
    sent_version: str
    sent_nonce: str
    acked_version: str
    resources: int
    """How many resources the client holds or is being sent."""
    pushes: int
    nacks: int
    last_error: str
    """The client's message on what it refuses now; empty when it refuses nothing."""
    refused: tuple[str, ...]
    """Names whose present version the client has refused."""
    suppressed: int = 0
    """How many re-sends were spared since the stream began, as the client held that very version already."""


@dataclass(frozen=True, slots=True)
class ResourceView:
    """One resource on one stream, for people to look at."""

    name: str
    status: SyncStatus
    version: str
    """What the client holds; empty when it holds nothing of this name."""
    body: bytes | None
    """The body of that version; None if it holds nothing, or brought it from an earlier stream."""
    refused_version: str
    """The version it refused and would be served; empty when it refuses none."""
    refused_body: bytes | None
    message: str
    """What it said when it refused."""
    updated_at: float
    """When this last changed, on the core's clock."""
