"""Rows and problems for tests that ask a solver directly. Shared by the solvers' tests."""

from collections.abc import Mapping
from typing import Any

from penstock_policies.engine.plan import Problem, RowPlan, RowProblem, Solution
from penstock_policies.policyset import RowKey
from penstock_policies.words import DataClass

CAPACITY = {"home": 40.0, "near": 50.0, "far": 100.0}


def asked(name: str = "chat", **changes: Any) -> RowProblem:
    """A row of 100 requests/s, one slot-second each, that may use home (dear), near (cheap) and far (a bit less)."""
    clusters: tuple[str, ...] = changes.get("clusters", ("home", "near", "far"))
    facts: dict[str, Any] = {
        "data_class": DataClass.PUBLIC,
        "clusters": clusters,
        "demand": 100.0,
        "work": dict.fromkeys(clusters, 1.0),
        "merit": {name: {"home": 0.9, "near": 0.1, "far": 0.12}.get(name, 0.5) for name in clusters},
        "cost": dict.fromkeys(clusters, 1e-6),
        "tokens": (1000.0, 200.0),
        "tier": dict.fromkeys(clusters, 0),
        "slow": frozenset(),
        "ceiling": {},
        "incumbent": {},
        **changes,
    }
    return RowProblem(key=RowKey(name, "eu", "m"), **facts)


def problem(*rows: RowProblem, capacity: Mapping[str, float] | None = None, **more: Any) -> Problem:
    """A problem in which clusters are planned full up to ``capacity``, unless ``full`` says more."""
    room = dict(capacity if capacity is not None else CAPACITY)
    return Problem(rows=rows, capacity=room, full=more.pop("full", room), **more)


def shares(solution: Solution) -> dict[str, dict[str, float]]:
    """Policy to its shares, rounded, without those that are nothing."""
    return {
        key.policy: {name: round(share, 6) for name, share in plan.shares.items() if round(share, 6) > 0}
        for key, plan in solution.plans.items()
    }


def plan_of(solution: Solution, policy: str = "chat") -> RowPlan:
    """The plan of a policy's row."""
    (plan,) = [plan for key, plan in solution.plans.items() if key.policy == policy]
    return plan
