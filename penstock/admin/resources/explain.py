"""``GET /api/v1/explain/{policy}``: why every weight of a policy is what it is, from which inputs, and since when.

``at=`` asks about a moment that has passed, ``decision=`` about a recorded decision, and ``what-if=``, any number of
times, what the plan would be if something were otherwise. ``GET /api/v1/explain`` explains every policy.
"""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus

from aiohttp import web
from multidict import MultiMapping
from pydantic import BaseModel, ConfigDict, Field

from penstock.admin.bindings import bindings
from penstock.admin.explain_text import explanation_text
from penstock.admin.fleet import unnamed_clusters
from penstock.admin.keys import CONTROL
from penstock.admin.moment import parse_moment
from penstock.admin.observed import budgets_view, observed
from penstock.admin.occasion import Occasion, occasion_at, occasion_now, occasion_of
from penstock.admin.ports import ControlPlane
from penstock.admin.problem_details import ApiError, not_found
from penstock.admin.reasons import why
from penstock.admin.requests import validated
from penstock.admin.resources.clusters import utilisation
from penstock.admin.supposed import supposed_view
from penstock.admin.wire import json_response, timestamp
from penstock_policies.decision import TOTAL_WEIGHT, Decision, Note, Row, Stage
from penstock_policies.engine.optimum import solve
from penstock_policies.engine.schedule import Wishes, wishes
from penstock_policies.engine.suppositions import WhatIfError, parse_suppositions
from penstock_policies.engine.whatif import placement
from penstock_policies.policyset import ANY_MODEL, PolicySet
from penstock_policies.schema import TrafficPolicy

_WHAT_IF = "what-if"
_MOST_SUPPOSITIONS = 20
"""More at once answer nobody's question."""


