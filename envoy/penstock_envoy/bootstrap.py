"""The bootstrap file of an edge Envoy: who it is, and how it finds its control plane.

Everything else Envoy needs comes over xDS. Plain data and YAML, because people read and edit this file.
"""

import ipaddress
from dataclasses import dataclass
from typing import Final, Literal

from penstock_envoy.envoy_yaml import dump

Variant = Literal["delta", "sotw"]

XDS_CLUSTER: Final = "penstock/xds"
"""The control plane among the Envoy's clusters. No policy cluster can be this one: their names have no slash."""

_API_TYPE: Final[dict[str, str]] = {"delta": "DELTA_GRPC", "sotw": "GRPC"}

# Envoy's default back-off grows to 30 s: an edge restarted while the control plane restarts would serve nothing for as
# long. Jittered, so a thousand edges that reconnect at once spread over the interval.
_RETRY_BACK_OFF: Final = {"base_interval": "0.1s", "max_interval": "2s"}

# Envoy accepts connections without limit unless told; a flood must cost the flooder, not the streams being served.
DEFAULT_MAX_CONNECTIONS: Final = 50_000


@dataclass(frozen=True, slots=True)
class XdsTls:
    """How an Envoy knows its control plane and proves itself; files are on the Envoy's machine, PEM."""

    ca_file: str
    """Who may have signed the control plane's certificate."""
    certificate: str = ""
    """The Envoy's own, with its node id among the names; empty to show none."""
    key: str = ""
    server_name: str = ""
    """A name in the control plane's certificate; empty for the host the Envoy connects to."""


def render(
    node_id: str,
    group_cluster: str,
    xds_host: str,
    xds_port: int,
    *,
    region: str = "",
    admin_port: int = 9901,
    variant: Variant = "delta",
    load_stats: bool = True,
    health_checks: bool = True,
    max_connections: int = DEFAULT_MAX_CONNECTIONS,
    max_heap_bytes: int | None = None,
    tls: XdsTls | None = None,
) -> str:
    """A complete bootstrap as YAML; :func:`document` says what the arguments mean."""
    return dump(
        document(
            node_id,
            group_cluster,
            xds_host,
            xds_port,
            region=region,
            admin_port=admin_port,
            variant=variant,
            load_stats=load_stats,
            health_checks=health_checks,
            max_connections=max_connections,
            max_heap_bytes=max_heap_bytes,
            tls=tls,
        )
    )


def document(
    node_id: str,
    group_cluster: str,
    xds_host: str,
    xds_port: int,
    *,
    region: str = "",
    admin_port: int = 9901,
    variant: Variant = "delta",
    load_stats: bool = True,
    health_checks: bool = True,
    max_connections: int = DEFAULT_MAX_CONNECTIONS,
    max_heap_bytes: int | None = None,
    tls: XdsTls | None = None,
) -> dict[str, object]:
    """A complete bootstrap as plain data.

    Args:
        node_id: unique among the Envoys of the fleet.
        group_cluster: what the node group's ``match.cluster`` names.
        xds_host: IP address or DNS name of the control plane.
        xds_port: its xDS port.
        region: where the Envoy stands, as its locality.
        admin_port: of Envoy's admin page, always on loopback; 0 lets the kernel choose.
        variant: incremental (``delta``) or State-of-the-World (``sotw``) ADS.
        load_stats: report load per cluster to the control plane (LRS).
        health_checks: probe clusters for the control plane when it asks to (HDS); costs an idle stream until it does.
        max_connections: downstream connections, over all listeners, above which new ones are refused.
        max_heap_bytes: heap at which Envoy sheds load (stops keep-alive at 90 %, refuses requests at 95 %); None: no
            limit, because only the operator knows the machine.
        tls: speak to the control plane over TLS; None for plain text.

    Raises:
        ValueError: an empty name, a port out of range, an unknown variant, or a certificate without its key.
    """
    if not node_id or not group_cluster or not xds_host:
        raise ValueError("node id, group cluster and xDS host must not be empty")
    if not 1 <= xds_port <= 65535 or not 0 <= admin_port <= 65535:
        raise ValueError(f"ports must be 1 to 65535 (0 allowed for admin): xDS {xds_port}, admin {admin_port}")
    if variant not in _API_TYPE:
        raise ValueError(f"variant must be one of {', '.join(sorted(_API_TYPE))}, not {variant!r}")
    node: dict[str, object] = {"id": node_id, "cluster": group_cluster}
    if region:
        node["locality"] = {"region": region}
    grpc_service = {
        "envoy_grpc": {"cluster_name": XDS_CLUSTER, "retry_policy": {"retry_back_off": dict(_RETRY_BACK_OFF)}}
    }
    bootstrap: dict[str, object] = {
        "node": node,
        "admin": {"address": _address("127.0.0.1", admin_port)},
        "dynamic_resources": {
            "ads_config": {
                "api_type": _API_TYPE[variant],
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [grpc_service],
            },
            "cds_config": {"resource_api_version": "V3", "ads": {}},
            "lds_config": {"resource_api_version": "V3", "ads": {}},
        },
        "static_resources": {"clusters": [control_plane_cluster(xds_host, xds_port, tls)]},
        "overload_manager": _overload_manager(max_connections, max_heap_bytes),
    }
    if load_stats:
        bootstrap["cluster_manager"] = {"load_stats_config": _service_config()}
    if health_checks:
        bootstrap["hds_config"] = _service_config()
    return bootstrap


