"""What the optimum decides, asked directly: one case for every level of importance, and for the prices it tells."""

import math
from dataclasses import replace
from typing import Any

import pytest

from penstock_policies.engine.optimum import solve
from penstock_policies.engine.plan import Bound, BudgetLimit, Outcome, Problem, RowProblem, SolverError
from penstock_policies.policyset import RowKey
from penstock_policies.words import DataClass, Survive
from tests.engine.plan_builders import CAPACITY, asked, plan_of, problem, shares

_HOME_FIRST = {"home": 0, "near": 1, "far": 1}
_EQUAL = dict.fromkeys(("home", "near", "far"), 0.1)


def solved(*rows: RowProblem) -> dict[str, dict[str, float]]:
    return shares(solve(problem(*rows)))


def test_the_cheapest_clusters_fill_to_what_they_are_planned_for() -> None:
    assert solved(asked())["chat"] == {"near": 0.5, "far": 0.5}


def test_shared_room_goes_to_the_row_that_would_lose_most_without_it() -> None:
    stuck = asked("stuck", clusters=("near", "home"), demand=50.0)
    assert solved(asked(demand=50.0), stuck) == {"stuck": {"near": 1.0}, "chat": {"far": 1.0}}


def test_slots_are_shared_by_what_a_slot_saves_not_by_what_a_request_saves() -> None:
    room = {"home": 1000.0, "near": 50.0}
    brief = asked("brief", clusters=("home", "near"), demand=50.0, merit={"home": 0.5, "near": 0.4})
    long = asked("long", clusters=("home", "near"), demand=50.0, merit={"home": 0.5, "near": 0.2})
    slots = {"home": 10.0, "near": 10.0}
    found = shares(solve(problem(brief, replace(long, work=slots), capacity=room)))
    assert found == {"brief": {"near": 1.0}, "long": {"home": 1.0}}


def test_equals_are_balanced_and_a_clearly_better_one_is_not_displaced() -> None:
    balanced = solved(asked(merit=_EQUAL, demand=100.0))["chat"]
    load = {name: 100 * share / CAPACITY[name] for name, share in balanced.items()}
    assert max(load.values()) <= 0.7 + 1e-6
    assert solved(asked(merit={"home": 0.14, "near": 0.1, "far": 0.14}, demand=50.0))["chat"] == {"near": 1.0}


def test_equals_without_load_to_speak_of_go_to_the_preferred_cluster() -> None:
    assert solved(asked(merit=_EQUAL, demand=1.0))["chat"] == {"home": 1.0}


def test_rows_alike_get_shares_alike() -> None:
    found = solved(asked("a"), asked("b", demand=30.0), asked("c", demand=1.0))
    assert found["a"] == found["b"] == found["c"]


def test_traffic_moves_only_for_more_than_moving_costs() -> None:
    row = asked(merit={"home": 0.9, "near": 0.1, "far": 0.12}, incumbent={"far": 1.0}, demand=40.0)
    assert solved(replace(row, move_merit=0.03))["chat"] == {"far": 1.0}
    assert solved(replace(row, move_merit=0.01))["chat"] == {"near": 1.0}


def test_tiers_fill_one_after_the_other_whatever_merit_says() -> None:
    assert solved(asked(tier=_HOME_FIRST))["chat"] == {"home": 0.4, "near": 0.5, "far": 0.1}


def test_a_tier_outweighs_any_merit_of_another_row() -> None:
    """One slow request of the tiered row takes the room of many that would each save by it."""
    tiered = asked("tiered", clusters=("home", "far"), tier={"home": 0, "far": 1}, merit={"home": 0.9, "far": 0.1})
    tiered = replace(tiered, work={"home": 10.0, "far": 1.0}, demand=4.0)
    many = asked("many", clusters=("home", "far"), merit={"home": 0.0, "far": 1.0}, demand=40.0)
    found = solved(tiered, many)
    assert found == {"tiered": {"home": 1.0}, "many": {"far": 1.0}}


def test_spread_gives_shares_in_proportion_to_capacity() -> None:
    row = asked(merit=dict.fromkeys(("home", "near", "far"), 0.0), spread=1.0, demand=19.0)
    assert solved(row)["chat"] == {
        "home": pytest.approx(40 / 190, abs=1e-6),
        "near": pytest.approx(50 / 190, abs=1e-6),
        "far": pytest.approx(100 / 190, abs=1e-6),
    }


