"""Every sabotage of what the compiler makes is caught by the proof of residency."""

from collections.abc import Callable
from typing import Any

import pytest

from penstock_envoy import protos
from penstock_envoy.compiler import Compiler
from penstock_envoy.residency import ResidencyBreach, prove
from penstock_envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, EnvoyResource
from tests.envoy.fleet import GROUP, decision, fleet
from tests.envoy.sabotage import (
    Resources,
    edited,
    edited_filter,
    edited_manager,
    route_named,
    with_leg_members,
    without,
)

POLICY = fleet()
GOOD = Compiler().compile(POLICY, decision(POLICY), GROUP)
RESTRICTED_LEG = "leg/restricted/onprem-fra>onprem-fra"
PUBLIC_LEG = "leg/public/onprem-fra>onprem-fra>cloud-eu-west>cloud-us-east"


def leads_to(cluster: str) -> Callable[[Any], None]:
    def change(table: Any) -> None:
        weighted = route_named(table, "restricted/records/*").route.weighted_clusters
        weighted.clusters[0].name = cluster

    return change


def also_leads_to(cluster: str) -> Callable[[Any], None]:
    def change(table: Any) -> None:
        weighted = route_named(table, "restricted/records/*").route.weighted_clusters
        weighted.clusters.add(name=cluster)

    return change


def in_route(name: str, change: Callable[[Any], None]) -> Callable[[Any], None]:
    return lambda table: change(route_named(table, name))


def also_first(name: str, change: Callable[[Any], None]) -> Callable[[Any], None]:
    """A copy of a route, with its match changed, before all others."""

    def insert(table: Any) -> None:
        copy = protos.Route()
        copy.CopyFrom(route_named(table, name))
        change(copy.match)
        table.virtual_hosts[0].routes.insert(0, copy)

    return insert


def moved_to(address: str) -> Callable[[Any], None]:
    def change(assignment: Any) -> None:
        assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address = address

    return change


RECORDS = "restricted/records/*"

