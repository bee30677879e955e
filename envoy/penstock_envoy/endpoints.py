"""The endpoints of a policy cluster, each marked with the cluster's name.

The mark is what ``x-penstock-cluster`` is read from: through a composite leg it is the one thing that says which
cluster really served.
"""

from typing import Final

from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.config.endpoint import v3 as endpoint
from envoy_data_plane.google import protobuf

from penstock_envoy.matching import METADATA
from penstock_policies.schema import Cluster, Endpoint

CLUSTER_KEY: Final = "cluster"

_HTTPS: Final = 443
_HTTP: Final = 80


def load_assignment(document: Cluster) -> endpoint.ClusterLoadAssignment:
    """All endpoints of a cluster, as healthy."""
    mark = protobuf.Struct(fields={CLUSTER_KEY: protobuf.Value(string_value=document.name)})
    return endpoint.ClusterLoadAssignment(
        cluster_name=document.name,
        endpoints=[
            endpoint.LocalityLbEndpoints(
                locality=core.Locality(region=document.spec.region),
                lb_endpoints=[
                    endpoint.LbEndpoint(
                        endpoint=endpoint.Endpoint(
                            address=core.Address(
                                socket_address=core.SocketAddress(address=each.address, port_value=each.port)
                            ),
                            hostname=authority(each),
                        ),
                        metadata=core.Metadata(filter_metadata={METADATA: mark}),
                    )
                    for each in document.spec.endpoints
                ],
            )
        ],
    )


def authority(each: Endpoint) -> str:
    """The ``Host`` an endpoint is asked for: its TLS name or address, and its port unless that is the scheme's own."""
    if each.tls is not None:
        return each.tls.sni if each.port == _HTTPS else f"{each.tls.sni}:{each.port}"
    return each.key.removesuffix(f":{_HTTP}") if each.port == _HTTP else each.key
