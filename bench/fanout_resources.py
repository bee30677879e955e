"""What the fan-out benchmarks serve: a group's resources as Penstock generates them, with a route table of 50 routes.

The compiled example policies give clusters, legs, endpoints, listeners and one weighted route for a model; that route
is repeated for further models until the table is as long as asked. Both servers read the same file.
"""

from typing import Final

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.config_source_pb2 import ApiVersion
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.route.v3.route_pb2 import RouteConfiguration

from bench.datapath_config import example_resources
from bench.fanout_file import Served
from penstock_xds import Resource, types

GROUP: Final = "bench"
CHANGED: Final = "public"

_ENDPOINTS: Final = {"onprem-fra": (8001, 8002), "cloud-eu-west": (8443,)}


def generate(routes: int = 50) -> Served:
    """A node group's resources; the changed route configuration has so many routes."""
    resources = [
        Resource(r.type_url, r.name, _lengthened(r.body, routes) if _is_changed(r.type_url, r.name) else r.body)
        for r in example_resources(_ENDPOINTS)
    ]
    return Served(GROUP, CHANGED, tuple(resources))


def _is_changed(type_url: str, name: str) -> bool:
    return (type_url, name) == (types.ROUTE, CHANGED)


def _lengthened(body: bytes, routes: int) -> bytes:
    table = RouteConfiguration.FromString(body)
    present = table.virtual_hosts[0].routes
    weighted = next(r for r in present if len(r.route.weighted_clusters.clusters) > 1)
    # The first match counts, so those for one model stand before those for any; where exactly costs nothing here.
    for number in range(routes - len(present)):
        route = present.add()
        route.CopyFrom(weighted)
        model = f"llama-3-70b-{number}"
        route.name = f"public/chat/{model}"
        route.match.dynamic_metadata[0].value.string_match.exact = model
    data: bytes = table.SerializeToString(deterministic=True)
    return data


def many_clusters(count: int) -> Served:
    """So many clusters and the endpoints of each; nothing else."""
    clusters = []
    for number in range(count):
        name = f"cluster-{number}"
        cluster = Cluster(name=name, type=Cluster.EDS)
        cluster.eds_cluster_config.eds_config.ads.SetInParent()
        cluster.eds_cluster_config.eds_config.resource_api_version = ApiVersion.V3
        cluster.connect_timeout.FromMilliseconds(1000)
        clusters.append(Resource(types.CLUSTER, name, cluster.SerializeToString(deterministic=True)))
    return Served(GROUP, "", (*clusters, *(assignment(f"cluster-{number}") for number in range(count))))


def assignment(name: str, port: int = 8000) -> Resource:
    """The endpoints of one of those clusters: two, at this port."""
    endpoints = ClusterLoadAssignment(cluster_name=name)
    locality = endpoints.endpoints.add()
    for address in ("10.0.1.11", "10.0.1.12"):
        socket_address = locality.lb_endpoints.add().endpoint.address.socket_address
        socket_address.address, socket_address.port_value = address, port
    return Resource(types.ENDPOINT, name, endpoints.SerializeToString(deterministic=True))
