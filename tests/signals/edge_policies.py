"""Policy sets whose clusters are probed from the edge, and what an Envoy says of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from envoy.config.core.v3 import health_check_pb2
from envoy.service.health.v3 import hds_pb2

from penstock_policies.policyset import PolicySet
from penstock_policies.schema import Cluster
from tests.engine.engine_world import CLASSES, group, listener, traffic
from tests.signals.signal_policies import cluster, policy_set

ONPREM, CLOUD = "onprem", "cloud"
ONE, TWO, FAR = "10.0.0.1:8000", "10.0.0.2:8000", "10.1.0.1:443"
WELL, ILL = health_check_pb2.HEALTHY, health_check_pb2.UNHEALTHY


def probed(name: str, *endpoints: tuple[str, int], **health: str | int) -> Cluster:
    return cluster(name, *endpoints, tls=None, **{"from": "edge", **health})


def edge_policy(
    clusters: Sequence[Cluster] | None = None, regions: Sequence[str] = ("eu-west", "us-east")
) -> PolicySet:
    """Two clusters that all Envoys of two regions may be asked to check, unless told otherwise."""
    if clusters is None:
        clusters = (probed(ONPREM, ("10.0.0.1", 8000), ("10.0.0.2", 8000)), probed(CLOUD, ("10.1.0.1", 443)))
    chat = traffic(clusters=[one.name for one in clusters])
    return replace(
        policy_set(clusters),
        listeners={name: listener(name, name, 10_000 + index) for index, name in enumerate(CLASSES)},
        groups={f"edge-{region}": group(region) for region in regions},
        policies={chat.name: chat},
    )


def report(found: Mapping[str, Mapping[str, int]]) -> bytes:
    """What an Envoy says: cluster, endpoint key to status; flat and by cluster, as it does."""
    message = hds_pb2.HealthCheckRequestOrEndpointHealthResponse()
    response = message.endpoint_health_response
    for name, endpoints in found.items():
        told = response.cluster_endpoints_health.add(cluster_name=name).locality_endpoints_health.add()
        for key, status in endpoints.items():
            for each in (told.endpoints_health.add(), response.endpoints_health.add()):
                address, _, port = key.rpartition(":")
                each.endpoint.address.socket_address.address = address.strip("[]")
                each.endpoint.address.socket_address.port_value = int(port)
                each.health_status = status
    written: bytes = message.SerializeToString()
    return written
