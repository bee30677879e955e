"""The border to protobuf: the message classes this library uses, from xds-protos (upb, no type stubs)."""

from envoy.admin.v3.config_dump_shared_pb2 import ClientResourceStatus
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.base_pb2 import Node as NodeProto
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.service.discovery.v3.discovery_pb2 import (
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
    DiscoveryRequest,
    DiscoveryResponse,
)
from envoy.service.discovery.v3.discovery_pb2 import Resource as ResourceProto
from envoy.service.discovery.v3.discovery_pb2 import ResourceError as ResourceErrorProto
from envoy.service.status.v3.csds_pb2 import ClientConfig, ClientStatusRequest, ClientStatusResponse, ConfigStatus
from envoy.type.matcher.v3.node_pb2 import NodeMatcher
from envoy.type.matcher.v3.number_pb2 import DoubleMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from envoy.type.matcher.v3.struct_pb2 import StructMatcher
from envoy.type.matcher.v3.value_pb2 import ValueMatcher

GenericXdsConfig = ClientConfig.GenericXdsConfig

__all__ = [
    "ClientConfig",
    "ClientResourceStatus",
    "ClientStatusRequest",
    "ClientStatusResponse",
    "Cluster",
    "ClusterLoadAssignment",
    "ConfigStatus",
    "DeltaDiscoveryRequest",
    "DeltaDiscoveryResponse",
    "DiscoveryRequest",
    "DiscoveryResponse",
    "DoubleMatcher",
    "GenericXdsConfig",
    "NodeMatcher",
    "NodeProto",
    "ResourceErrorProto",
    "ResourceProto",
    "StringMatcher",
    "StructMatcher",
    "ValueMatcher",
]
