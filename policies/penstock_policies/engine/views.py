"""What a plan makes of clusters and budgets, for people: load by plan, and what more room or money would save."""

from collections.abc import Mapping
from dataclasses import replace

from penstock_policies.decision import BudgetView, ClusterView
from penstock_policies.engine.plan import Problem, Solution
from penstock_policies.engine.situation import Situation
from penstock_policies.policyset import RowKey

_HOUR = 3600.0


def cluster_views(situation: Situation, problem: Problem, solution: Solution) -> dict[str, ClusterView]:
    """Show what was used for every cluster, what the plan fills of it, and what one more slot would save."""
    planned = dict.fromkeys(sorted(problem.capacity), 0.0)
    worth: dict[str, float] = {}
    for row in problem.rows:
        plan = solution.plans.get(row.key)
        if plan is None:
            continue
        for name, share in plan.shares.items():
            if share > 0 and name in row.work:
                planned[name] += row.demand * share * row.work[name]
                worth[name] = worth.get(name) or row.usd_per_merit
    return {
        name: replace(
            view,
            planned=planned.get(name, 0.0),
            slot_price=solution.slot_merit.get(name, 0.0) * worth.get(name, 0.0) * _HOUR,
        )
        for name, view in situation.views().items()
    }


def budget_views(situation: Situation, problem: Problem, solution: Solution) -> dict[str, BudgetView]:
    """Show how every budget stands, and what one more dollar of it would save."""
    dollars: Mapping[RowKey, float] = {row.key: row.usd_per_merit for row in problem.rows}
    worth = {
        budget.name: next((dollars[key] for key in sorted(budget.members) if dollars.get(key, 0.0) > 0), 0.0)
        for budget in problem.budgets
    }
    return {
        name: replace(view, price=solution.budget_merit.get(name, 0.0) * worth.get(name, 0.0))
        for name, view in situation.budgets.items()
    }
