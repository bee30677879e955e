"""``GET /api/v1/weights`` and ``GET /api/v1/history``: the weights in force, and how they came to be over time."""

import asyncio
from collections.abc import Sequence

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from penstock.admin.keys import CONTROL
from penstock.admin.ports import ControlPlane, HistoryPoint
from penstock.admin.problem_details import not_found
from penstock.admin.requests import read_query
from penstock.admin.wire import json_response, timestamp
from penstock_policies.decision import Row
from penstock_policies.policyset import RowKey
from penstock_policies.schema import TrafficPolicy


class WeightsQuery(BaseModel):
    """Which rows are wanted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: str | None = None


class HistoryQuery(BaseModel):
    """Which part of the history is wanted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: str | None = None
    since: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Unix time: only points after it, and the one in force at it."""


def objective_text(policy: TrafficPolicy) -> str:
    """Return in words what a policy wants, schedules aside: ``cost``, or ``60% cost, 40% latency``."""
    parts = sorted(policy.spec.objective.parts.items(), key=lambda pair: (-pair[1], pair[0]))
    return parts[0][0] if len(parts) == 1 else ", ".join(f"{part:.0%} {measure}" for measure, part in parts)


def row_view(row: Row, policy: TrafficPolicy | None) -> dict[str, object]:
    """One row of weights with its reason."""
    return {
        "policy": row.key.policy,
        "region": row.key.region,
        "model": row.key.model,
        "dataClass": row.data_class,
        "weights": row.weights,
        "target": row.target,
        "excluded": row.excluded,
        "reason": row.reason,
        "demand": row.demand,
        "objective": "" if policy is None else objective_text(policy),
        "gapsUsdPerMillionTokens": row.gaps,
        "tokens": {"prompt": row.tokens[0], "output": row.tokens[1]},
        "refusal": row.refusal,
        "changedAt": timestamp(row.changed_at),
    }


def check_policy(control: ControlPlane, name: str | None) -> None:
    """Refuse a policy name nobody has.

    Raises:
        ApiError: 404.

    """
    known = () if control.policy_set is None else tuple(sorted(control.policy_set.policies))
    if name is not None and name not in known:
        raise not_found("policy", name, known)


def weights_view(control: ControlPlane, policy: str | None = None) -> dict[str, object]:
    """Every row of the decision in force, sorted by policy, region and model."""
    decision = control.decision
    rows = {} if decision is None else decision.rows
    policies = {} if control.policy_set is None else control.policy_set.policies
    return {
        "now": timestamp(control.now()),
        "decision": None if decision is None else decision.id,
        "frozen": "" if decision is None else decision.frozen,
        "frozenRegions": {} if decision is None else decision.frozen_regions,
        "items": [
            row_view(rows[key], policies.get(key.policy))
            for key in sorted(rows)
            if policy is None or key.policy == policy
        ],
    }


def history_view(now: float, points: Sequence[HistoryPoint], query: HistoryQuery) -> dict[str, object]:
    """Return the weights of each row over time: a point per change, holding until the next."""
    if query.since is not None:
        later = [index for index, point in enumerate(points) if point.at > query.since]
        first = later[0] if later else len(points)
        points = points[max(0, first - 1) :]
    series: dict[RowKey, list[dict[str, object]]] = {}
    for point in points:
        for key, weights in point.weights.items():
            if query.policy is not None and key.policy != query.policy:
                continue
            own = series.setdefault(key, [])
            if not own or own[-1]["weights"] != weights:
                own.append({"at": timestamp(point.at), "weights": weights})
    return {
        "now": timestamp(now),
        "items": [
            {"policy": key.policy, "region": key.region, "model": key.model, "points": series[key]}
            for key in sorted(series)
        ],
    }


async def get_weights(request: web.Request) -> web.Response:
    """``GET /api/v1/weights?policy=``."""
    query = read_query(request, WeightsQuery)
    check_policy(request.app[CONTROL], query.policy)
    view = weights_view(request.app[CONTROL], query.policy)
    # A large fleet's weights are a megabyte of text.
    return await asyncio.to_thread(json_response, view)


async def get_history(request: web.Request) -> web.Response:
    """``GET /api/v1/history?policy=&since=``."""
    query = read_query(request, HistoryQuery)
    check_policy(request.app[CONTROL], query.policy)
    control = request.app[CONTROL]
    now, points = control.now(), list(control.history())
    # An hour of a large fleet's weights are megabytes of text.
    return await asyncio.to_thread(lambda: json_response(history_view(now, points, query)))


ROUTES = (web.get("/api/v1/weights", get_weights), web.get("/api/v1/history", get_history))
