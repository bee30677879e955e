"""The state of one type on one stream, for people to look at: in CSDS, in the admin API, in a debugger."""

from collections.abc import Mapping

from penstock_xds.core.messages import ResourceView, SyncStatus, TypeView
from penstock_xds.core.snapshot import Resource
from penstock_xds.core.type_state import TypeState


def type_view(state: TypeState) -> TypeView:
    """Return how the client stands to what it should have of the type."""
    return TypeView(
        type_url=state.type_url,
        status=_status(state),
        sent_version=state.sent_version,
        sent_nonce=state.sent_nonce,
        acked_version=state.acked_version,
        resources=len(state.sent),
        pushes=state.pushes,
        nacks=state.nacks,
        last_error=state.last_error,
        refused=tuple(sorted(state.refused)),
        suppressed=state.suppressed,
    )


def resource_views(state: TypeState, present: Mapping[str, Resource]) -> tuple[ResourceView, ...]:
    """Return each resource the client subscribes to, in name order; `present` is what it should have."""
    names = state.subscription.names | state.sent.keys() | state.good.keys() | state.refused.keys()
    if state.subscription.wildcard:
        names.update(name for name in present if state.due(present, name) is not None)
    return tuple(_resource_view(state, name, present) for name in sorted(names))


def _resource_view(state: TypeState, name: str, present: Mapping[str, Resource]) -> ResourceView:
    held = state.good.get(name)
    refusal = state.refused.get(name)
    return ResourceView(
        name=name,
        status=_resource_status(state, name, present),
        version="" if held is None else held.version,
        body=held.body if isinstance(held, Resource) else None,
        refused_version="" if refusal is None else refusal.version,
        refused_body=None if refusal is None else refusal.resource.body,
        message="" if refusal is None else refusal.message,
        updated_at=state.changed_at.get(name, state.first_at),
    )


def _resource_status(state: TypeState, name: str, present: Mapping[str, Resource]) -> SyncStatus:
    if name in state.refused:
        return SyncStatus.NACKED
    held = state.good.get(name)
    if held is not state.sent.get(name) or name in state.forced:
        return SyncStatus.STALE
    if name in state.candidates:
        wanted = state.due(present, name)
        if wanted is None or held is None or wanted.version != held.version:
            return SyncStatus.STALE
    return SyncStatus.NOT_SENT if held is None else SyncStatus.SYNCED


def _status(state: TypeState) -> SyncStatus:
    if state.last_error:
        return SyncStatus.NACKED
    if state.outstanding or state.waiting:
        return SyncStatus.STALE
    return SyncStatus.SYNCED if state.acked_version else SyncStatus.NOT_SENT
