"""The xDS server's streams, in the words of the admin side."""

from penstock.admin.ports import ConnectedEnvoy, SyncStatus, TypeState
from penstock_xds import StreamView


def connected(view: StreamView) -> ConnectedEnvoy:
    """One stream as operators see it."""
    return ConnectedEnvoy(
        stream=view.stream_id,
        node=view.node_id,
        node_cluster=view.node_cluster,
        group=view.group,
        peer=view.peer,
        variant=view.variant.value,
        connected_at=view.connected_at,
        types=tuple(
            TypeState(
                type_url=state.type_url,
                status=SyncStatus(state.status.value),
                sent_version=state.sent_version,
                acked_version=state.acked_version,
                error=state.last_error,
                resources=state.resources,
                pushes=state.pushes,
                nacks=state.nacks,
            )
            for state in view.types.values()
        ),
    )