class ExplainQuery(BaseModel):
    """Which decision is asked about, and what is supposed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: str | None = Field(default=None, max_length=64)
    """A moment that has passed."""
    decision: str | None = Field(default=None, max_length=64)
    """A recorded decision."""
    what_if: tuple[str, ...] = Field(default=(), alias=_WHAT_IF, max_length=_MOST_SUPPOSITIONS)


def _query(given: MultiMapping[str]) -> ExplainQuery:
    members: dict[str, object] = {}
    for name in given:
        values = given.getall(name)
        if name != _WHAT_IF and len(values) > 1:
            raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{name}: given twice", kind="invalid-request")
        members[name] = values if name == _WHAT_IF else values[0]
    query = validated(ExplainQuery, members)
    if query.at is not None and query.decision is not None:
        detail = "at, decision: expected one of them, not both"
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, detail, kind="invalid-request")
    return query


async def _occasion(control: ControlPlane, query: ExplainQuery) -> Occasion:
    if query.decision is not None:
        return await occasion_of(control, query.decision)
    if query.at is None:
        return occasion_now(control)
    try:
        moment = parse_moment(query.at, control.now())
    except ValueError as error:
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, f"at: {error}", kind="invalid-request") from error
    return await occasion_at(control, moment)


def _weight(cluster: str, row: Row, decision: Decision) -> dict[str, object]:
    view, health = decision.clusters.get(cluster), decision.health_in(row.key.region, cluster)
    return {
        "cluster": cluster,
        "weight": row.weights[cluster],
        "share": row.weights[cluster] / TOTAL_WEIGHT,
        "target": row.target.get(cluster, 0.0),
        "why": why(cluster, row, decision),
        "standIns": row.legs.get(cluster, ())[1:],
        "health": None if health is None else health.state,
        "price": None if view is None else view.price,
        "priceSource": None if view is None else view.price_source,
        "priceAgeSeconds": None if view is None else view.price_age,
        "inFlight": None if view is None else view.in_flight,
        "capacity": None if view is None else view.capacity,
        "utilisation": None if view is None else utilisation(view.in_flight, view.capacity),
        "cheaperByUsdPerMillionTokens": row.gaps.get(cluster),
    }


def _note(note: Note) -> dict[str, object]:
    return {"stage": note.stage, "message": note.message, "fields": note.fields}


def _row(row: Row, occasion: Occasion) -> dict[str, object]:
    decision = occasion.decision
    by_weight = sorted(row.weights, key=lambda cluster: (-row.weights[cluster], cluster))
    return {
        "region": row.key.region,
        "model": row.key.model,
        "anyModel": row.key.model == ANY_MODEL,
        "reason": row.reason,
        "refusal": row.refusal or None,
        "demand": row.demand,
        "tokensPerRequest": {"prompt": row.tokens[0], "output": row.tokens[1]},
        "weights": [_weight(cluster, row, decision) for cluster in by_weight],
        "excluded": [{"cluster": name, "reason": row.excluded[name]} for name in sorted(row.excluded)],
        "moving": row.move,
        "limitedBy": [_note(note) for note in row.notes if note.stage in {Stage.PROJECT, Stage.LIMIT}],
        "changedAt": timestamp(row.changed_at),
        "changedSecondsAgo": max(0.0, occasion.now - row.changed_at),
        "weightsBefore": occasion.weights_before(row.key),
        "notes": [_note(note) for note in row.notes],
    }


def _policy(policy: TrafficPolicy, policies: PolicySet, wanted: Wishes) -> dict[str, object]:
    origin = policies.origins.get(("TrafficPolicy", policy.name))
    return {
        "policy": policy.name,
        "origin": None if origin is None else str(origin),
        "dataClass": policy.spec.data_class,
        "match": policy.spec.match.model_dump(by_alias=True),
        "minimize": wanted.objective.minimize,
        "objective": wanted.objective.parts,
        "schedules": {
            "declared": [schedule.name for schedule in policy.spec.schedules],
            "inForce": wanted.in_force,
            "changesAt": timestamp(wanted.changes_at),
        },
        "limits": {"maxStep": policy.spec.limits.max_step, "minDwellSeconds": policy.spec.limits.min_dwell},
        "slo": policy.spec.slo.model_dump(by_alias=True),
    }


def _decision(occasion: Occasion, now: float) -> dict[str, object]:
    decision, past = occasion.decision, occasion.past
    return {
        "id": decision.id,
        "at": timestamp(decision.at),
        "ageSeconds": max(0.0, now - decision.at),
        "rung": decision.rung,
        "frozen": decision.frozen,
        "frozenRegions": decision.frozen_regions,
        "notes": [_note(note) for note in decision.notes],
        "inForce": past is None,
        "recordedAs": occasion.recorded_as,
        "replacedAt": None if past is None else timestamp(past.until),
        "olderThanAskedSeconds": occasion.older_than_asked,
    }


async def explain_view(control: ControlPlane, name: str, query: ExplainQuery) -> dict[str, object]:
    """Why the weights of a policy are, or were, what they are.

    Raises:
        ApiError: 404 for an unknown policy or decision, 503 before the first decision, 409 where a recorded decision
            lacks what is needed, 422 for a question that cannot be understood.

    """
    occasion = await _occasion(control, query)
    if name not in occasion.policies.policies:
        raise not_found("policy", name, tuple(sorted(occasion.policies.policies)))
    supposed = await _supposed(occasion, name, query.what_if)
    view = _explained(occasion, name, control.now())
    if supposed is None:
        return {**view, "whatIf": None}
    as_is = "As things are now" if occasion.past is None else "As things were"
    return {**view, "whatIf": supposed, "text": f"{as_is}:\n\n{view['text']}\n{supposed['text']}"}


def _explained(occasion: Occasion, name: str, now: float) -> dict[str, object]:
    policies, decision = occasion.policies, occasion.decision
    policy = policies.policies[name]
    rows = [decision.rows[key] for key in sorted(decision.rows) if key.policy == name]
    inputs = observed(policies, policy.spec.clusters, decision, occasion.observations, occasion.now)
    wanted = wishes(policy.spec, decision.at)
    bound = bindings(policies, wanted, decision, rows)
    return {
        **_policy(policy, policies, wanted),
        "now": timestamp(now),
        "decision": _decision(occasion, now),
        "inputs": inputs,
        "rows": [_row(row, occasion) for row in rows],
        "notNamed": unnamed_clusters(policies, policy),
        "binding": bound,
        "budgets": budgets_view(policies, decision, occasion.observations, occasion.now),
        "text": explanation_text(policy, wanted, rows, occasion, inputs, bound),
    }


async def explain_all_view(control: ControlPlane, query: ExplainQuery) -> dict[str, object]:
    """Explain every policy, each as :func:`explain_view` does.

    Raises:
        ApiError: as there, and 422 where something is supposed: the answer would be the same for each policy.

    """
    if query.what_if:
        detail = f"{_WHAT_IF}: name a policy to suppose something of"
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, detail, kind="invalid-request")
    occasion = await _occasion(control, query)
    now, items = control.now(), []
    for name in sorted(occasion.policies.policies):
        items.append(_explained(occasion, name, now))
        # A large fleet's explanations take a while together, and Envoys are being served meanwhile.
        await asyncio.sleep(0)
    return {
        "now": timestamp(now),
        "decision": _decision(occasion, now),
        "items": items,
        "text": "\n".join(str(item["text"]) for item in items),
    }


async def _supposed(occasion: Occasion, policy: str, texts: Sequence[str]) -> dict[str, object] | None:
    if not texts:
        return None
    world = occasion.world
    if world is None:
        detail = f"what decision {occasion.decision.id} was made of is not recorded, so nothing else can be supposed"
        raise ApiError(HTTPStatus.CONFLICT, detail, kind="inputs-not-recorded")
    try:
        suppositions = parse_suppositions(texts, world.policy)
    except WhatIfError as error:
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{_WHAT_IF}: {error}", kind="invalid-request") from error
    before, after = await asyncio.to_thread(lambda: (placement(world, solve), placement(world, solve, suppositions)))
    return supposed_view(suppositions, policy, before, after)


async def get_explanation(request: web.Request) -> web.Response:
    """``GET /api/v1/explain/{policy}?at=&decision=&what-if=``; plain text for ``Accept: text/plain``."""
    view = await explain_view(request.app[CONTROL], request.match_info["policy"], _query(request.query))
    return await _response(request, view)


async def get_explanations(request: web.Request) -> web.Response:
    """``GET /api/v1/explain?at=&decision=``: of every policy."""
    return await _response(request, await explain_all_view(request.app[CONTROL], _query(request.query)))


async def _response(request: web.Request, view: dict[str, object]) -> web.Response:
    if request.headers.get("Accept", "").startswith("text/plain"):
        return web.Response(text=str(view["text"]), content_type="text/plain")
    return await asyncio.to_thread(json_response, view)


ROUTES = (
    web.get("/api/v1/explain", get_explanations),
    web.get("/api/v1/explain/{policy}", get_explanation),
)
