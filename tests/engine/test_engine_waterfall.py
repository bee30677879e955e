"""How the greedy waterfall fills clusters, asked directly."""

from typing import Any

import pytest

from penstock_policies.engine.plan import Outcome, Problem, RowProblem
from penstock_policies.engine.waterfall import solve
from penstock_policies.policyset import RowKey
from penstock_policies.words import DataClass


def asked(name: str = "chat", **changes: Any) -> RowProblem:
    facts: dict[str, Any] = {
        "data_class": DataClass.PUBLIC,
        "clusters": ("home", "near", "far"),
        "on_prem": frozenset({"home"}),
        "cost": {"home": 9.0, "near": 1.0, "far": 1.2},
        "ceiling": {},
        "demand": 100.0,
        "incumbent": {},
        "hold_split": False,
        **changes,
    }
    return RowProblem(key=RowKey(name, "eu", "m"), **facts)


def shares(*rows: RowProblem, capacity: dict[str, float] | None = None) -> dict[str, dict[str, float]]:
    room = capacity or {"home": 40.0, "near": 50.0, "far": 100.0}
    plans = solve(Problem(rows, room, dict.fromkeys(room, 1.0)))
    return {key.policy: {name: round(share, 6) for name, share in plan.shares.items()} for key, plan in plans.items()}


def test_on_prem_fills_first_whatever_it_costs_then_the_cheapest() -> None:
    assert shares(asked())["chat"] == {"home": 0.4, "near": 0.5, "far": 0.1}


def test_without_demand_the_first_choice_gets_all() -> None:
    assert shares(asked(demand=0.0))["chat"] == {"home": 1.0, "near": 0.0, "far": 0.0}


def test_equal_costs_go_to_the_preferred_cluster() -> None:
    assert shares(asked(cost={"home": 1, "near": 1, "far": 1}, demand=80.0))["chat"]["near"] == 0.5


def test_a_cluster_in_use_gives_way_only_to_a_clear_saving() -> None:
    spilling = {"home": 0.4, "far": 0.6}
    costs = {"home": 1.0, "near": 1.16, "far": 1.2}
    assert shares(asked(cost=costs, incumbent=spilling))["chat"]["near"] == 0.0
    assert shares(asked(cost={**costs, "near": 1.13}, incumbent=spilling))["chat"]["near"] == 0.5


def test_stricter_classes_take_their_room_first() -> None:
    strict = asked("strict", data_class=DataClass.RESTRICTED, clusters=("home", "near"), demand=30.0)
    both = shares(asked("chat", clusters=("home",), demand=40.0), asked("chat2"), strict)
    assert both["strict"] == {"home": 1.0, "near": 0.0}
    assert both["chat2"]["home"] == 0.0


def test_among_equals_those_with_fewer_choices_go_first() -> None:
    both = shares(asked("a"), asked("b", clusters=("home",), demand=40.0))
    assert both["a"]["home"] == 0.0


def test_a_ceiling_bounds_a_recovering_cluster() -> None:
    assert shares(asked(ceiling={"home": 0.05}))["chat"]["home"] == 0.05


def test_a_ceiling_bows_where_nobody_else_is_left() -> None:
    alone = asked(clusters=("home",), ceiling={"home": 0.01}, demand=5.0)
    assert shares(alone)["chat"] == {"home": 1.0}


def test_overload_goes_to_clusters_in_full_health() -> None:
    row = asked(ceiling={"far": 0.05}, demand=1000.0)
    plan = solve(Problem((row,), {"home": 40.0, "near": 60.0, "far": 100.0}, {"home": 1.0, "near": 1.0, "far": 1.0}))
    shares_ = plan[row.key].shares
    assert plan[row.key].outcome is Outcome.OVERLOADED
    assert shares_["far"] == pytest.approx(0.05)
    assert shares_["near"] / shares_["home"] == pytest.approx(1.5)


def test_slow_clusters_hold_fewer_requests_a_second() -> None:
    row = asked()
    plan = solve(Problem((row,), {"home": 40.0, "near": 50.0, "far": 500.0}, {"home": 4.0, "near": 1.0, "far": 1.0}))
    assert plan[row.key].shares["home"] == pytest.approx(0.1)


def test_a_stale_price_keeps_the_split_between_clouds() -> None:
    held = asked(hold_split=True, incumbent={"home": 0.4, "near": 0.15, "far": 0.45}, demand=80.0)
    assert shares(held)["chat"] == {"home": 0.5, "near": 0.125, "far": 0.375}


def test_no_capacity_at_all_is_spread_evenly() -> None:
    nothing = {"home": 0.0, "near": 0.0, "far": 0.0}
    assert shares(asked(), capacity=nothing)["chat"] == dict.fromkeys(nothing, pytest.approx(1 / 3, abs=1e-5))
