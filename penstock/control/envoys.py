"""The xDS server's streams and refusals, in the words of the admin side."""

from collections.abc import Callable, Mapping, Sequence

from penstock.admin.xds_state import (
    CanaryRollout,
    ConnectedEnvoy,
    QuarantinedResource,
    ResourceState,
    SyncStatus,
    TypeState,
)
from penstock_envoy.origins import origin_of
from penstock_policies.policyset import PolicySet
from penstock_xds import CanaryRun, Refusal, ResourceView, StreamView


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


def resource_states(
    views: Mapping[str, Sequence[ResourceView]], unix_time: Callable[[float], float]
) -> list[ResourceState]:
    """Every resource of one stream; ``unix_time`` makes a Unix time of one on the server's clock."""
    return [
        ResourceState(
            type_url=type_url,
            name=view.name,
            status=SyncStatus(view.status.value),
            version=view.version,
            refused_version=view.refused_version,
            message=view.message,
            updated_at=unix_time(view.updated_at),
        )
        for type_url, resources in views.items()
        for view in resources
    ]


def quarantined(refusal: Refusal, policy: PolicySet | None) -> QuarantinedResource:
    """One quarantine, with the lines of the policy in force that the resource is made from."""
    return QuarantinedResource(
        group=refusal.group,
        type_url=refusal.type_url,
        name=refusal.name,
        version=refusal.version,
        nodes=refusal.node_ids,
        message=refusal.message,
        first_at=refusal.first_at,
        last_at=refusal.last_at,
        served_instead=refusal.served_instead,
        held_back=refusal.held_back,
        held=refusal.held,
        origins=origins(policy, refusal.type_url, (refusal.name,)),
    )


def origins(policy: PolicySet | None, type_url: str, names: Sequence[str]) -> tuple[str, ...]:
    """Where the documents stand that resources are made from, as ``file:line``, the most telling first."""
    if policy is None:
        return ()
    found = (origin for name in names for origin in origin_of(policy, type_url, name))
    return tuple(dict.fromkeys(f"{origin.file}:{origin.line}" for origin in found))


def canary_rollout(run: CanaryRun) -> CanaryRollout:
    """One trial."""
    return CanaryRollout(
        group=run.group, nodes=len(run.node_ids), waiting=len(run.waiting_for), since=run.since, stuck=run.stuck
    )
