"""How CSDS words the state of one stream."""

from collections.abc import Callable, Mapping
from typing import Final

from penstock_xds.core.messages import ResourceView, SyncStatus
from penstock_xds.node import Node
from penstock_xds.protos import (
    ClientConfig,
    ClientResourceStatus,
    ConfigStatus,
    GenericXdsConfig,
    NodeProto,
)
from penstock_xds.types import SECRET
from penstock_xds.views import Client

_CONFIG_STATUS: Final = {
    SyncStatus.SYNCED: ConfigStatus.SYNCED,
    SyncStatus.NOT_SENT: ConfigStatus.NOT_SENT,
    SyncStatus.STALE: ConfigStatus.STALE,
    SyncStatus.NACKED: ConfigStatus.ERROR,
}

_CLIENT_STATUS: Final = {
    SyncStatus.SYNCED: ClientResourceStatus.ACKED,
    SyncStatus.NOT_SENT: ClientResourceStatus.REQUESTED,
    SyncStatus.STALE: ClientResourceStatus.REQUESTED,
    SyncStatus.NACKED: ClientResourceStatus.NACKED,
}


def client_config(
    config: ClientConfig,
    client: Client,
    resources: Mapping[str, tuple[ResourceView, ...]],
    *,
    with_contents: bool,
    unix_time: Callable[[float], float],
) -> None:
    """Fill in the state of one stream.

    Args:
        config: the message to fill.
        client: whose stream it is.
        resources: what it subscribes to, by type URL.
        with_contents: whether to show the bodies; those of secrets are not shown in any case.
        unix_time: makes a Unix time of one on the stream's clock.

    """
    config.node.CopyFrom(_node(client.node))
    config.client_scope = f"{client.method.variant} stream {client.stream_id} of {client.peer} in group {client.group}"
    for type_url, views in resources.items():
        shown = with_contents and type_url != SECRET
        for view in views:
            _resource(config.generic_xds_configs.add(type_url=type_url), view, shown=shown, unix_time=unix_time)


def _resource(
    config: GenericXdsConfig, view: ResourceView, *, shown: bool, unix_time: Callable[[float], float]
) -> None:
    config.name = view.name
    config.version_info = view.version
    config.config_status = _CONFIG_STATUS[view.status]
    config.client_status = _CLIENT_STATUS[view.status]
    changed_at = unix_time(view.updated_at)
    config.last_updated.FromNanoseconds(int(changed_at * 1_000_000) * 1_000)
    if shown and view.body is not None:
        config.xds_config.type_url, config.xds_config.value = config.type_url, view.body
    if view.refused_version:
        refusal = config.error_state
        refusal.details = view.message
        refusal.version_info = view.refused_version
        refusal.last_update_attempt.CopyFrom(config.last_updated)
        if shown and view.refused_body is not None:
            failed = refusal.failed_configuration
            failed.type_url, failed.value = config.type_url, view.refused_body


def _node(node: Node) -> NodeProto:
    """Tell who it is. Not its metadata: programs keep things there that are nobody else's business."""
    proto = NodeProto(id=node.id, cluster=node.cluster, user_agent_name=node.user_agent_name)
    if node.user_agent_version:
        proto.user_agent_version = node.user_agent_version
    if node.locality_region or node.locality_zone or node.locality_sub_zone:
        proto.locality.region = node.locality_region
        proto.locality.zone = node.locality_zone
        proto.locality.sub_zone = node.locality_sub_zone
    return proto
