"""The endpoints of a cluster that has none: the one body this library writes itself.

State of the World cannot say that something does not exist, so a cluster whose endpoints are missing warms until the
client's timer ends (15 s in Envoy) and holds back everything that came with it. An empty assignment ends that at once.
"""

from functools import lru_cache

from penstock_xds.core.snapshot import Resource
from penstock_xds.protos import ClusterLoadAssignment
from penstock_xds.types import ENDPOINT


# The streams of a group ask for the same few missing names.
@lru_cache(maxsize=1024)
def empty_endpoints(name: str) -> Resource:
    """Return an assignment without endpoints. Envoy and gRPC demand that it bears the name asked for."""
    return Resource(ENDPOINT, name, ClusterLoadAssignment(cluster_name=name).SerializeToString(deterministic=True))
