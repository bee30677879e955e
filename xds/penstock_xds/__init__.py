"""An xDS server library: serve your own resources to Envoy or gRPC clients, exact to the protocol.

Resources are opaque: `Resource(type_url, name, body)`. Collect them into a `Snapshot`, publish it to a group in a
`SnapshotCache`, and let an `XdsServer` bring every client of the group to it.
"""

from penstock_xds import types
from penstock_xds.cache import CacheListener, Membership, SnapshotCache
from penstock_xds.core.canary import CanaryRun
from penstock_xds.core.debounce import Debounce
from penstock_xds.core.messages import Acked, Nacked, ResourceView, SyncStatus, TypeView, Variant
from penstock_xds.core.refusals import Refusal
from penstock_xds.core.snapshot import Resource, Snapshot
from penstock_xds.errors import (
    BindError,
    CertificateError,
    DuplicateResourceError,
    InvalidTtlError,
    MalformedRequestError,
    XdsError,
)
from penstock_xds.node import Node
from penstock_xds.security import Authenticator, Peer, RefusedError, san_authenticator
from penstock_xds.server import XdsServer
from penstock_xds.tls import CertificateFiles, mutual_tls
from penstock_xds.views import WRITE_TIMED_OUT, Client, Listener, Pushed, StreamView

__all__ = [
    "WRITE_TIMED_OUT",
    "Acked",
    "Authenticator",
    "BindError",
    "CacheListener",
    "CanaryRun",
    "CertificateError",
    "CertificateFiles",
    "Client",
    "Debounce",
    "DuplicateResourceError",
    "InvalidTtlError",
    "Listener",
    "MalformedRequestError",
    "Membership",
    "Nacked",
    "Node",
    "Peer",
    "Pushed",
    "Refusal",
    "RefusedError",
    "Resource",
    "ResourceView",
    "Snapshot",
    "SnapshotCache",
    "StreamView",
    "SyncStatus",
    "TypeView",
    "Variant",
    "XdsError",
    "XdsServer",
    "mutual_tls",
    "san_authenticator",
    "types",
]