def test_a_cluster_too_slow_for_the_slo_is_used_only_where_requests_would_go_unserved() -> None:
    row = asked(slow=frozenset({"near"}))
    assert solved(row)["chat"] == {"far": 1.0}
    pressed = solve(problem(replace(row, demand=150.0)))
    assert plan_of(pressed).shares["near"] == pytest.approx(10 / 150)
    assert not pressed.overload


def test_where_every_cluster_is_too_slow_the_best_of_them_serves() -> None:
    assert solved(asked(slow=frozenset(CAPACITY), demand=10.0))["chat"] == {"near": 1.0}


def test_ceilings_hold_even_when_the_others_are_overloaded() -> None:
    plan = plan_of(solve(problem(asked(ceiling={"far": 0.05}, demand=1000.0))))
    assert plan.outcome is Outcome.OVERLOADED
    assert plan.shares["far"] == pytest.approx(0.05)
    assert plan.shares["near"] / plan.shares["home"] == pytest.approx(1.25, rel=0.1)


def test_a_ceiling_bows_where_nobody_else_can_carry_the_rest() -> None:
    assert solved(asked(clusters=("home",), ceiling={"home": 0.01}, demand=5.0))["chat"] == {"home": 1.0}
    both = solved(asked(clusters=("home", "near"), ceiling={"home": 0.01, "near": 0.03}, demand=5.0))["chat"]
    assert both == {"home": pytest.approx(0.25, abs=1e-6), "near": pytest.approx(0.75, abs=1e-6)}


def test_overload_spreads_in_proportion_to_capacity() -> None:
    found = solve(problem(asked(demand=380.0)))
    assert sum(found.overload.values()) == pytest.approx(190)
    utilisation = {name: 380 * share / CAPACITY[name] for name, share in plan_of(found).shares.items()}
    assert all(value == pytest.approx(2.0, rel=0.1) for value in utilisation.values())


def test_the_room_between_planned_and_full_is_used_before_anything_overflows() -> None:
    full = {"home": 50.0, "near": 60.0, "far": 120.0}
    found = solve(problem(asked(demand=225.0), full=full))
    plan = plan_of(found)
    assert plan.outcome is Outcome.OVERLOADED
    assert all(225 * share <= full[name] * (1 + 1e-6) for name, share in plan.shares.items())


def test_floors_ceilings_and_pins_are_kept() -> None:
    pin = Bound(frozenset({"home"}), 0.2, 0.2, "pin home")
    clouds = Bound(frozenset({"near"}), 0.0, 0.3, "maxShare near")
    found = plan_of(solve(problem(asked(bounds=(pin, clouds)))))
    assert found.shares == pytest.approx({"home": 0.2, "near": 0.3, "far": 0.5})
    assert found.bowed == ()


def test_a_floor_bows_rather_than_overload_a_cluster_and_says_so() -> None:
    pin = Bound(frozenset({"home"}), 0.6, 1.0, "minShare home")
    found = plan_of(solve(problem(asked(bounds=(pin,)))))
    assert found.shares["home"] == pytest.approx(0.4)
    assert found.bowed == ("minShare home",)


def test_a_floor_on_a_cluster_that_is_gone_bows_and_leaves_the_rest_alone() -> None:
    pin = Bound(frozenset({"gone"}), 0.6, 1.0, "minShare gone")
    found = plan_of(solve(problem(asked(bounds=(pin,)))))
    assert (found.shares, found.bowed) == ({"home": 0.0, "near": 0.5, "far": 0.5}, ("minShare gone",))


def test_a_bound_is_above_the_tiers() -> None:
    least = Bound(frozenset({"far"}), 0.5, 1.0, "minShare far")
    assert solved(asked(tier=_HOME_FIRST, bounds=(least,), demand=10.0))["chat"] == {"home": 0.5, "far": 0.5}


def test_held_clusters_keep_their_proportions_unless_one_is_full() -> None:
    held = asked(held=frozenset({"near", "far"}), incumbent={"near": 0.25, "far": 0.75}, demand=80.0)
    assert solved(held)["chat"] == {"near": 0.25, "far": 0.75}
    crowded = solved(replace(held, demand=140.0))["chat"]
    assert crowded["far"] == pytest.approx(100 / 140, abs=1e-6)


