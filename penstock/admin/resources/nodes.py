"""``GET /api/v1/nodes``: the Envoys connected now, and how each stands for every type of resource.

``GET /api/v1/nodes/{stream}`` tells of one of them resource by resource; an Envoy that opens one stream per type has
several. Bodies are not shown: CSDS on the xDS port does that, for those who may connect there.

With a thousand Envoys nobody reads them all: the summary counts everything, the items are filtered, ordered by how much
attention they need, and cut at ``limit``.
"""

from collections.abc import Sequence
from http import HTTPStatus

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from penstock.admin.keys import CONTROL
from penstock.admin.ports import ControlPlane
from penstock.admin.problem_details import ApiError
from penstock.admin.requests import read_query
from penstock.admin.wire import json_response, short_type, timestamp
from penstock.admin.xds_state import ConnectedEnvoy, ResourceState, SyncStatus

# Most in need of attention first.
ATTENTION = (SyncStatus.NACKED, SyncStatus.STALE, SyncStatus.NOT_SENT, SyncStatus.SYNCED)


class NodesQuery(BaseModel):
    """Which Envoys are wanted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    group: str | None = None
    status: SyncStatus | None = None
    limit: int = Field(default=1000, ge=1, le=10_000)


class ResourcesQuery(BaseModel):
    """Which resources of an Envoy are wanted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str | None = None
    """``RDS`` or the type URL."""
    status: SyncStatus | None = None
    limit: int = Field(default=1000, ge=1, le=10_000)


def status_of(envoy: ConnectedEnvoy) -> SyncStatus:
    """Return the worst of an Envoy's types."""
    statuses = {state.status for state in envoy.types}
    return next((status for status in ATTENTION if status in statuses), SyncStatus.NOT_SENT)


def node_view(envoy: ConnectedEnvoy) -> dict[str, object]:
    """One Envoy."""
    return {
        "node": envoy.node,
        "nodeCluster": envoy.node_cluster,
        "group": envoy.group,
        "status": status_of(envoy),
        "peer": envoy.peer,
        "variant": envoy.variant,
        "stream": envoy.stream,
        "connectedAt": timestamp(envoy.connected_at),
        "types": [
            {
                "type": short_type(state.type_url),
                "typeUrl": state.type_url,
                "status": state.status,
                "sentVersion": state.sent_version,
                "ackedVersion": state.acked_version,
                "error": state.error,
                "resources": state.resources,
                "pushes": state.pushes,
                "nacks": state.nacks,
            }
            for state in envoy.types
        ],
    }


def summary(envoys: Sequence[ConnectedEnvoy]) -> dict[str, object]:
    """How many Envoys there are, by status and by group."""
    by_status = dict.fromkeys((status.value for status in ATTENTION), 0)
    by_group: dict[str, int] = {}
    for envoy in envoys:
        by_status[status_of(envoy).value] += 1
        by_group[envoy.group] = by_group.get(envoy.group, 0) + 1
    return {"connected": len(envoys), "byStatus": by_status, "byGroup": dict(sorted(by_group.items()))}


def nodes_view(control: ControlPlane, query: NodesQuery) -> dict[str, object]:
    """Return the Envoys asked for, the ones in trouble first."""
    envoys = control.streams()
    wanted = [
        envoy
        for envoy in envoys
        if (query.group is None or envoy.group == query.group)
        and (query.status is None or status_of(envoy) is query.status)
    ]
    wanted.sort(key=lambda envoy: (ATTENTION.index(status_of(envoy)), envoy.group, envoy.node, envoy.stream))
    return {
        "now": timestamp(control.now()),
        "summary": summary(envoys),
        "matched": len(wanted),
        "items": [node_view(envoy) for envoy in wanted[: query.limit]],
    }


async def get_nodes(request: web.Request) -> web.Response:
    """``GET /api/v1/nodes?group=&status=&limit=``."""
    return json_response(nodes_view(request.app[CONTROL], read_query(request, NodesQuery)))


def resource_view(state: ResourceState) -> dict[str, object]:
    """One resource of one Envoy."""
    return {
        "type": short_type(state.type_url),
        "typeUrl": state.type_url,
        "name": state.name,
        "status": state.status,
        "version": state.version,
        "refusedVersion": state.refused_version,
        "message": state.message,
        "updatedAt": timestamp(state.updated_at),
    }


def node_detail_view(control: ControlPlane, stream: str, query: ResourcesQuery) -> dict[str, object]:
    """One Envoy and its resources, the ones in trouble first.

    Raises:
        ApiError: 404, there is no such stream (any more: they end, and their Envoys come back by others).

    """
    envoy = next((each for each in control.streams() if each.stream == stream), None)
    if envoy is None:
        raise ApiError(
            HTTPStatus.NOT_FOUND,
            f"no stream {stream!r} is open; /api/v1/nodes lists those that are",
            kind="unknown-stream",
        )
    wanted = [
        state
        for state in control.resources(stream)
        if (query.type is None or query.type in (short_type(state.type_url), state.type_url))
        and (query.status is None or state.status is query.status)
    ]
    wanted.sort(key=lambda state: ATTENTION.index(state.status))
    return {
        "now": timestamp(control.now()),
        **node_view(envoy),
        "matched": len(wanted),
        "resources": [resource_view(state) for state in wanted[: query.limit]],
    }


async def get_node(request: web.Request) -> web.Response:
    """``GET /api/v1/nodes/{stream}?type=&status=&limit=``."""
    query = read_query(request, ResourcesQuery)
    return json_response(node_detail_view(request.app[CONTROL], request.match_info["stream"], query))


ROUTES = (web.get("/api/v1/nodes", get_nodes), web.get("/api/v1/nodes/{stream}", get_node))
