"""A group's configuration as one bootstrap file with nothing left to ask for: an Envoy with no control plane.

For validating resources with Envoy itself, for benchmarks and tests, and as a last resort in an emergency: it serves
with the weights of the moment it was made.
"""

from collections.abc import Iterable, Mapping
from typing import cast

from penstock_envoy.bootstrap import control_plane_cluster
from penstock_envoy.envoy_yaml import dump
from penstock_envoy.rendering import render
from penstock_envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, EnvoyResource

_Dict = dict[str, object]


def static_bootstrap(
    resources: Iterable[EnvoyResource],
    *,
    admin_port: int = 0,
    listener_ports: Mapping[str, int] | None = None,
    access_logs: tuple[str, int] | None = None,
) -> str:
    """A bootstrap in YAML with every resource inline.

    Args:
        resources: all of a group: each route table and endpoint list that is referred to must be there.
        admin_port: of Envoy's admin page, on loopback; 0 lets the kernel choose.
        listener_ports: listeners to bind to other ports than their own, on loopback (0: the kernel chooses).
        access_logs: host and port of a control plane that takes access logs all the same; None: none are written.

    Raises:
        KeyError: a listener or cluster refers to a resource that is not there.
    """
    by_type: dict[str, dict[str, _Dict]] = {CLUSTER: {}, ENDPOINT: {}, LISTENER: {}, ROUTE: {}}
    for each in resources:
        by_type[each.type_url][each.name] = render(each)
    clusters = [_with_endpoints(each, by_type[ENDPOINT]) for each in by_type[CLUSTER].values()]
    listeners = [_with_routes(each, by_type[ROUTE]) for each in by_type[LISTENER].values()]
    for listener in listeners:
        name = cast("str", listener["name"])
        if listener_ports is not None and name in listener_ports:
            listener["address"] = _loopback(listener_ports[name])
    if access_logs is None:
        listeners = [_without_logs(each) for each in listeners]
    else:
        clusters.append(control_plane_cluster(*access_logs))
    bootstrap = {
        "node": {"id": "static", "cluster": "static"},
        "admin": {"address": _loopback(admin_port)},
        "static_resources": {"clusters": clusters, "listeners": listeners},
    }
    return dump(bootstrap)


def _with_endpoints(cluster: _Dict, endpoints: Mapping[str, _Dict]) -> _Dict:
    if cluster.get("type") != "EDS":
        return cluster
    inline = {key: value for key, value in cluster.items() if key != "eds_cluster_config"}
    return {**inline, "type": "STATIC", "load_assignment": endpoints[cast("str", cluster["name"])]}


def _with_routes(listener: _Dict, routes: Mapping[str, _Dict]) -> _Dict:
    for chain in cast("list[dict[str, list[dict[str, _Dict]]]]", listener["filter_chains"]):
        for network_filter in chain["filters"]:
            config = network_filter["typed_config"]
            rds = cast("_Dict", config.pop("rds"))
            config["route_config"] = routes[cast("str", rds["route_config_name"])]
    return listener


def _without_logs(listener: _Dict) -> _Dict:
    for chain in cast("list[dict[str, list[dict[str, _Dict]]]]", listener["filter_chains"]):
        for network_filter in chain["filters"]:
            network_filter["typed_config"].pop("access_log", None)
    return listener


def _loopback(port: int) -> _Dict:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
