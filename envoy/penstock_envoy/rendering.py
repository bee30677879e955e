"""Generated resources as plain data, for people (``penstock render``, reviews, golden files)."""

from typing import Final, cast

import betterproto2
from envoy_data_plane.envoy.config.cluster import v3 as cluster
from envoy_data_plane.envoy.config.endpoint import v3 as endpoint
from envoy_data_plane.envoy.config.listener import v3 as listener
from envoy_data_plane.envoy.config.route import v3 as route

import penstock_envoy.compiler  # noqa: F401 -- a message packed in an Any is shown only once its type is imported
from penstock_envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, EnvoyResource

_TYPES: Final[dict[str, type[betterproto2.Message]]] = {
    CLUSTER: cluster.Cluster,
    ENDPOINT: endpoint.ClusterLoadAssignment,
    LISTENER: listener.Listener,
    ROUTE: route.RouteConfiguration,
}


def render(resource: EnvoyResource) -> dict[str, object]:
    """A resource as Envoy's own YAML would have it (field names in snake case).

    Raises:
        ValueError: a resource of a type that Penstock does not make.
    """
    if resource.type_url not in _TYPES:
        raise ValueError(f"cannot show resources of type {resource.type_url}")
    message = _TYPES[resource.type_url].parse(resource.body)
    return cast("dict[str, object]", _respelt(message.to_dict(casing=betterproto2.Casing.SNAKE)))


def _respelt(value: object) -> object:
    """Field names as Envoy spells them: betterproto2 takes the digit in ``consecutive_5xx`` for the end of a word."""
    if isinstance(value, dict):
        return {key.replace("_5_xx", "_5xx"): _respelt(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_respelt(each) for each in value]
    return value
