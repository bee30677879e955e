"""``GET /api/v1/explain/{policy}``: why every weight of a policy is what it is, from which inputs, and since when."""

from http import HTTPStatus

from aiohttp import web

from penstock.admin.explain_text import explanation_text
from penstock.admin.keys import CONTROL
from penstock.admin.ports import ControlPlane, HistoryPoint
from penstock.admin.problem_details import ApiError, not_found
from penstock.admin.reasons import why
from penstock.admin.resources.clusters import utilisation
from penstock.admin.wire import json_response, timestamp
from penstock_policies.decision import TOTAL_WEIGHT, Decision, Note, Row
from penstock_policies.policyset import ANY_MODEL, PolicySet, RowKey
from penstock_policies.schema import TrafficPolicy


def _weight(cluster: str, row: Row, decision: Decision) -> dict[str, object]:
    view, health = decision.clusters.get(cluster), decision.health.get(cluster)
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
    }


def _note(note: Note) -> dict[str, object]:
    return {"stage": note.stage, "message": note.message, "fields": note.fields}


def _weights_before(key: RowKey, row: Row, history: list[HistoryPoint]) -> dict[str, int] | None:
    """Return the weights that the current ones replaced, where memory reaches back that far."""
    for point in reversed(history):
        weights = point.weights.get(key)
        if weights is not None and dict(weights) != dict(row.weights):
            return dict(weights)
    return None


def _row(row: Row, decision: Decision, history: list[HistoryPoint], now: float) -> dict[str, object]:
    by_weight = sorted(row.weights, key=lambda cluster: (-row.weights[cluster], cluster))
    return {
        "region": row.key.region,
        "model": row.key.model,
        "anyModel": row.key.model == ANY_MODEL,
        "reason": row.reason,
        "demand": row.demand,
        "weights": [_weight(cluster, row, decision) for cluster in by_weight],
        "excluded": [{"cluster": name, "reason": row.excluded[name]} for name in sorted(row.excluded)],
        "changedAt": timestamp(row.changed_at),
        "changedSecondsAgo": max(0.0, now - row.changed_at),
        "weightsBefore": _weights_before(row.key, row, history),
        "notes": [_note(note) for note in row.notes],
    }


def _policy(policy: TrafficPolicy, policies: PolicySet) -> dict[str, object]:
    origin = policies.origins.get(("TrafficPolicy", policy.name))
    return {
        "policy": policy.name,
        "origin": None if origin is None else str(origin),
        "dataClass": policy.spec.data_class,
        "match": policy.spec.match.model_dump(by_alias=True),
        "minimize": policy.spec.objective.minimize,
        "limits": {"maxStep": policy.spec.limits.max_step, "minDwellSeconds": policy.spec.limits.min_dwell},
    }


def explain_view(control: ControlPlane, name: str) -> dict[str, object]:
    """Why the weights of a policy are what they are.

    Raises:
        ApiError: 404 for an unknown policy, 503 before the first decision.

    """
    policies, decision, now = control.policy_set, control.decision, control.now()
    if policies is None or decision is None:
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "nothing is decided yet", kind="no-decision")
    if name not in policies.policies:
        raise not_found("policy", name, tuple(sorted(policies.policies)))
    history = list(control.history())
    policy = policies.policies[name]
    rows = [decision.rows[key] for key in sorted(decision.rows) if key.policy == name]
    return {
        **_policy(policy, policies),
        "now": timestamp(now),
        "decision": {
            "id": decision.id,
            "at": timestamp(decision.at),
            "ageSeconds": max(0.0, now - decision.at),
            "rung": decision.rung,
            "frozen": decision.frozen,
            "notes": [_note(note) for note in decision.notes],
        },
        "rows": [_row(row, decision, history, now) for row in rows],
        "text": explanation_text(policy, rows, decision, now),
    }


async def get_explanation(request: web.Request) -> web.Response:
    """``GET /api/v1/explain/{policy}``; plain text for ``Accept: text/plain``."""
    view = explain_view(request.app[CONTROL], request.match_info["policy"])
    if request.headers.get("Accept", "").startswith("text/plain"):
        return web.Response(text=str(view["text"]), content_type="text/plain")
    return json_response(view)


ROUTES = (web.get("/api/v1/explain/{policy}", get_explanation),)
