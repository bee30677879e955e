"""The gRPC methods of the discovery services: which variant and which types each speaks. As data."""

from dataclasses import dataclass
from typing import Final

from penstock_xds.core.messages import Variant
from penstock_xds.types import (
    CLUSTER,
    ENDPOINT,
    EXTENSION_CONFIG,
    LISTENER,
    ROUTE,
    RUNTIME,
    SCOPED_ROUTE,
    SECRET,
    VIRTUAL_HOST,
)


@dataclass(frozen=True, slots=True)
class Method:
    """One streaming method."""

    variant: Variant
    type_url: str = ""
    """The one type of a per-type stream; empty on an aggregated one."""


def _service(kind: str, name: str, stream: str, delta: str, type_url: str) -> dict[str, Method]:
    path = f"/envoy.service.{kind}.v3.{name}"
    methods = {f"{path}/{delta}": Method(Variant.DELTA, type_url)}
    if stream:
        methods[f"{path}/{stream}"] = Method(Variant.SOTW, type_url)
    return methods


METHODS: Final[dict[str, Method]] = {
    **_service("discovery", "AggregatedDiscoveryService", "StreamAggregatedResources", "DeltaAggregatedResources", ""),
    **_service("cluster", "ClusterDiscoveryService", "StreamClusters", "DeltaClusters", CLUSTER),
    **_service("endpoint", "EndpointDiscoveryService", "StreamEndpoints", "DeltaEndpoints", ENDPOINT),
    **_service("listener", "ListenerDiscoveryService", "StreamListeners", "DeltaListeners", LISTENER),
    **_service("route", "RouteDiscoveryService", "StreamRoutes", "DeltaRoutes", ROUTE),
    **_service("route", "ScopedRoutesDiscoveryService", "StreamScopedRoutes", "DeltaScopedRoutes", SCOPED_ROUTE),
    # Virtual hosts exist in Delta only.
    **_service("route", "VirtualHostDiscoveryService", "", "DeltaVirtualHosts", VIRTUAL_HOST),
    **_service("secret", "SecretDiscoveryService", "StreamSecrets", "DeltaSecrets", SECRET),
    **_service("runtime", "RuntimeDiscoveryService", "StreamRuntime", "DeltaRuntime", RUNTIME),
    **_service(
        "extension",
        "ExtensionConfigDiscoveryService",
        "StreamExtensionConfigs",
        "DeltaExtensionConfigs",
        EXTENSION_CONFIG,
    ),
}
"""Full method name to what it speaks."""
