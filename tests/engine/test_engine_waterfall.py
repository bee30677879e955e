"""How the greedy waterfall fills clusters, asked directly."""

import pytest

from penstock_policies.engine.plan import Bound, Outcome, RowProblem
from penstock_policies.engine.waterfall import solve
from penstock_policies.words import DataClass
from tests.engine.plan_builders import asked, plan_of, problem, shares

_HOME_FIRST = {"home": 0, "near": 1, "far": 1}


def filled(*rows: RowProblem) -> dict[str, dict[str, float]]:
    return shares(solve(problem(*rows)))


def test_the_cluster_of_least_merit_fills_first() -> None:
    assert filled(asked())["chat"] == {"near": 0.5, "far": 0.5}


def test_tiers_fill_in_order_whatever_they_cost() -> None:
    assert filled(asked(tier=_HOME_FIRST))["chat"] == {"home": 0.4, "near": 0.5, "far": 0.1}


def test_without_demand_the_first_choice_gets_all() -> None:
    assert filled(asked(tier=_HOME_FIRST, demand=0.0))["chat"] == {"home": 1.0}


def test_equals_go_to_the_preferred_cluster() -> None:
    assert filled(asked(merit=dict.fromkeys(("home", "near", "far"), 0.1), demand=80.0))["chat"]["near"] == 0.5


def test_a_cluster_in_use_gives_way_only_to_a_clear_saving() -> None:
    spilling = {"home": 0.4, "far": 0.6}
    merit = {"home": 1.0, "near": 0.116, "far": 0.12}
    held = filled(asked(tier=_HOME_FIRST, merit=merit, incumbent=spilling))["chat"]
    assert held == {"home": 0.4, "far": 0.6}
    moved = filled(asked(tier=_HOME_FIRST, merit={**merit, "near": 0.113}, incumbent=spilling))["chat"]
    assert moved["near"] == 0.5


def test_stricter_classes_take_their_room_first() -> None:
    strict = asked("strict", data_class=DataClass.RESTRICTED, clusters=("home", "near"), tier=_HOME_FIRST, demand=40.0)
    both = filled(asked(tier=_HOME_FIRST, clusters=("home", "far"), demand=40.0), strict)
    assert both == {"strict": {"home": 1.0}, "chat": {"far": 1.0}}


def test_among_equals_those_with_fewer_choices_go_first() -> None:
    both = filled(asked("a", tier=_HOME_FIRST), asked("b", clusters=("home",), demand=40.0))
    assert "home" not in both["a"]


def test_a_slow_cluster_is_used_only_when_the_others_are_full() -> None:
    assert filled(asked(slow=frozenset({"near"})))["chat"] == {"far": 1.0}
    assert filled(asked(slow=frozenset({"near"}), demand=150.0))["chat"] == {
        "far": pytest.approx(2 / 3, abs=1e-6),
        "home": pytest.approx(4 / 15, abs=1e-6),
        "near": pytest.approx(1 / 15, abs=1e-6),
    }


def test_a_ceiling_bounds_a_recovering_cluster() -> None:
    assert filled(asked(tier=_HOME_FIRST, ceiling={"home": 0.05}))["chat"]["home"] == 0.05


def test_the_ceiling_of_a_bound_is_kept_by_its_clusters_together() -> None:
    clouds = Bound(frozenset({"near", "far"}), 0.0, 0.7, "maxShare of site cloud")
    assert filled(asked(bounds=(clouds,)))["chat"] == {"near": 0.5, "far": 0.2, "home": 0.3}


def test_a_ceiling_bows_where_nobody_else_is_left() -> None:
    assert filled(asked(clusters=("home",), ceiling={"home": 0.01}, demand=5.0))["chat"] == {"home": 1.0}


def test_overload_goes_to_clusters_in_full_health() -> None:
    row = asked(ceiling={"far": 0.05}, demand=1000.0)
    plan = plan_of(solve(problem(row, capacity={"home": 40.0, "near": 60.0, "far": 100.0})))
    assert plan.outcome is Outcome.OVERLOADED
    assert plan.shares["far"] == pytest.approx(0.05)
    assert plan.shares["near"] / plan.shares["home"] == pytest.approx(1.5)


def test_clusters_where_requests_take_long_hold_fewer_of_them_a_second() -> None:
    row = asked(tier=_HOME_FIRST, work={"home": 4.0, "near": 1.0, "far": 1.0})
    assert filled(row)["chat"]["home"] == pytest.approx(0.1)


def test_a_cluster_whose_requests_take_no_time_has_room_for_all() -> None:
    row = asked(tier=_HOME_FIRST, work={"home": 0.0, "near": 1.0, "far": 1.0})
    assert filled(row)["chat"] == {"home": 1.0}


def test_a_stale_price_keeps_the_split() -> None:
    held = asked(
        tier=_HOME_FIRST,
        held=frozenset({"near", "far"}),
        incumbent={"home": 0.4, "near": 0.15, "far": 0.45},
        demand=80.0,
    )
    assert filled(held)["chat"] == {"home": 0.5, "near": 0.125, "far": 0.375}


def test_no_capacity_at_all_is_spread_evenly() -> None:
    nothing = {"home": 0.0, "near": 0.0, "far": 0.0}
    plan = plan_of(solve(problem(asked(), capacity=nothing)))
    assert plan.shares == dict.fromkeys(nothing, pytest.approx(1 / 3, abs=1e-5))
