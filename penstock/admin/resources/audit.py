"""``GET /api/v1/audit``: who did what and when, newest first."""

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from penstock.admin.keys import CONTROL
from penstock.admin.requests import read_query
from penstock.admin.wire import json_response, timestamp


class AuditQuery(BaseModel):
    """Which page of the log is wanted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: int = Field(default=50, ge=1, le=500)
    before: int | None = Field(default=None, ge=0)
    """Only entries with a smaller sequence number."""
    kind: str | None = Field(default=None, min_length=1, max_length=64)
    """Only entries of this kind. Omitted: all but ``decision.recorded``."""


async def get_audit(request: web.Request) -> web.Response:
    """``GET /api/v1/audit?limit=&before=&kind=``."""
    query = read_query(request, AuditQuery)
    entries = await request.app[CONTROL].audit(query.limit, query.before, query.kind)
    return json_response(
        {
            "items": [
                {
                    "sequence": entry.sequence,
                    "at": timestamp(entry.at),
                    "kind": entry.kind,
                    "actor": entry.actor,
                    "detail": entry.detail,
                    "digest": entry.digest,
                }
                for entry in entries
            ],
            "nextBefore": entries[-1].sequence if len(entries) == query.limit else None,
        }
    )


ROUTES = (web.get("/api/v1/audit", get_audit),)
