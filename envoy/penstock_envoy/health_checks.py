"""What an edge Envoy is asked to probe for us: one ``ClusterHealthCheck`` of HDS for each policy cluster.

Judged as the control plane's own probes are: any 2xx is well; 401, 403 and 429 are answers of a living server, too. And
probed as traffic would go: to the same addresses, with the same ``Host`` and the same TLS. Slow to author, so done once
for each content; what is sent is put together from the bytes.
"""

from datetime import timedelta
from typing import Final

from envoy_data_plane.envoy.config.cluster import v3 as cluster
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.config.endpoint import v3 as endpoint
from envoy_data_plane.envoy.service.health import v3 as health
from envoy_data_plane.envoy.type import v3 as envoy_type

from penstock_envoy.clusters import upstream_tls
from penstock_envoy.endpoints import authority
from penstock_policies.schema import Cluster

_JITTER: Final = 10
"""Percent of the interval by which it varies, so that checkers told at the same moment do not stay in step."""
_FIRST_WITHIN: Final = 1.0
"""Seconds, at most, over which the first probes are spread."""
_ALIVE: Final = ((200, 300), (401, 402), (403, 404), (429, 430))
"""Statuses of a server that lives, each from the first to before the second."""


def author_health_check(document: Cluster) -> bytes:
    """What a checker is told of a cluster, serialised."""
    spec = document.spec
    secure = spec.endpoints[0].tls
    return bytes(
        health.ClusterHealthCheck(
            cluster_name=document.name,
            health_checks=[_check(document)],
            locality_endpoints=[
                health.LocalityEndpoints(
                    locality=core.Locality(region=spec.region),
                    endpoints=[
                        endpoint.Endpoint(
                            address=core.Address(
                                socket_address=core.SocketAddress(address=each.address, port_value=each.port)
                            ),
                            health_check_config=endpoint.EndpointHealthCheckConfig(hostname=authority(each)),
                        )
                        for each in spec.endpoints
                    ],
                )
            ],
            # One that matches every endpoint: all of a cluster have the same TLS, or none.
            transport_socket_matches=[
                cluster.ClusterTransportSocketMatch(name="tls", transport_socket=upstream_tls(secure))
            ]
            if secure
            else [],
        )
    )


def _check(document: Cluster) -> core.HealthCheck:
    probing = document.spec.health
    interval = timedelta(seconds=probing.interval)
    return core.HealthCheck(
        timeout=timedelta(seconds=probing.timeout),
        interval=interval,
        # Nothing but probes ever goes through these clusters, for which Envoy would wait a minute between two.
        no_traffic_interval=interval,
        no_traffic_healthy_interval=interval,
        initial_jitter=timedelta(seconds=min(_FIRST_WITHIN, probing.interval)),
        interval_jitter_percent=_JITTER,
        unhealthy_threshold=probing.unhealthy_threshold,
        healthy_threshold=probing.healthy_threshold,
        # A fresh connection each time, so that a server that no longer accepts any is noticed.
        reuse_connection=False,
        http_health_check=core.HealthCheckHttpHealthCheck(
            path=probing.path,
            expected_statuses=[envoy_type.Int64Range(start=start, end=end) for start, end in _ALIVE],
        ),
    )
