"""``GET /api/v1/decisions.ndjson``: recorded decisions one a line, exactly as recorded, for replays and archives.

Newest first, as they are listed elsewhere. Sent as it is read, so that months of a large fleet fit in memory.
"""

from collections.abc import AsyncIterator, Sequence
from http import HTTPStatus

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from penstock.admin.keys import CONTROL
from penstock.admin.moment import parse_moment
from penstock.admin.ports import ControlPlane
from penstock.admin.problem_details import ApiError
from penstock.admin.recorded import StoredDecision
from penstock.admin.requests import read_query

_PAGE = 50
"""Decisions read at a time: those of a large fleet are some hundred KiB each."""


class LogQuery(BaseModel):
    """Which decisions are wanted, as moments."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    since: str | None = None
    until: str | None = None


async def get_decision_log(request: web.Request) -> web.StreamResponse:
    """``GET /api/v1/decisions.ndjson?since=&until=``."""
    query = read_query(request, LogQuery)
    control = request.app[CONTROL]
    since, until = (_moment(control, name, text) for name, text in (("since", query.since), ("until", query.until)))
    # A store that does not answer at all is an answer of its own, which is too late once lines have been sent.
    first = await control.recent_decisions(_PAGE, until)
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    async for page in _pages(control, first):
        lines = [stored.json for stored in page if since is None or stored.at >= since]
        if lines:
            await response.write(("\n".join(lines) + "\n").encode())
        if len(lines) < len(page):
            break
    await response.write_eof()
    return response


async def _pages(control: ControlPlane, first: Sequence[StoredDecision]) -> AsyncIterator[Sequence[StoredDecision]]:
    page = first
    while page:
        yield page
        page = await control.recent_decisions(_PAGE, page[-1].at) if len(page) == _PAGE else ()


def _moment(control: ControlPlane, name: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return parse_moment(text, control.now())
    except ValueError as error:
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{name}: {error}", kind="invalid-request") from error


ROUTES = (web.get("/api/v1/decisions.ndjson", get_decision_log),)
