"""``/api/v1/notices``: what clouds and operators know of machines that will go away, and what is done about it.

Deliveries are repeated: the same notice again is 200 and changes nothing, and so is one that is over already, since an
error would only have it sent once more.
"""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from penstock.admin.keys import CONTROL
from penstock.admin.notices import Notice, NoticeChange, NoticeEffect, NoticeOutcome, NoticeRequest
from penstock.admin.plain_notice import PlainNotice
from penstock.admin.ports import ControlPlane
from penstock.admin.problem_details import ApiError
from penstock.admin.requests import Words, read_members, read_query, validated
from penstock.admin.wire import json_response, timestamp
from penstock.signals.cloud_notices import from_cloud
from penstock.signals.notices import NoticeError, Report, opened, refuse_odd_times

logger = logging.getLogger(__name__)


class NoticeQuery(BaseModel):
    """What ``POST /api/v1/notices`` takes beside the payload, which names machines and no clusters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cluster: Annotated[str, Field(max_length=63)] = ""
    endpoint: Annotated[str, Field(max_length=260)] = ""
    machine: Annotated[Words, Field(max_length=253)] = ""
    """The sender's own name in a Scheduled Events document: what is not about it is left out, and what the document
    does not list any more is over."""


class EndQuery(BaseModel):
    """What ``DELETE /api/v1/notices/{id}`` takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    owner: Words = "api"
    reason: Words = "ended"


def notice_view(notice: Notice, now: float, effect: NoticeEffect | None = None) -> dict[str, object]:
    """Return a notice for people and programs."""
    return {
        "id": notice.id,
        "source": notice.source,
        "event": notice.event or None,
        "kind": notice.kind,
        "cluster": notice.cluster,
        "endpoint": notice.endpoint or None,
        "reason": notice.reason,
        "receivedAt": timestamp(notice.received_at),
        "deadline": timestamp(notice.deadline),
        "deadlineInSeconds": notice.deadline - now,
        "drainingSince": timestamp(notice.since),
        "goneAt": timestamp(notice.gone_at),
        "until": timestamp(notice.until),
        "endsInSeconds": max(0.0, notice.until - now),
        "overload": notice.overload or None,
        "endedAt": timestamp(notice.ended_at),
        "endedBy": notice.ended_by or None,
        **({} if effect is None else {"effect": effect}),
    }


def notices_view(control: ControlPlane) -> dict[str, object]:
    """Every notice that is not over, the next deadline first."""
    now = control.now()
    return {
        "now": timestamp(now),
        "items": [notice_view(each.notice, now, each.effect) for each in control.notices()],
    }


def outcome_view(outcome: NoticeOutcome, report: Report, control: ControlPlane) -> dict[str, object]:
    """Tell what became of a payload."""
    now, effects = control.now(), {each.notice.id: each.effect for each in control.notices()}
    return {
        "notices": [
            {"change": what, **notice_view(notice, now, effects.get(notice.id))} for notice, what in outcome.taken
        ],
        "unmatched": outcome.unmatched,
        "ignored": report.ignored,
    }


def read_report(payload: Mapping[str, object], now: float) -> tuple[Report, float | None]:
    """Return what a payload says, and when it was sent where an envelope tells.

    Raises:
        ApiError: 422, with what was expected where.

    """
    try:
        envelope = opened(payload)
        inner = payload if envelope is None else envelope.payload
        report = from_cloud(inner)
        if report is None:
            report = Report((validated(PlainNotice, inner).announcement(),))
        for told in report.announcements:
            refuse_odd_times(told, now)
    except NoticeError as error:
        problem = {"path": error.path, "message": error.expected}
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY, str(error), kind="invalid-notice", members={"errors": [problem]}
        ) from error
    if report.ignored and not report.announcements:
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(report.ignored), kind="invalid-notice")
    return report, None if envelope is None else envelope.published_at


async def get_notices(request: web.Request) -> web.Response:
    """``GET /api/v1/notices``."""
    return json_response(notices_view(request.app[CONTROL]))


async def post_notice(request: web.Request) -> web.Response:
    """``POST /api/v1/notices?cluster=&endpoint=&machine=``: 201 when there is a new notice, 200 otherwise."""
    control = request.app[CONTROL]
    query = read_query(request, NoticeQuery)
    report, sent_at = read_report(await read_members(request), control.now())
    wanted = NoticeRequest(report, query.cluster, query.endpoint, query.machine, sent_at)
    outcome = await control.take_notice(wanted)
    for notice, what in outcome.taken:
        if what is not NoticeChange.UNCHANGED:
            logger.info(
                "notice taken",
                extra={
                    "notice": notice.id,
                    "change": what,
                    "source": notice.source,
                    "event": notice.event,
                    "cluster": notice.cluster,
                    "endpoint": notice.endpoint,
                    "deadline": timestamp(notice.deadline),
                },
            )
    created = any(what is NoticeChange.ADDED for _, what in outcome.taken)
    return json_response(
        outcome_view(outcome, report, control), status=HTTPStatus.CREATED if created else HTTPStatus.OK
    )


async def delete_notice(request: web.Request) -> web.Response:
    """``DELETE /api/v1/notices/{id}?owner=&reason=``: ends a notice before its time."""
    control = request.app[CONTROL]
    query = read_query(request, EndQuery)
    done = await control.end_notice(request.match_info["id"], query.owner, query.reason)
    logger.info("notice ended", extra={"notice": done.id, "owner": query.owner, "reason": query.reason})
    return json_response({"ended": notice_view(done, control.now())})


ROUTES = (
    web.get("/api/v1/notices", get_notices),
    web.post("/api/v1/notices", post_notice),
    web.delete("/api/v1/notices/{id}", delete_notice),
)