def test_nothing_moves_from_one_held_cluster_to_another_that_had_no_share() -> None:
    held = asked(held=frozenset({"near", "far"}), incumbent={"far": 1.0}, demand=40.0)
    assert solved(held)["chat"] == {"far": 1.0}


def test_held_clusters_keep_their_ceilings() -> None:
    held = asked(
        held=frozenset({"near", "far"}), incumbent={"near": 0.25, "far": 0.75}, ceiling={"far": 0.3}, demand=40.0
    )
    found = solved(held)["chat"]
    assert found["far"] <= 0.3 + 1e-6


def test_what_a_spot_cluster_carries_keeps_room_free_elsewhere() -> None:
    room = {"solid": 60.0, "spot": 100.0, "rest": 100.0}
    risky = asked("risky", clusters=("solid", "spot"), merit={"solid": 0.5, "spot": 0.1}, demand=60.0)
    other = asked("other", clusters=("solid", "rest"), merit={"solid": 0.1, "rest": 0.9}, demand=40.0)
    alike = shares(solve(problem(risky, other, capacity=room, spot=frozenset({"spot"}))))
    assert alike == {"risky": {"spot": 1.0}, "other": {"solid": 1.0}}
    asking = replace(risky, survive=Survive.SPOT)
    found = shares(solve(problem(asking, other, capacity=room, spot=frozenset({"spot"}))))
    assert found == {"risky": {"spot": 1.0}, "other": {"rest": 1.0}}


def test_any_single_loss_is_survivable_when_asked_for_and_possible() -> None:
    room = {"a": 100.0, "b": 100.0, "c": 100.0}
    row = asked(clusters=("a", "b", "c"), merit={"a": 0.1, "b": 0.5, "c": 0.6}, survive=Survive.ANY, demand=150.0)
    found = shares(solve(problem(row, capacity=room)))["chat"]
    load = {name: 150 * found.get(name, 0.0) for name in room}
    for lost, gone in load.items():
        assert gone <= sum(room[name] - load[name] for name in room if name != lost) + 1e-3


def test_a_row_with_nobody_else_to_turn_to_does_not_stand_in_the_way() -> None:
    row = asked(clusters=("home",), survive=Survive.ANY, demand=10.0)
    assert plan_of(solve(problem(row))).outcome is Outcome.PLANNED


def _budget(limit: float, *rows: RowProblem) -> BudgetLimit:
    return BudgetLimit("daily", limit, {row.key: frozenset(row.clusters) for row in rows})


def test_a_budget_moves_traffic_off_what_costs_most_just_as_far_as_it_must() -> None:
    row = asked(merit={"home": 0.9, "near": 0.1, "far": 0.5}, cost={"home": 0.0, "near": 2e-6, "far": 1e-6})
    found = solve(problem(replace(row, demand=40.0), budgets=(_budget(50e-6, row),)))
    spent = 40 * (plan_of(found).shares["near"] * 2e-6 + plan_of(found).shares["far"] * 1e-6)
    assert spent == pytest.approx(50e-6, rel=1e-3)
    assert found.budget_merit["daily"] > 0
    assert not found.over_budget


def test_a_budget_with_room_to_spare_changes_nothing() -> None:
    row = asked()
    found = solve(problem(row, budgets=(_budget(1.0, row),)))
    assert shares(found)["chat"] == {"near": 0.5, "far": 0.5}
    assert found.budget_merit == {"daily": 0.0}


def test_an_exhausted_budget_is_overspent_only_where_nobody_else_can_serve() -> None:
    row = asked(cost={"home": 0.0, "near": 1e-6, "far": 1e-6})
    found = solve(problem(row, budgets=(_budget(0.0, row),)))
    assert plan_of(found).shares["home"] == pytest.approx(0.4)
    assert plan_of(found).outcome is Outcome.PLANNED
    assert found.over_budget["daily"] == pytest.approx(60e-6)


def test_budgets_are_above_tiers() -> None:
    row = asked(tier={"near": 0, "home": 1, "far": 1}, cost={"home": 0.0, "near": 1e-6, "far": 1e-6}, demand=40.0)
    assert shares(solve(problem(row, budgets=(_budget(0.0, row),))))["chat"] == {"home": 1.0}


