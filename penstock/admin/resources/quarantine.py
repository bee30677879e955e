"""``/api/v1/quarantine``: what Envoys refused and are not sent any more, and how an operator lifts that.

A quarantine is known by an id made from what it is about, the same on every replica and after every restart. Lifting
it does not make the resource good: it is sent again, and quarantined again by the next Envoy that refuses it.
"""

import hashlib
import json
from http import HTTPStatus

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from penstock.admin.keys import CONTROL
from penstock.admin.ports import ControlPlane
from penstock.admin.problem_details import ApiError
from penstock.admin.requests import Words, read_query
from penstock.admin.wire import json_response, short_type, timestamp
from penstock.admin.xds_state import QuarantinedResource

MOST_NODES = 100
"""Of a thousand Envoys that refuse the same, the first hundred tell as much as all; their number is given."""


class QuarantineQuery(BaseModel):
    """Which quarantines are wanted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    group: str | None = None


class ReleaseQuery(BaseModel):
    """What ``DELETE /api/v1/quarantine/{id}`` takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    owner: Words = "api"
    reason: Words = "released"


def quarantine_id(of: QuarantinedResource) -> str:
    """Return the name of a quarantine in addresses; a name of a resource may hold anything, a slash among others."""
    parts = json.dumps([of.group, of.type_url, of.name, of.version])
    return hashlib.sha256(parts.encode()).hexdigest()[:12]


def quarantined_view(quarantined: QuarantinedResource) -> dict[str, object]:
    """One quarantine."""
    return {
        "id": quarantine_id(quarantined),
        "group": quarantined.group,
        "type": short_type(quarantined.type_url),
        "typeUrl": quarantined.type_url,
        "name": quarantined.name,
        "version": quarantined.version,
        "nodes": quarantined.nodes[:MOST_NODES],
        "nodeCount": len(quarantined.nodes),
        "message": quarantined.message,
        "firstAt": timestamp(quarantined.first_at),
        "lastAt": timestamp(quarantined.last_at),
        "servedInstead": quarantined.served_instead or None,
        "heldBack": [
            {"type": short_type(type_url), "typeUrl": type_url, "name": name}
            for type_url, name in quarantined.held_back
        ],
        "held": quarantined.held,
        "origins": quarantined.origins,
    }


def quarantine_view(control: ControlPlane, query: QuarantineQuery) -> dict[str, object]:
    """Every quarantine, the latest first."""
    wanted = [each for each in control.quarantine() if query.group is None or each.group == query.group]
    wanted.sort(key=lambda each: (-each.last_at, each.group, each.type_url, each.name))
    return {"now": timestamp(control.now()), "items": [quarantined_view(each) for each in wanted]}


async def get_quarantine(request: web.Request) -> web.Response:
    """``GET /api/v1/quarantine?group=``."""
    return json_response(quarantine_view(request.app[CONTROL], read_query(request, QuarantineQuery)))


async def delete_quarantine(request: web.Request) -> web.Response:
    """``DELETE /api/v1/quarantine/{id}?owner=&reason=``: lifts a quarantine and answers with what it was."""
    control = request.app[CONTROL]
    wanted, query = request.match_info["id"], read_query(request, ReleaseQuery)
    known = {quarantine_id(each): each for each in control.quarantine()}
    if wanted not in known:
        raise ApiError(
            HTTPStatus.NOT_FOUND,
            f"nothing is quarantined under {wanted!r}; it may have ended by itself",
            kind="not-quarantined",
            members={"known": [{"id": key, "group": of.group, "name": of.name} for key, of in known.items()]},
        )
    of = known[wanted]
    released = await control.release(of.group, of.type_url, of.name, of.version, query.owner, query.reason)
    return json_response({"released": quarantined_view(released)})


ROUTES = (
    web.get("/api/v1/quarantine", get_quarantine),
    web.delete("/api/v1/quarantine/{id}", delete_quarantine),
)
