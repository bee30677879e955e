"""The border to protobuf-upb: message types of ``xds-protos``, which ships no type stubs.

Everything past this border is ``Any`` to the type checker, so only the modules that patch or read bytes on the hot path
(:mod:`penstock_envoy.assembly`, :mod:`penstock_envoy.residency`) come here. Fields that are newer than ``xds-protos``
pass through unharmed as unknown fields.
"""

from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2

Message = Any
"""A protobuf-upb message."""

MessageType = Any
"""A class of protobuf-upb messages."""

Cluster: MessageType = cluster_pb2.Cluster
ClusterLoadAssignment: MessageType = endpoint_pb2.ClusterLoadAssignment
Listener: MessageType = listener_pb2.Listener
Route: MessageType = route_components_pb2.Route
RouteConfiguration: MessageType = route_pb2.RouteConfiguration
