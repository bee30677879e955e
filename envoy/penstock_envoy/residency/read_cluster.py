"""Reading clusters and endpoints: where a cluster really leads."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from envoy.extensions.load_balancing_policies.least_request.v3 import least_request_pb2
from envoy.extensions.load_balancing_policies.maglev.v3 import maglev_pb2
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2

from penstock_envoy import protos
from penstock_envoy.protos import Message
from penstock_envoy.residency.breach import ResidencyBreach
from penstock_envoy.residency.composite import CompositeConfig
from penstock_envoy.residency.read_route import NAMESPACE
from penstock_envoy.residency.strict import only, packed, parse, require

_STRICT_DNS: Final = 1  # Cluster.DiscoveryType
_EDS: Final = 3
_CLUSTER_PROVIDED: Final = 6  # Cluster.LbPolicy
_MAGLEV: Final = "type.googleapis.com/envoy.extensions.load_balancing_policies.maglev.v3.Maglev"
_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


@dataclass(frozen=True, slots=True)
class EndpointFacts:
    """One endpoint: its address, and the cluster it is marked as belonging to."""

    address: str
    port: int
    mark: str


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """A cluster: a list of other clusters, or endpoints (None: they come by EDS under the cluster's name)."""

    name: str
    members: tuple[str, ...]
    endpoints: tuple[EndpointFacts, ...] | None
    sni: str | None
    """The name the endpoints' certificates must have; None without TLS."""
    ca_file: str


@lru_cache(maxsize=16384)
def read_cluster(body: bytes) -> ClusterFacts:
    """A cluster.

    Raises:
        ResidencyBreach: it has anything the proof does not know, or could panic.
    """
    cluster = parse(protos.Cluster, body, "cluster")
    what = f"cluster {cluster.name}"
    if cluster.WhichOneof("cluster_discovery_type") == "cluster_type":
        return _read_composite(cluster, what)
    only(
        cluster,
        what,
        "name",
        "type",
        "eds_cluster_config",
        "connect_timeout",
        "load_assignment",
        "circuit_breakers",
        "typed_extension_protocol_options",
        "dns_lookup_family",
        "outlier_detection",
        "common_lb_config",
        "transport_socket",
        "upstream_connection_options",
        "load_balancing_policy",
    )
    only(cluster.common_lb_config, what, "healthy_panic_threshold")
    require(
        cluster.common_lb_config.HasField("healthy_panic_threshold")
        and cluster.common_lb_config.healthy_panic_threshold.value == 0,
        what,
        "its panic threshold is not 0: it would send to endpoints held to be unhealthy",
    )
    _check_http_options(cluster, what)
    _check_load_balancing(cluster, what)
    sni, ca_file = _read_tls(cluster, what)
    require(cluster.type in (_EDS, _STRICT_DNS), what, f"discovery type {cluster.type} is not known")
    if cluster.type == _EDS:
        require(not cluster.HasField("load_assignment"), what, "has endpoints inline as well as by EDS")
        only(cluster.eds_cluster_config, what, "eds_config")
        only(cluster.eds_cluster_config.eds_config, what, "ads", "resource_api_version")
        return ClusterFacts(str(cluster.name), (), None, sni, ca_file)
    require(not cluster.HasField("eds_cluster_config"), what, "has endpoints by EDS as well as inline")
    return ClusterFacts(str(cluster.name), (), _read_assignment(cluster.load_assignment, what), sni, ca_file)


@lru_cache(maxsize=16384)
def read_endpoints(body: bytes) -> tuple[str, tuple[EndpointFacts, ...]]:
    """The name of a cluster, and its endpoints.

    Raises:
        ResidencyBreach: they have anything the proof does not know.
    """
    assignment = parse(protos.ClusterLoadAssignment, body, "endpoints")
    return str(assignment.cluster_name), _read_assignment(assignment, f"endpoints {assignment.cluster_name}")


def _read_composite(cluster: Message, what: str) -> ClusterFacts:
    only(cluster, what, "name", "cluster_type", "lb_policy", "circuit_breakers", "lrs_report_endpoint_metrics")
    require(cluster.lb_policy == _CLUSTER_PROVIDED, what, "a composite cluster must bring its own load balancing")
    only(cluster.cluster_type, what, "name", "typed_config")
    config = packed(cluster.cluster_type.typed_config, CompositeConfig, what)
    only(config, what, "clusters")
    for member in config.clusters:
        only(member, what, "name")
    members = tuple(str(member.name) for member in config.clusters)
    require(members, what, "has no members")
    return ClusterFacts(str(cluster.name), members, (), None, "")


def _read_assignment(assignment: Message, what: str) -> tuple[EndpointFacts, ...]:
    only(assignment, what, "cluster_name", "endpoints")
    found = []
    for locality in assignment.endpoints:
        only(locality, what, "locality", "lb_endpoints")
        for each in locality.lb_endpoints:
            only(each, what, "endpoint", "metadata", "health_status")
            only(each.endpoint, what, "address", "hostname")
            only(each.endpoint.address, what, "socket_address")
            socket = each.endpoint.address.socket_address
            only(socket, what, "address", "port_value")
            mark = each.metadata.filter_metadata[NAMESPACE].fields["cluster"].string_value
            found.append(EndpointFacts(str(socket.address), int(socket.port_value), str(mark)))
    return tuple(found)


def _check_http_options(cluster: Message, what: str) -> None:
    for name, holder in cluster.typed_extension_protocol_options.items():
        require(name == _HTTP_OPTIONS, what, f"protocol options {name} are not known")
        options = packed(holder, http_protocol_options_pb2.HttpProtocolOptions, what)
        only(options, what, "common_http_protocol_options", "explicit_http_config")


def _check_load_balancing(cluster: Message, what: str) -> None:
    """Both policies known choose among the cluster's own healthy endpoints and nothing else."""
    for policy in cluster.load_balancing_policy.policies:
        holder = policy.typed_extension_config.typed_config
        if holder.type_url == _MAGLEV:
            hashed = packed(holder, maglev_pb2.Maglev, what)
            only(hashed, what, "consistent_hashing_lb_config")
            only(hashed.consistent_hashing_lb_config, what, "hash_balance_factor")
        else:
            only(packed(holder, least_request_pb2.LeastRequest, what), what, "selection_method")


def _read_tls(cluster: Message, what: str) -> tuple[str | None, str]:
    if not cluster.HasField("transport_socket"):
        return None, ""
    context = packed(cluster.transport_socket.typed_config, tls_pb2.UpstreamTlsContext, what)
    only(context, what, "sni", "common_tls_context")
    only(context.common_tls_context, what, "validation_context")
    validation = context.common_tls_context.validation_context
    only(validation, what, "trusted_ca", "match_typed_subject_alt_names")
    only(validation.trusted_ca, what, "filename")
    names = [each.matcher.exact for each in validation.match_typed_subject_alt_names]
    if names != [context.sni] or not context.sni:
        raise ResidencyBreach((what,), f"accepts certificates of {names or 'anyone'} for {context.sni or 'no name'}")
    return str(context.sni), str(validation.trusted_ca.filename)
