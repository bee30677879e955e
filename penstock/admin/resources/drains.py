"""``/api/v1/drains``: an operator takes a cluster out of service for a time, and puts it back.

Asking again for a cluster that is drained replaces its drain (extends it, say); the answer tells which one it replaced.
"""

import logging
from http import HTTPStatus
from typing import Annotated
from urllib.parse import quote

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, model_validator

from penstock.admin.keys import CONTROL
from penstock.admin.ports import ControlPlane, DrainOutcome, DrainRequest
from penstock.admin.requests import Words, read_body, read_query
from penstock.admin.resources.clusters import drain_view
from penstock.admin.wire import json_response, timestamp
from penstock_policies.quantities import Seconds

logger = logging.getLogger(__name__)

LONGEST_DRAIN = 30 * 86400.0
"""Seconds. What is to be gone for longer than a month belongs in the policy, not in an override."""


class DrainBody(BaseModel):
    """What ``POST /api/v1/drains`` takes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    cluster: Annotated[str, Field(min_length=1, max_length=63)]
    reason: Words
    owner: Words
    duration: Annotated[Seconds, Field(alias="for", gt=0, le=LONGEST_DRAIN)]
    ramp: Annotated[Seconds, Field(ge=0, le=3600)] = 0.0
    dry_run: Annotated[bool, Field(alias="dryRun")] = False
    force: bool = False

    @model_validator(mode="after")
    def _ramp_fits(self) -> "DrainBody":
        if self.ramp > self.duration:
            raise ValueError("the ramp must not be longer than the drain")
        return self


class UndrainQuery(BaseModel):
    """What ``DELETE /api/v1/drains/{cluster}`` takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    owner: Words = "api"
    reason: Words = "undrained"


def drains_view(control: ControlPlane) -> dict[str, object]:
    """Every drain that is in force or will be, by cluster."""
    now, drains = control.now(), control.overrides.drains
    return {
        "now": timestamp(now),
        "items": [drain_view(drains[cluster], now) for cluster in sorted(drains) if now < drains[cluster].until],
    }


def outcome_view(outcome: DrainOutcome, now: float) -> dict[str, object]:
    """Tell what became of a drain request, with the arithmetic."""
    return {
        "applied": outcome.applied,
        "drain": drain_view(outcome.drain, now),
        "replaced": None if outcome.replaced is None else drain_view(outcome.replaced, now),
        "impact": outcome.impact,
    }


async def get_drains(request: web.Request) -> web.Response:
    """``GET /api/v1/drains``."""
    return json_response(drains_view(request.app[CONTROL]))


async def post_drain(request: web.Request) -> web.Response:
    """``POST /api/v1/drains``: 201 for a new drain, 200 for a replaced one and for a dry run, 409 when refused."""
    control = request.app[CONTROL]
    body = await read_body(request, DrainBody)
    wish = DrainRequest(
        cluster=body.cluster,
        reason=body.reason,
        owner=body.owner,
        duration=body.duration,
        ramp=body.ramp,
        dry_run=body.dry_run,
        force=body.force,
        actor=body.owner,
    )
    outcome = await control.drain(wish)
    if outcome.applied:
        logger.info(
            "cluster drained",
            extra={
                "cluster": body.cluster,
                "owner": body.owner,
                "reason": body.reason,
                "seconds": body.duration,
                "force": body.force,
                "replaced": outcome.replaced is not None,
            },
        )
    created = outcome.applied and outcome.replaced is None
    return json_response(
        outcome_view(outcome, control.now()),
        status=HTTPStatus.CREATED if created else HTTPStatus.OK,
        headers={"Location": f"/api/v1/drains/{quote(body.cluster, safe='')}"} if created else None,
    )


async def delete_drain(request: web.Request) -> web.Response:
    """``DELETE /api/v1/drains/{cluster}?owner=&reason=``: ends a drain and answers with the one that was in force."""
    control = request.app[CONTROL]
    cluster = request.match_info["cluster"]
    query = read_query(request, UndrainQuery)
    ended = await control.undrain(cluster, query.owner, query.reason)
    logger.info("cluster undrained", extra={"cluster": cluster, "owner": query.owner, "reason": query.reason})
    return json_response({"ended": drain_view(ended, control.now())})


ROUTES = (
    web.get("/api/v1/drains", get_drains),
    web.post("/api/v1/drains", post_drain),
    web.delete("/api/v1/drains/{cluster}", delete_drain),
)
