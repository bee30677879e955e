"""gRPC reflection: what the port serves, for tools such as grpcurl that hold no protobuf files."""

from collections.abc import Iterable

# Importing them puts the services into the pool reflection reads from; xds-protos ships no stubs for them.
import envoy.service.cluster.v3.cds_pb2
import envoy.service.discovery.v3.ads_pb2
import envoy.service.endpoint.v3.eds_pb2
import envoy.service.extension.v3.config_discovery_pb2
import envoy.service.listener.v3.lds_pb2
import envoy.service.route.v3.rds_pb2
import envoy.service.route.v3.srds_pb2
import envoy.service.runtime.v3.rtds_pb2
import envoy.service.secret.v3.sds_pb2
import envoy.service.status.v3.csds_pb2  # noqa: F401
from grpc import aio
from grpc_reflection.v1alpha import reflection


def add_reflection(server: aio.Server, service_names: Iterable[str]) -> None:
    """Serve reflection for the services of these names, and for itself."""
    reflection.enable_server_reflection((*sorted(service_names), reflection.SERVICE_NAME), server)
