"""Who a client says it is. A claim: bind it to the peer's identity before trusting it with anything secret."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from google.protobuf.json_format import MessageToDict

from penstock_xds.protos import NodeProto


@dataclass(frozen=True, slots=True)
class Node:
    """The node of a client's first request."""

    id: str
    cluster: str = ""
    metadata: Mapping[str, object] = field(default_factory=dict)
    locality_region: str = ""
    locality_zone: str = ""
    locality_sub_zone: str = ""
    user_agent_name: str = ""
    user_agent_version: str = ""
    client_features: tuple[str, ...] = ()

    @classmethod
    def of(cls, proto: NodeProto) -> "Node":
        """Read an `envoy.config.core.v3.Node`."""
        build = proto.user_agent_build_version.version
        return cls(
            id=proto.id,
            cluster=proto.cluster,
            metadata=MessageToDict(proto.metadata),
            locality_region=proto.locality.region,
            locality_zone=proto.locality.zone,
            locality_sub_zone=proto.locality.sub_zone,
            user_agent_name=proto.user_agent_name,
            user_agent_version=proto.user_agent_version
            or (f"{build.major_number}.{build.minor_number}.{build.patch}" if proto.user_agent_name else ""),
            client_features=tuple(proto.client_features),
        )
