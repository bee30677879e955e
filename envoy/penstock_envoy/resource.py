"""What Envoy is sent: one named resource of one type, as bytes."""

from dataclasses import dataclass
from typing import Final

_PREFIX: Final = "type.googleapis.com/envoy.config."

CLUSTER: Final = f"{_PREFIX}cluster.v3.Cluster"
ENDPOINT: Final = f"{_PREFIX}endpoint.v3.ClusterLoadAssignment"
LISTENER: Final = f"{_PREFIX}listener.v3.Listener"
ROUTE: Final = f"{_PREFIX}route.v3.RouteConfiguration"


@dataclass(frozen=True, slots=True)
class EnvoyResource:
    """A serialised resource. ``type_url`` is its protobuf type as Envoy names it; equal bodies are equal resources."""

    type_url: str
    name: str
    body: bytes