def _service_config() -> dict[str, object]:
    """Where the services beside xDS are: with the control plane."""
    retry = {"retry_back_off": dict(_RETRY_BACK_OFF)}
    return {
        "api_type": "GRPC",
        "transport_api_version": "V3",
        "grpc_services": [{"envoy_grpc": {"cluster_name": XDS_CLUSTER, "retry_policy": retry}}],
    }


def _address(host: str, port: int) -> dict[str, object]:
    return {"socket_address": {"address": host, "port_value": port}}


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _transport_socket(host: str, tls: XdsTls) -> dict[str, object]:
    if bool(tls.certificate) != bool(tls.key):
        raise ValueError("an Envoy's certificate and its key go together")
    name = tls.server_name or host
    by_address = _is_address(name)
    common: dict[str, object] = {
        "validation_context": {
            "trusted_ca": {"filename": tls.ca_file},
            "match_typed_subject_alt_names": [
                {"san_type": "IP_ADDRESS" if by_address else "DNS", "matcher": {"exact": name}}
            ],
        }
    }
    if tls.certificate:
        common["tls_certificates"] = [
            {"certificate_chain": {"filename": tls.certificate}, "private_key": {"filename": tls.key}}
        ]
    context: dict[str, object] = {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": common,
    }
    # An address is no server name (RFC 6066, section 3).
    if not by_address:
        context["sni"] = name
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def control_plane_cluster(host: str, port: int, tls: XdsTls | None = None) -> dict[str, object]:
    """The control plane as a static cluster: for xDS, load reports and access logs."""
    secure = {} if tls is None else {"transport_socket": _transport_socket(host, tls)}
    return {
        "name": XDS_CLUSTER,
        "type": "STATIC" if _is_address(host) else "STRICT_DNS",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": XDS_CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(host, port)}}]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {
                    # A control plane whose machine vanished sends no FIN: keepalive notices within 40 s.
                    "http2_protocol_options": {"connection_keepalive": {"interval": "30s", "timeout": "10s"}}
                },
            }
        },
        **secure,
    }


def _overload_manager(max_connections: int, max_heap_bytes: int | None) -> dict[str, object]:
    monitors: list[dict[str, object]] = [
        {
            "name": "envoy.resource_monitors.global_downstream_max_connections",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3"
                ".DownstreamConnectionsConfig",
                "max_active_downstream_connections": max_connections,
            },
        }
    ]
    overload: dict[str, object] = {"refresh_interval": "0.25s", "resource_monitors": monitors}
    if max_heap_bytes is not None:
        heap = "envoy.resource_monitors.fixed_heap"
        monitors.append(
            {
                "name": heap,
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
                    "max_heap_size_bytes": max_heap_bytes,
                },
            }
        )
        overload["actions"] = [
            {
                "name": f"envoy.overload_actions.{action}",
                "triggers": [{"name": heap, "threshold": {"value": threshold}}],
            }
            for action, threshold in (("disable_http_keepalive", 0.90), ("stop_accepting_requests", 0.95))
        ]
    return overload
