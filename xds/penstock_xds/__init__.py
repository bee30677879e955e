"""An xDS server library: serve your own resources to Envoy or gRPC clients, exact to the protocol.

Resources are opaque: `Resource(type_url, name, body)`. Collect them into a `Snapshot`, publish it to a group in a
`SnapshotCache`, and let an `XdsServer` bring every client of the group to it.
"""

from penstock_xds import types
from penstock_xds.cache import SnapshotCache
from penstock_xds.core.messages import SyncStatus, TypeView, Variant
from penstock_xds.core.snapshot import Resource, Snapshot
from penstock_xds.errors import BindError, DuplicateResourceError, MalformedRequestError, XdsError
from penstock_xds.node import Node
from penstock_xds.server import XdsServer
from penstock_xds.views import Listener, StreamView

__all__ = [
    "BindError",
    "DuplicateResourceError",
    "Listener",
    "MalformedRequestError",
    "Node",
    "Resource",
    "Snapshot",
    "SnapshotCache",
    "StreamView",
    "SyncStatus",
    "TypeView",
    "Variant",
    "XdsError",
    "XdsServer",
    "types",
]
