"""Envoy clusters: one for each policy cluster, and the legs that try several of them in order.

A leg is a *composite* cluster: attempt n of a request goes to its n-th member, members without a healthy endpoint being
skipped. That makes failover part of the request itself, with no control plane involved.
"""

import ipaddress
from datetime import timedelta
from typing import Final

from envoy_data_plane.envoy.config.cluster import v3 as cluster
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.extensions.clusters.composite import v3 as composite
from envoy_data_plane.envoy.extensions.load_balancing_policies.common import v3 as lb
from envoy_data_plane.envoy.extensions.load_balancing_policies.least_request import v3 as least_request
from envoy_data_plane.envoy.extensions.load_balancing_policies.maglev import v3 as maglev
from envoy_data_plane.envoy.extensions.transport_sockets.tls import v3 as tls
from envoy_data_plane.envoy.extensions.upstreams.http import v3 as upstream_http
from envoy_data_plane.envoy.type import v3 as envoy_type
from envoy_data_plane.envoy.type.matcher import v3 as matcher
from envoy_data_plane.google import protobuf

from penstock_envoy.endpoints import load_assignment
from penstock_envoy.engine_load import REPORTED
from penstock_policies.schema import Cluster, ClusterSpec, Tls

# Breakers are no spill-over: an overflow is retried nowhere. They stand where only a fault can reach them; capacity is
# kept by weights and by the backends' own 429.
_NO_BREAKER: Final = 1_000_000

# uvicorn, which serves vLLM, SGLang and most others, closes idle connections after 5 s; a request sent at that moment
# is lost and must be retried. Envoy closes first.
_PLAIN_IDLE: Final = timedelta(seconds=4)
# Cloud load balancers keep idle connections for 60 s or more, and a TLS handshake across a continent is dear.
_TLS_IDLE: Final = timedelta(seconds=50)

# Envoy multiplies the ejection time at each further ejection, up to 300 s. An edge must notice the end of an outage
# sooner; what a trial costs is a handful of attempts that are retried elsewhere.
_MAX_EJECTIONS: Final = 4

# Percent of the mean of requests in flight at which an endpoint takes no more conversations it does not owe an answer
# yet: a warm prefix cache is worth a short wait, and not a long queue.
_BUSIEST: Final = 150

_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def has_fixed_addresses(spec: ClusterSpec) -> bool:
    """Whether the endpoints are IP addresses, served by EDS; else they are DNS names, which Envoy resolves itself."""
    try:
        for each in spec.endpoints:
            ipaddress.ip_address(each.address)
    except ValueError:
        return False
    return True


def author_cluster(document: Cluster, *, affine: bool = False) -> bytes:
    """The Envoy cluster of a policy cluster; an ``affine`` one keeps conversations on one endpoint."""
    spec = document.spec
    secure = spec.endpoints[0].tls
    outlier = spec.outlier_detection
    authored = cluster.Cluster(
        name=document.name,
        connect_timeout=timedelta(seconds=spec.connect_timeout),
        load_balancing_policy=_load_balancing(_bounded_hash() if affine else _least_request()),
        # No panic: when no endpoint is healthy the leg goes on to its next member at once.
        common_lb_config=cluster.ClusterCommonLbConfig(healthy_panic_threshold=envoy_type.Percent(value=0.0)),
        circuit_breakers=_circuit_breakers(),
        outlier_detection=cluster.OutlierDetection(
            consecutive_5xx=outlier.consecutive5xx,
            interval=timedelta(seconds=outlier.interval),
            base_ejection_time=timedelta(seconds=outlier.base_ejection_time),
            max_ejection_time=timedelta(seconds=outlier.base_ejection_time * _MAX_EJECTIONS),
            # All endpoints may be ejected, on purpose: the leg has other members.
            max_ejection_percent=100,
            enforcing_consecutive_5xx=100,
            enforcing_success_rate=0,
        ),
        upstream_connection_options=cluster.UpstreamConnectionOptions(
            # A machine that vanishes sends no FIN; streams may be silent for minutes, so only probes tell.
            tcp_keepalive=core.TcpKeepalive(keepalive_probes=3, keepalive_time=20, keepalive_interval=5)
        ),
        typed_extension_protocol_options={
            _HTTP_OPTIONS: protobuf.Any.pack(_http1(_TLS_IDLE if secure else _PLAIN_IDLE))
        },
        transport_socket=upstream_tls(secure) if secure else None,
    )
    if has_fixed_addresses(spec):
        authored.type = cluster.ClusterDiscoveryType.EDS
        authored.eds_cluster_config = cluster.ClusterEdsClusterConfig(
            eds_config=core.ConfigSource(ads=core.AggregatedConfigSource(), resource_api_version=core.ApiVersion.V3)
        )
    else:
        authored.type = cluster.ClusterDiscoveryType.STRICT_DNS
        authored.dns_lookup_family = cluster.ClusterDnsLookupFamily.ALL
        authored.load_assignment = load_assignment(document)
    return bytes(authored)


