"""The hot path: authored templates and today's weights and health, put together by protobuf-upb in microseconds.

Serialisation is deterministic, so equal decisions give equal bytes, equal versions and no push.
"""

from collections.abc import Collection, Mapping
from typing import Final, cast

from penstock_envoy import names, protos
from penstock_envoy.affinity import placed
from penstock_envoy.legs import Leg
from penstock_envoy.routes import RouteTable
from penstock_policies.policyset import RowKey
from penstock_policies.words import DataClass

# envoy.config.core.v3.HealthStatus
_UNHEALTHY: Final = 2


def assemble_routes(
    table: RouteTable,
    rows: Mapping[RowKey, tuple[Leg, ...]],
    refusals: Mapping[RowKey, str],
    data_class_of: Mapping[str, DataClass],
) -> bytes:
    """A route configuration with the legs of ``rows``; a row without legs is refused with 503 for its reason."""
    config = protos.RouteConfiguration()
    config.ParseFromString(table.frame)
    routes = config.virtual_hosts[0].routes
    for template in table.routes:
        if template.row is None:
            routes.add().MergeFromString(template.body)
            continue
        legs = rows[template.row]
        if not legs:
            routes.add().MergeFromString(template.refusal(refusals.get(template.row, "")))
            continue
        route = routes.add()
        route.MergeFromString(template.body)
        action = route.route
        # One attempt for each place in the list: a further one would find no cluster and hide the last real answer.
        action.retry_policy.num_retries.value = max(len(leg.members) for leg in legs) - 1
        data_class = data_class_of[template.row.policy]
        for leg in placed(legs, template.homes) if template.homes else legs:
            weighted = action.weighted_clusters.clusters.add()
            weighted.name = names.leg(data_class, leg.members)
            weighted.weight.value = leg.weight
    return _serialise(config)


def assemble_endpoints(template: bytes, unhealthy: Collection[str]) -> bytes:
    """The endpoints of a cluster, those in ``unhealthy`` (``address:port``) marked so that Envoy leaves them alone."""
    if not unhealthy:
        return template
    assignment = protos.ClusterLoadAssignment()
    assignment.ParseFromString(template)
    for locality in assignment.endpoints:
        for each in locality.lb_endpoints:
            address = each.endpoint.address.socket_address
            if endpoint_key(address.address, address.port_value) in unhealthy:
                each.health_status = _UNHEALTHY
    return _serialise(assignment)


def endpoint_key(address: str, port: int) -> str:
    """``address:port`` as :attr:`penstock_policies.schema.Endpoint.key` has it."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def canonical_endpoints(authored: bytes) -> bytes:
    """Authored endpoints as :func:`assemble_endpoints` serialises them, so that healing restores the very bytes."""
    assignment = protos.ClusterLoadAssignment()
    assignment.ParseFromString(authored)
    return _serialise(assignment)


def _serialise(message: protos.Message) -> bytes:
    return cast("bytes", message.SerializeToString(deterministic=True))
