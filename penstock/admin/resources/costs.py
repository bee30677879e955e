"""``GET /api/v1/costs`` and ``/api/v1/costs.csv``: what traffic came to, by hours, from the ledger."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Final

from aiohttp import web

from penstock.admin import focus
from penstock.admin.costs import PARTS, CostsQuery, ExportQuery, asked, hours, report_view
from penstock.admin.keys import CONTROL
from penstock.admin.ports import ControlPlaneError
from penstock.admin.requests import read_query
from penstock.admin.wire import json_response
from penstock.state.costs import Asked, Found
from penstock.state.ledger import HOUR_SECONDS

logger = logging.getLogger(__name__)

_MOST_OF_AN_HOUR: Final = 1_000_000
"""Far beyond any policy set's rows: an hour is never cut."""
_LINES_AT_ONCE: Final = 1_000
"""Written in one go, some 600 kB."""


async def get_costs(request: web.Request) -> web.Response:
    """``GET /api/v1/costs?by=cluster,policy&since=24h&until=&step=none|hour``."""
    query = read_query(request, CostsQuery)
    control = request.app[CONTROL]
    now = control.now()
    wanted = asked(query, now)
    return json_response(report_view(query, wanted, await control.costs(wanted), now))


async def get_export(request: web.Request) -> web.StreamResponse:
    """``GET /api/v1/costs.csv?since=24h&until=``: FOCUS 1.2, an hour read at a time, so that a year fits in memory."""
    query = read_query(request, ExportQuery)
    control = request.app[CONTROL]
    wanted = hours(query.since, query.until, control.now())
    # A store that does not answer at all is an answer of its own, which is too late once lines have been sent.
    found = await control.costs(_an_hour(wanted.since))
    name = f"penstock-costs-{wanted.since}-{wanted.until}.csv"
    response = web.StreamResponse(
        headers={"Content-Type": "text/csv; charset=utf-8", "Content-Disposition": f'attachment; filename="{name}"'}
    )
    await response.prepare(request)
    try:
        await response.write(focus.header().encode())
        for hour in range(wanted.since, wanted.until, HOUR_SECONDS):
            found = found if hour == wanted.since else await control.costs(_an_hour(hour))
            for part in _pieces(found):
                # Beside the event loop: a large fleet's hour takes seconds.
                lines = await asyncio.to_thread(focus.rows, part)
                await response.write(lines.encode())
    except ControlPlaneError as error:
        # The answer has begun as a good one: only a connection that breaks tells the caller that lines are missing.
        logger.warning("export of costs broken off", extra={"error": str(error), "since": wanted.since})
        if request.transport is not None:
            request.transport.abort()
        return response
    await response.write_eof()
    return response


def _pieces(found: Found) -> Iterator[Found]:
    for at in range(0, max(len(found.lines), len(found.idle)), _LINES_AT_ONCE):
        yield Found(found.lines[at : at + _LINES_AT_ONCE], found.idle[at : at + _LINES_AT_ONCE])


def _an_hour(hour: int) -> Asked:
    return Asked(hour, hour + HOUR_SECONDS, tuple(PARTS.values()), hourly=True, most=_MOST_OF_AN_HOUR)


ROUTES = (web.get("/api/v1/costs", get_costs), web.get("/api/v1/costs.csv", get_export))