def test_restricted_rows_count_towards_a_budget_and_are_not_moved_by_it() -> None:
    costs = {"home": 0.0, "near": 1e-6, "far": 1e-6}
    strict = asked("strict", data_class=DataClass.RESTRICTED, cost=costs, demand=20.0)
    loose = asked("loose", cost=costs, demand=20.0)
    found = shares(solve(problem(strict, loose, budgets=(_budget(20e-6, strict, loose),))))
    assert found["strict"] == {"near": 1.0}
    assert found["loose"] == {"home": 1.0}


def test_an_idle_row_is_placed_by_merit_and_avoids_what_others_fill() -> None:
    assert solved(asked(demand=0.0))["chat"] == {"near": 1.0}
    busy = asked("busy", clusters=("near",), merit={"near": 0.1}, demand=500.0)
    assert solved(busy, asked("idle", demand=0.0))["idle"] == {"far": 1.0}


def test_an_idle_row_keeps_tiers_and_bounds() -> None:
    pin = Bound(frozenset({"far"}), 0.25, 0.25, "pin far")
    assert solved(asked(demand=0.0, tier=_HOME_FIRST, bounds=(pin,)))["chat"] == {"home": 0.75, "far": 0.25}


def test_rows_without_clusters_have_no_plan() -> None:
    assert solve(problem(asked(clusters=(), demand=5.0))).plans == {}
    assert solve(problem()).plans == {}


def test_no_capacity_anywhere_still_gives_an_answer() -> None:
    plan = plan_of(solve(problem(asked(), capacity=dict.fromkeys(CAPACITY, 0.0))))
    assert plan.outcome is Outcome.OVERLOADED
    assert sum(plan.shares.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("broken", [{"demand": math.nan}, {"work": dict.fromkeys(CAPACITY, 0.0)}, {"demand": math.inf}])
def test_figures_that_cannot_be_are_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(SolverError):
        solve(problem(asked(**broken)))


def test_the_gap_is_how_much_better_an_unused_cluster_must_become_to_be_used() -> None:
    row = asked(demand=40.0)
    gaps = plan_of(solve(problem(row))).gaps
    assert set(gaps) == {"home", "far"}
    for name, gap in gaps.items():
        just_short = {**row.merit, name: row.merit[name] - gap + 1e-4}
        enough = {**row.merit, name: row.merit[name] - gap - 1e-4}
        assert plan_of(solve(problem(replace(row, merit=just_short)))).shares[name] == 0
        assert plan_of(solve(problem(replace(row, merit=enough)))).shares[name] > 0


def test_what_money_cannot_bring_into_use_has_no_gap() -> None:
    gaps = plan_of(solve(problem(asked(tier=_HOME_FIRST, slow=frozenset({"far"}), demand=10.0)))).gaps
    assert gaps == {}


def _with_slots(asked_: Problem, name: str, more: float) -> Problem:
    room = {**asked_.capacity, name: asked_.capacity[name] + more}
    return replace(asked_, capacity=room, full=room)


def test_the_price_of_a_slot_is_what_one_more_saves() -> None:
    case = problem(asked())
    found = solve(case)
    more = solve(_with_slots(case, "near", 0.01))
    assert found.slot_merit["near"] == pytest.approx((found.objective - more.objective) / 0.01, rel=1e-3)
    assert found.slot_merit["home"] == 0


def test_the_price_of_a_budget_is_what_one_more_dollar_saves() -> None:
    row = asked(cost={"home": 0.0, "near": 2e-6, "far": 1e-6}, demand=40.0)
    found = solve(problem(row, budgets=(_budget(50e-6, row),)))
    more = solve(problem(row, budgets=(_budget(51e-6, row),)))
    assert found.budget_merit["daily"] == pytest.approx((found.objective - more.objective) / 1e-6, rel=1e-3)


def test_a_row_is_the_same_whatever_it_is_called_and_in_whatever_order_it_comes() -> None:
    rows = [asked("a"), asked("b", clusters=("far", "near")), asked("c", demand=0.0), asked("d", tier=_HOME_FIRST)]
    forward, backward = solve(problem(*rows)), solve(problem(*reversed(rows)))
    assert forward == backward


def test_every_row_is_answered() -> None:
    rows = [asked(f"p{number}", demand=float(number)) for number in range(5)]
    assert set(solve(problem(*rows)).plans) == {RowKey(f"p{number}", "eu", "m") for number in range(5)}