def author_leg(name: str, members: tuple[str, ...]) -> bytes:
    """The composite cluster that tries ``members`` in order."""
    entries = [composite.ClusterConfigClusterEntry(name=member) for member in members]
    return bytes(
        cluster.Cluster(
            name=name,
            lb_policy=cluster.ClusterLbPolicy.CLUSTER_PROVIDED,
            # Retries are counted against the leg: its default of 3 at a time would fail requests in an outage.
            circuit_breakers=_circuit_breakers(),
            lrs_report_endpoint_metrics=list(REPORTED),
            cluster_type=cluster.ClusterCustomClusterType(
                name="envoy.clusters.composite",
                typed_config=protobuf.Any.pack(composite.ClusterConfig(clusters=entries)),
            ),
        )
    )


def _least_request() -> core.TypedExtensionConfig:
    # LLM requests differ a hundredfold in work, so requests in flight are the load that counts. A full scan, because
    # clusters have few endpoints and each is dear: the power of two choices leaves one of four idle too often.
    policy = least_request.LeastRequest(selection_method=least_request.LeastRequestSelectionMethod.FULL_SCAN)
    return core.TypedExtensionConfig(
        name="envoy.load_balancing_policies.least_request", typed_config=protobuf.Any.pack(policy)
    )


def _bounded_hash() -> core.TypedExtensionConfig:
    # Requests without a hash, those of policies without affinity among them, go to any endpoint within the bound.
    policy = maglev.Maglev(consistent_hashing_lb_config=lb.ConsistentHashingLbConfig(hash_balance_factor=_BUSIEST))
    return core.TypedExtensionConfig(
        name="envoy.load_balancing_policies.maglev", typed_config=protobuf.Any.pack(policy)
    )


def _load_balancing(chosen: core.TypedExtensionConfig) -> cluster.LoadBalancingPolicy:
    return cluster.LoadBalancingPolicy(policies=[cluster.LoadBalancingPolicyPolicy(typed_extension_config=chosen)])


def _circuit_breakers() -> cluster.CircuitBreakers:
    return cluster.CircuitBreakers(
        thresholds=[
            cluster.CircuitBreakersThresholds(
                max_connections=_NO_BREAKER,
                max_pending_requests=_NO_BREAKER,
                max_requests=_NO_BREAKER,
                max_retries=_NO_BREAKER,
            )
        ]
    )


def _http1(idle: timedelta) -> upstream_http.HttpProtocolOptions:
    return upstream_http.HttpProtocolOptions(
        common_http_protocol_options=core.HttpProtocolOptions(idle_timeout=idle),
        explicit_http_config=upstream_http.HttpProtocolOptionsExplicitHttpConfig(
            http_protocol_options=core.Http1ProtocolOptions()
        ),
    )


def upstream_tls(secure: Tls) -> core.TransportSocket:
    """TLS to an endpoint: who it must prove to be, and by whose word."""
    context = tls.UpstreamTlsContext(
        sni=secure.sni,
        common_tls_context=tls.CommonTlsContext(
            validation_context=tls.CertificateValidationContext(
                trusted_ca=core.DataSource(filename=secure.ca_file),
                match_typed_subject_alt_names=[
                    tls.SubjectAltNameMatcher(
                        san_type=tls.SubjectAltNameMatcherSanType.DNS, matcher=matcher.StringMatcher(exact=secure.sni)
                    )
                ],
            )
        ),
    )
    return core.TransportSocket(name="envoy.transport_sockets.tls", typed_config=protobuf.Any.pack(context))
