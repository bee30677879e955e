"""Reading what a checker says (HDS): bytes in, endpoints and their health out. Pure, and sceptical.

An Envoy sends its findings twice in each message, flat (deprecated) and by cluster; only the latter is read. A message
larger than what it was asked for explains is not read at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from envoy.config.core.v3 import health_check_pb2
from envoy.service.health.v3 import hds_pb2

MOST_BYTES: Final = 8 * 1024 * 1024
"""Of a message: some ten thousand endpoints, each told twice."""

LONGEST_NAME: Final = 1024
"""Characters of a node id or a node cluster, as the xDS server takes them."""

_WELL: Final = frozenset({health_check_pb2.HEALTHY, health_check_pb2.DEGRADED})
_ILL: Final = frozenset({health_check_pb2.UNHEALTHY, health_check_pb2.TIMEOUT})


class RefusedReportError(ValueError):
    """A message is not one that was asked for; says why."""


@dataclass(frozen=True, slots=True)
class Introduction:
    """Who a checker says it is."""

    node_id: str
    node_cluster: str


@dataclass(frozen=True, slots=True)
class HealthReport:
    """What a checker found."""

    healthy: Mapping[str, Mapping[str, bool]]
    """Cluster, endpoint key to whether it is well."""
    refused: int
    """Clusters and endpoints it was not asked about, and words that are no verdict."""


def read_introduction(message: bytes) -> Introduction:
    """Read the first message of a stream.

    Raises:
        google.protobuf.message.DecodeError: these are not the bytes of one.
        RefusedReportError: it names no node, or one with too long a name.

    """
    node = hds_pb2.HealthCheckRequestOrEndpointHealthResponse.FromString(message).health_check_request.node
    if not node.id:
        raise RefusedReportError("the first message names no node")
    if len(node.id) > LONGEST_NAME or len(node.cluster) > LONGEST_NAME:
        raise RefusedReportError(f"the node's name is longer than {LONGEST_NAME} characters")
    return Introduction(node.id, node.cluster)


def read_report(message: bytes, asked: Mapping[str, Mapping[str, str]]) -> HealthReport:
    """Read a report about the clusters that the checker was asked about.

    ``asked`` is by cluster, then by address and port as Envoy writes them, to the endpoint's key.

    Raises:
        google.protobuf.message.DecodeError: these are not the bytes of one.
        RefusedReportError: it is far larger than the question.

    """
    if len(message) > MOST_BYTES:
        raise RefusedReportError("the report is larger than any fleet explains")
    report = hds_pb2.HealthCheckRequestOrEndpointHealthResponse.FromString(message).endpoint_health_response
    if len(report.cluster_endpoints_health) > len(asked) + 1:
        raise RefusedReportError("the report is about more clusters than were asked about")
    healthy: dict[str, dict[str, bool]] = {}
    refused = 0
    for cluster in report.cluster_endpoints_health:
        known = asked.get(cluster.cluster_name)
        told = [
            one for place in cluster.locality_endpoints_health[: len(known or ())] for one in place.endpoints_health
        ]
        if known is None or len(told) > len(known):
            refused += 1
            continue
        for one in told:
            key = known.get(written(one.endpoint.address.socket_address))
            well = _verdict(one.health_status)
            if key is None or well is None:
                refused += 1
            else:
                healthy.setdefault(cluster.cluster_name, {})[key] = well
    return HealthReport(healthy, refused)


def written(address: Any) -> str:  # noqa: ANN401 - the message has no stubs
    """Give the address and port of a ``SocketAddress``, as a key."""
    return f"{address.address} {address.port_value}"


def _verdict(status: int) -> bool | None:
    if status in _WELL:
        return True
    return False if status in _ILL else None