SABOTAGE: dict[str, Callable[[], Resources]] = {
    # routes
    "a restricted route leads to a public leg": lambda: edited(GOOD, ROUTE, "vault", leads_to(PUBLIC_LEG)),
    "a restricted route leads to a cloud directly": lambda: edited(GOOD, ROUTE, "vault", leads_to("cloud-us-east")),
    "a cloud is added beside, with no weight": lambda: edited(GOOD, ROUTE, "vault", also_leads_to("cloud-us-east")),
    "a route leads to a cluster that is not there": lambda: edited(GOOD, ROUTE, "vault", leads_to("nowhere")),
    "the class matchers of a public route are gone": lambda: edited(
        GOOD, ROUTE, "public", also_first("public/chat/llama-3-70b", lambda match: match.ClearField("headers"))
    ),
    "one of two guards of the strict routes is gone": lambda: edited(
        GOOD, ROUTE, "public", in_route("internal/staff/llama-3-70b", lambda route: route.match.headers.pop())
    ),
    "a class matcher is inverted": lambda: edited(
        GOOD,
        ROUTE,
        "public",
        in_route("public/chat/llama-3-70b", lambda route: setattr(route.match.headers[0], "invert_match", True)),
    ),
    "a class matcher takes any text": lambda: edited(
        GOOD,
        ROUTE,
        "public",
        in_route(
            "public/chat/llama-3-70b",
            lambda route: setattr(route.match.headers[0].string_match.safe_regex, "regex", ".*"),
        ),
    ),
    "a class matcher lets restricted pass": lambda: edited(
        GOOD,
        ROUTE,
        "public",
        also_first(
            "public/chat/llama-3-70b",
            lambda match: setattr(match.headers[0].string_match.safe_regex, "regex", "(public|restricted)?"),
        ),
    ),
    "public routes come first on a restricted listener": lambda: edited(
        GOOD,
        ROUTE,
        "vault",
        lambda table: table.virtual_hosts[0].routes.insert(
            0,
            route_named(
                protos.RouteConfiguration.FromString(
                    next(each.body for each in GOOD if (each.type_url, each.name) == (ROUTE, "public"))
                ),
                "public/chat/llama-3-70b",
            ),
        ),
    ),
    "the listeners' route tables are swapped": lambda: tuple(
        EnvoyResource(each.type_url, each.name, other.body) if (each.type_url, each.name) == (ROUTE, "vault") else each
        for other in GOOD
        if (other.type_url, other.name) == (ROUTE, "public")
        for each in GOOD
    ),
    "requests are mirrored": lambda: edited(
        GOOD,
        ROUTE,
        "vault",
        in_route(RECORDS, lambda route: route.route.request_mirror_policies.add(cluster="cloud-us-east")),
    ),
    "requests are mirrored for a whole virtual host": lambda: edited(
        GOOD, ROUTE, "vault", lambda table: table.virtual_hosts[0].request_mirror_policies.add(cluster="cloud-us-east")
    ),
    "requests are mirrored for the whole table": lambda: edited(
        GOOD, ROUTE, "vault", lambda table: table.request_mirror_policies.add(cluster="cloud-us-east")
    ),
    "the client names the cluster": lambda: edited(
        GOOD, ROUTE, "vault", in_route(RECORDS, lambda route: setattr(route.route, "cluster_header", "x-cluster"))
    ),
    "a weighted cluster is named by a header": lambda: edited(
        GOOD,
        ROUTE,
        "vault",
        in_route(RECORDS, lambda route: route.route.weighted_clusters.clusters.add(cluster_header="x-cluster")),
    ),
    "a plug-in names the cluster": lambda: edited(
        GOOD, ROUTE, "vault", in_route(RECORDS, lambda route: setattr(route.route, "cluster_specifier_plugin", "mine"))
    ),
    "redirects are followed inside": lambda: edited(
        GOOD, ROUTE, "vault", in_route(RECORDS, lambda route: route.route.internal_redirect_policy.SetInParent())
    ),
    "requests are hedged": lambda: edited(
        GOOD,
        ROUTE,
        "vault",
        in_route(RECORDS, lambda route: setattr(route.route.hedge_policy, "hedge_on_per_try_timeout", True)),
    ),
    "retries choose by another rule": lambda: edited(
        GOOD,
        ROUTE,
        "vault",
        in_route(RECORDS, lambda route: route.route.retry_policy.retry_priority.SetInParent()),
    ),
    "a route tells the client to go elsewhere": lambda: edited(
        GOOD,
        ROUTE,
        "vault",
        in_route(RECORDS, lambda route: setattr(route.redirect, "host_redirect", "cloud.example.com")),
    ),
    "a route reconfigures a filter": lambda: edited(
        GOOD, ROUTE, "vault", in_route(RECORDS, lambda route: route.typed_per_filter_config["lua"].SetInParent())
    ),
    "a route has no policy": lambda: edited(
        GOOD, ROUTE, "vault", in_route(RECORDS, lambda route: route.ClearField("metadata"))
    ),
    "a route claims a policy that does not exist": lambda: edited(
        GOOD,
        ROUTE,
        "vault",
        in_route(
            RECORDS,
            lambda route: setattr(
                route.metadata.filter_metadata["penstock"].fields["policy"], "string_value", "no-such-policy"
            ),
        ),
    ),
    "a route claims another policy of its class": lambda: edited(
        GOOD,
        ROUTE,
        "public",
        in_route(
            "public/chat/llama-3-70b",
            lambda route: setattr(
                route.metadata.filter_metadata["penstock"].fields["policy"], "string_value", "anything-eu"
            ),
        ),
    ),
    "a route matches a shorter path than its policy": lambda: edited(
        GOOD,
        ROUTE,
        "public",
        in_route("public/anything-eu/bge-m3", lambda route: setattr(route.match, "prefix", "/")),
    ),
    "a route matches every model though its policy names one": lambda: edited(
        GOOD,
        ROUTE,
        "public",
        in_route("public/chat/llama-3-70b", lambda route: route.match.ClearField("dynamic_metadata")),
    ),
    "a route table is not there": lambda: without(GOOD, ROUTE, "vault"),
    # legs and clusters
    "a cloud is added to a restricted leg": lambda: with_leg_members(
        GOOD, RESTRICTED_LEG, ["onprem-fra", "onprem-fra", "cloud-eu-west"]
    ),
    "a leg is another leg": lambda: with_leg_members(GOOD, RESTRICTED_LEG, [PUBLIC_LEG]),
    "a leg has no members": lambda: with_leg_members(GOOD, RESTRICTED_LEG, []),
    "a leg is not there": lambda: without(GOOD, CLUSTER, RESTRICTED_LEG),
    "a member is not there": lambda: without(GOOD, CLUSTER, "onprem-fra"),
    "a leg calls itself by another's name": lambda: edited(
        GOOD, CLUSTER, RESTRICTED_LEG, lambda cluster: setattr(cluster, "name", PUBLIC_LEG)
    ),
    "a leg is an aggregate cluster": lambda: edited(
        GOOD,
        CLUSTER,
        RESTRICTED_LEG,
        lambda cluster: setattr(
            cluster.cluster_type.typed_config,
            "type_url",
            "type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig",
        ),
    ),
    "the panic threshold is gone": lambda: edited(
        GOOD, CLUSTER, "onprem-fra", lambda cluster: cluster.common_lb_config.ClearField("healthy_panic_threshold")
    ),
    "the panic threshold is half": lambda: edited(
        GOOD,
        CLUSTER,
        "onprem-fra",
        lambda cluster: setattr(cluster.common_lb_config.healthy_panic_threshold, "value", 50.0),
    ),
    "a cluster goes where the client points": lambda: edited(
        GOOD, CLUSTER, "onprem-fra", lambda cluster: setattr(cluster, "type", 4)
    ),
    "a cluster has endpoints inline too": lambda: edited(
        GOOD, CLUSTER, "onprem-fra", lambda cluster: cluster.load_assignment.endpoints.add()
    ),
    "a cluster's endpoints have another name": lambda: edited(
        GOOD,
        CLUSTER,
        "onprem-fra",
        lambda cluster: setattr(cluster.eds_cluster_config, "service_name", "cloud-us-east"),
    ),
    "a cluster mirrors by its protocol options": lambda: edited(
        GOOD,
        CLUSTER,
        "onprem-fra",
        lambda cluster: setattr(
            cluster.typed_extension_protocol_options["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"],
            "value",
            b"\x4a\x02\x0a\x00",
        ),
    ),
    "a cluster has undefined fields": lambda: tuple(
        EnvoyResource(each.type_url, each.name, each.body + b"\xf2\xff\x3f\x01x") if each.name == "onprem-fra" else each
        for each in GOOD
    ),
    # endpoints
    "an endpoint is the cloud's": lambda: edited(GOOD, ENDPOINT, "onprem-fra", moved_to("10.2.1.11")),
    "an endpoint is nobody's": lambda: edited(GOOD, ENDPOINT, "onprem-fra", moved_to("192.0.2.99")),
    "an endpoint is marked as another cluster's": lambda: edited(
        GOOD,
        ENDPOINT,
        "onprem-fra",
        lambda assignment: setattr(
            assignment.endpoints[0].lb_endpoints[0].metadata.filter_metadata["penstock"].fields["cluster"],
            "string_value",
            "cloud-us-east",
        ),
    ),
    "an endpoint has a second address": lambda: edited(
        GOOD,
        ENDPOINT,
        "onprem-fra",
        lambda assignment: (
            assignment.endpoints[0]
            .lb_endpoints[0]
            .endpoint.additional_addresses.add()
            .address.socket_address.SetInParent()
        ),
    ),
    "endpoints are not there": lambda: without(GOOD, ENDPOINT, "onprem-fra"),
    "endpoints are another cluster's": lambda: tuple(
        EnvoyResource(ENDPOINT, each.name, other.body)
        if (each.type_url, each.name) == (ENDPOINT, "onprem-fra")
        else each
        for other in GOOD
        if (other.type_url, other.name) == (ENDPOINT, "cloud-us-east")
        for each in GOOD
    ),
    # listeners
    "a listener is on another's port": lambda: edited(
        GOOD, LISTENER, "vault", lambda listener: setattr(listener.address.socket_address, "port_value", 10000)
    ),
    "a listener has a second address": lambda: edited(
        GOOD, LISTENER, "vault", lambda listener: listener.additional_addresses.add()
    ),
    "a listener is nobody's": lambda: tuple(
        EnvoyResource(each.type_url, "stranger" if each.type_url == LISTENER else each.name, each.body)
        for each in GOOD
        if each.type_url != LISTENER or each.name == "vault"
    ),
    "a listener uses another's route table": lambda: edited_manager(
        GOOD, "vault", lambda manager: setattr(manager.rds, "route_config_name", "public")
    ),
    "a listener has its routes inline": lambda: edited_manager(
        GOOD, "vault", lambda manager: manager.route_config.SetInParent()
    ),
    "paths are not normalised": lambda: edited_manager(
        GOOD, "vault", lambda manager: manager.ClearField("normalize_path")
    ),
    "slashes are not merged": lambda: edited_manager(
        GOOD, "vault", lambda manager: manager.ClearField("merge_slashes")
    ),
    "escaped slashes pass": lambda: edited_manager(
        GOOD, "vault", lambda manager: manager.ClearField("path_with_escaped_slashes_action")
    ),
    "a listener has a filter of its own": lambda: edited(
        GOOD, LISTENER, "vault", lambda listener: listener.listener_filters.add(name="mine")
    ),
    "a listener proxies TCP": lambda: edited_filter(
        GOOD, "vault", "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
    ),
    "an unknown HTTP filter runs": lambda: edited_manager(
        GOOD,
        "vault",
        lambda manager: setattr(
            manager.http_filters[0].typed_config,
            "type_url",
            "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
        ),
    ),
    "the class header is removed before routing": lambda: edited_manager(
        GOOD,
        "public",
        lambda manager: setattr(
            manager.early_header_mutation_extensions[0].typed_config,
            "value",
            manager.early_header_mutation_extensions[0].typed_config.value.replace(b"x-penstock-", b"x-data-clas"),
        ),
    ),
    # resources
    "a resource is there twice": lambda: (*GOOD, GOOD[0]),
    "a resource is of an unknown type": lambda: (*GOOD, EnvoyResource("type.googleapis.com/other", "x", b"")),
    "a resource is not readable": lambda: tuple(
        EnvoyResource(each.type_url, each.name, b"\xff\xff") if each.name == RESTRICTED_LEG else each for each in GOOD
    ),
}


@pytest.mark.parametrize("name", SABOTAGE)
def test_sabotage_is_caught(name: str) -> None:
    sabotaged = SABOTAGE[name]()
    assert sabotaged != GOOD
    with pytest.raises(ResidencyBreach) as caught:
        prove(POLICY, sabotaged, GROUP)
    assert caught.value.reason
