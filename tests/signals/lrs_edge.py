"""A real Envoy with a bootstrap of its own: one composite leg over two clusters, load reports to us."""

import json
from typing import Any


def _static_cluster(name: str, port: int, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "0.5s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [
                {
                    "lb_endpoints": [
                        {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
                    ]
                }
            ],
        },
        **more,
    }


def _composite(name: str, members: list[str]) -> dict[str, Any]:
    return {
        "name": name,
        "connect_timeout": "0.5s",
        "lb_policy": "CLUSTER_PROVIDED",
        # The default of 3 retries at a time would fail the fourth.
        "circuit_breakers": {"thresholds": [{"max_retries": 1000}]},
        "cluster_type": {
            "name": "envoy.clusters.composite",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.clusters.composite.v3.ClusterConfig",
                "clusters": [{"name": member} for member in members],
            },
        },
    }


def _listener(route_to: str) -> dict[str, Any]:
    extensions = "type.googleapis.com/envoy.extensions"
    manager = {
        "@type": f"{extensions}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{extensions}.filters.http.router.v3.Router"},
            }
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [
                        {
                            "match": {"prefix": "/"},
                            "route": {
                                "cluster": route_to,
                                "timeout": "0s",
                                "retry_policy": {
                                    "retry_on": "5xx,connect-failure,retriable-status-codes",
                                    "retriable_status_codes": [429, 503],
                                    "num_retries": 1,
                                },
                            },
                        }
                    ],
                }
            ]
        },
    }
    return {
        "name": "edge",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }


def bootstrap(*, lrs_port: int, first_port: int, second_port: int) -> str:
    """A bootstrap as JSON, which is YAML: ``leg/public/first>second`` carries everything."""
    leg = "leg/public/first>second"
    http2 = {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }
    }
    return json.dumps(
        {
            "node": {"id": "edge-1", "cluster": "edge-eu"},
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
            "cluster_manager": {
                "load_stats_config": {
                    "api_type": "GRPC",
                    "transport_api_version": "V3",
                    "grpc_services": [{"envoy_grpc": {"cluster_name": "control"}}],
                }
            },
            "static_resources": {
                "listeners": [_listener(leg)],
                "clusters": [
                    _static_cluster("first", first_port),
                    _static_cluster("second", second_port),
                    _composite(leg, ["first", "second"]),
                    _static_cluster("control", lrs_port, typed_extension_protocol_options=http2),
                ],
            },
        }
    )
