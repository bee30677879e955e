"""``GET /api/v1/budgets``: what may be spent, what was, and what the engine does about it."""

from aiohttp import web

from penstock.admin.keys import CONTROL
from penstock.admin.observed import MEAN_SECONDS
from penstock.admin.ports import ControlPlane
from penstock.admin.wire import json_response, timestamp
from penstock_policies.decision import BudgetView
from penstock_policies.schema import Budget


def state_of(view: BudgetView | None) -> str:
    """Return in a word how a budget stands: ``unknown``, ``exhausted``, ``paced`` or ``within``."""
    if view is None:
        return "unknown"
    if view.exhausted:
        return "exhausted"
    return "within" if view.limit is None else "paced"


def scope_of(budget: Budget) -> str:
    """Return in words what a budget is for."""
    scope = budget.spec.scope
    parts = [
        f"{kind} {name}"
        for kind, name in (("policy", scope.policy), ("cluster", scope.cluster), ("site", scope.site))
        if name is not None
    ]
    return ", ".join(parts) or "the whole fleet"


def budget_view(budget: Budget, view: BudgetView | None) -> dict[str, object]:
    """One budget."""
    spec = budget.spec
    return {
        "name": budget.name,
        "scope": {"policy": spec.scope.policy, "cluster": spec.scope.cluster, "site": spec.scope.site},
        "scopeText": scope_of(budget),
        "amountUsd": spec.amount,
        "per": spec.per,
        "timeZone": spec.time_zone,
        "onExhausted": spec.on_exhausted,
        "state": state_of(view),
        "standing": None
        if view is None
        else {
            "spentUsd": view.spent,
            "remainingUsd": max(0.0, view.amount - view.spent),
            "usedShare": view.spent / view.amount,
            "periodStart": timestamp(view.period_start),
            "periodEnd": timestamp(view.period_end),
            "burnUsdPerHour": view.burn,
            "burnMeanSeconds": MEAN_SECONDS[spec.per],
            "forecastUsd": view.forecast,
            "limitUsdPerHour": view.limit,
            "oneMoreDollarSavesUsd": view.price,
        },
    }


def budgets_view(control: ControlPlane) -> dict[str, object]:
    """Every budget of the policy in force, by name."""
    policy, decision = control.policy_set, control.decision
    views = {} if decision is None else decision.budgets
    budgets = {} if policy is None else policy.budgets
    return {
        "now": timestamp(control.now()),
        "items": [budget_view(budgets[name], views.get(name)) for name in sorted(budgets)],
    }


async def get_budgets(request: web.Request) -> web.Response:
    """``GET /api/v1/budgets``."""
    return json_response(budgets_view(request.app[CONTROL]))


ROUTES = (web.get("/api/v1/budgets", get_budgets),)
