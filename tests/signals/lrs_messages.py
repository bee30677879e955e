"""Load reports as Envoys and gRPC clients write them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from envoy.config.endpoint.v3 import load_report_pb2
from envoy.service.load_stats.v3 import lrs_pb2
from google.protobuf.duration_pb2 import Duration

SENDS_ALL = "envoy.lrs.supports_send_all_clusters"


@dataclass(frozen=True)
class At:
    """Counts of an endpoint or a locality, and metrics as (requests, sum) by name."""

    in_flight: int = 0
    issued: int = 0
    errors: int = 0
    successes: int = 0
    metrics: Mapping[str, tuple[int, float]] = field(default_factory=dict)


def _counted(message: Any, at: At) -> Any:
    message.total_requests_in_progress = at.in_flight
    message.total_issued_requests = at.issued
    message.total_error_requests = at.errors
    message.total_successful_requests = at.successes
    for name, (requests, total) in at.metrics.items():
        message.load_metric_stats.add(
            metric_name=name, num_requests_finished_with_metric=requests, total_metric_value=total
        )
    return message


def _locality(at: At, region: str, endpoints: Mapping[str, At]) -> Any:
    locality = _counted(load_report_pb2.UpstreamLocalityStats(), at)
    locality.locality.region = region
    for key, each in endpoints.items():
        told = _counted(locality.upstream_endpoint_stats.add(), each)
        host, _, port = key.rpartition(":")
        told.address.socket_address.address = host.strip("[]")
        told.address.socket_address.port_value = int(port)
    return locality


def stats(
    name: str,
    *localities: At,
    endpoints: Mapping[str, At] | None = None,
    drops: Mapping[str, int] | None = None,
    dropped: int | None = None,
    seconds: float | None = 1.0,
    service: str = "",
) -> Any:
    """One cluster's; endpoints belong to the first locality."""
    message = load_report_pb2.ClusterStats(cluster_name=name, cluster_service_name=service)
    if seconds is not None:
        message.load_report_interval.FromNanoseconds(round(seconds * 1e9))
    for number, at in enumerate(localities):
        message.upstream_locality_stats.append(
            _locality(at, f"region-{number}", (endpoints or {}) if number == 0 else {})
        )
    for category, count in (drops or {}).items():
        message.dropped_requests.add(category=category, dropped_count=count)
    message.total_dropped_requests = sum((drops or {}).values()) if dropped is None else dropped
    return message


def report(*clusters: Any) -> bytes:
    """A message without a node, as gRPC clients send all but their first."""
    return bytes(lrs_pb2.LoadStatsRequest(cluster_stats=clusters).SerializeToString())


def from_envoy(*clusters: Any, node: str = "edge-1", group: str = "edge-eu", extensions: int = 516) -> bytes:
    """A message of an Envoy, which tells all about itself each time."""
    message = lrs_pb2.LoadStatsRequest(cluster_stats=clusters)
    message.node.id, message.node.cluster, message.node.user_agent_name = node, group, "envoy"
    message.node.client_features.append(SENDS_ALL)
    for number in range(extensions):
        message.node.extensions.add(
            name=f"envoy.filters.http.of_this_or_that_kind_{number}",
            category="envoy.filters.http",
            type_urls=[f"type.googleapis.com/envoy.extensions.filters.http.of_this_or_that_kind_{number}.v3.Config"],
        )
    return bytes(message.SerializeToString())


def introduction(node: str, group: str, agent: str, features: Sequence[str]) -> bytes:
    """A first message, which reports nothing."""
    message = lrs_pb2.LoadStatsRequest()
    message.node.id, message.node.cluster, message.node.user_agent_name = node, group, agent
    message.node.client_features.extend(features)
    return bytes(message.SerializeToString())


def interval(seconds: int, nanos: int) -> Any:
    """A duration, whether there can be such a one or not."""
    return Duration(seconds=seconds, nanos=nanos)
