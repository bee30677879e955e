"""Ways to tamper with compiled resources."""

from collections.abc import Callable, Sequence
from typing import Any

from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2

from penstock_envoy import protos
from penstock_envoy.residency.composite import CompositeConfig
from penstock_envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, EnvoyResource

TYPES: dict[str, Any] = {
    CLUSTER: protos.Cluster,
    ENDPOINT: protos.ClusterLoadAssignment,
    LISTENER: protos.Listener,
    ROUTE: protos.RouteConfiguration,
}

Resources = tuple[EnvoyResource, ...]


def edited(resources: Resources, type_url: str, name: str, change: Callable[[Any], Any]) -> Resources:
    """The resources with one of them changed."""

    def tampered(each: EnvoyResource) -> EnvoyResource:
        if (each.type_url, each.name) != (type_url, name):
            return each
        message = TYPES[type_url].FromString(each.body)
        change(message)
        return EnvoyResource(type_url, name, message.SerializeToString(deterministic=True))

    return tuple(tampered(each) for each in resources)


def without(resources: Resources, type_url: str, name: str) -> Resources:
    """The resources but one."""
    return tuple(each for each in resources if (each.type_url, each.name) != (type_url, name))


def edited_manager(resources: Resources, listener: str, change: Callable[[Any], Any]) -> Resources:
    """The resources with the connection manager of a listener changed."""

    def tampered(message: Any) -> None:
        packed = message.filter_chains[0].filters[0].typed_config
        manager = http_connection_manager_pb2.HttpConnectionManager.FromString(packed.value)
        change(manager)
        packed.value = manager.SerializeToString(deterministic=True)

    return edited(resources, LISTENER, listener, tampered)


def edited_filter(resources: Resources, listener: str, type_url: str) -> Resources:
    """The resources with the network filter of a listener replaced by one of another type."""

    def tampered(message: Any) -> None:
        message.filter_chains[0].filters[0].typed_config.type_url = type_url

    return edited(resources, LISTENER, listener, tampered)


def route_named(table: Any, name: str) -> Any:
    """A route of a table."""
    return next(route for route in table.virtual_hosts[0].routes if route.name == name)


def with_leg_members(resources: Resources, leg: str, members: Sequence[str]) -> Resources:
    """The resources with the list of a leg replaced."""

    def tampered(cluster: Any) -> None:
        config = CompositeConfig()
        for member in members:
            config.clusters.add(name=member)
        cluster.cluster_type.typed_config.value = config.SerializeToString(deterministic=True)

    return edited(resources, CLUSTER, leg, tampered)


def composite_of(resource: EnvoyResource) -> list[str]:
    """The members of a leg; none for other clusters."""
    cluster = protos.Cluster.FromString(resource.body)
    if cluster.WhichOneof("cluster_discovery_type") != "cluster_type":
        return []
    return [entry.name for entry in CompositeConfig.FromString(cluster.cluster_type.typed_config.value).clusters]
