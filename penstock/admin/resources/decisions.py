"""``/api/v1/decisions``: what was decided, newest first, each with what it changed and why; and whether it holds."""

import json

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from penstock.admin.keys import CONTROL, SUMMARIES
from penstock.admin.occasion import unrecorded
from penstock.admin.requests import read_query
from penstock.admin.wire import json_response, timestamp


class DecisionsQuery(BaseModel):
    """Which page of the decisions is wanted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: int = Field(default=20, ge=1, le=200)
    before: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Unix time: only decisions older than it."""


async def get_decisions(request: web.Request) -> web.Response:
    """``GET /api/v1/decisions?limit=&before=``."""
    query = read_query(request, DecisionsQuery)
    # One more than asked for: the last of the page is told against the one before it.
    stored = await request.app[CONTROL].recent_decisions(query.limit + 1, query.before)
    summaries = request.app[SUMMARIES]
    page = stored[: query.limit]
    return json_response(
        {
            "items": [
                summaries.of(decision, stored[index + 1] if index + 1 < len(stored) else None)
                for index, decision in enumerate(page)
            ],
            "nextBefore": page[-1].at if len(stored) > query.limit else None,
        }
    )


async def get_decision(request: web.Request) -> web.Response:
    """``GET /api/v1/decisions/{id}``: one decision, exactly as recorded."""
    decision_id = request.match_info["id"]
    stored = await request.app[CONTROL].stored_decision(decision_id)
    if stored is None:
        raise unrecorded(request.app[CONTROL], decision_id)
    return json_response(
        {
            "id": stored.id,
            "at": timestamp(stored.at),
            "policyDigest": stored.policy_digest,
            "decision": json.loads(stored.json),
        }
    )


async def verify_decision(request: web.Request) -> web.Response:
    """``POST /api/v1/decisions/{id}/verify``: make a recorded decision again and compare, bit for bit.

    200 whatever comes of it; ``verdict`` tells.
    """
    decision_id = request.match_info["id"]
    found = await request.app[CONTROL].verify_decision(decision_id)
    if found is None:
        raise unrecorded(request.app[CONTROL], decision_id)
    return json_response(
        {
            "id": found.decision,
            "at": timestamp(found.at),
            "verified": found.verified,
            "verdict": found.verdict,
            "untampered": found.untampered,
            "vouched": found.vouched,
            "checks": found.checks,
            "differences": found.differences,
            "decidedBy": found.engine or None,
            "verifiedBy": found.engine_here,
        }
    )


ROUTES = (
    web.get("/api/v1/decisions", get_decisions),
    web.get("/api/v1/decisions/{id}", get_decision),
    web.post("/api/v1/decisions/{id}/verify", verify_decision),
)
