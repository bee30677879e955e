"""What budgets believe of the spending, when they limit it, and what happens at the end of the money."""

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from penstock_policies.decision import BudgetView, Decision
from penstock_policies.engine import decide
from penstock_policies.engine.budgets import in_scope, judge_budgets, period, standings
from penstock_policies.observations import Observations, Spend
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import PolicySet
from penstock_policies.schema import Budget, BudgetSpec
from tests.engine.engine_world import EU, MODEL, ONPREM, START, US, World, fleet, records, row, traffic

DAY = datetime(2023, 11, 14, tzinfo=ZoneInfo("UTC")).timestamp()
"""The UTC midnight before ``START``."""
TOMORROW = DAY + 86_400
HOUR = 3600.0


def budget(name: str = "clouds", amount: float = 100.0, **spec: Any) -> Budget:
    fixed: dict[str, Any] = {"scope": {"site": "cloud"}, "amount": amount, "per": "day", **spec}
    document = {"apiVersion": "penstock/v1", "kind": "Budget", "metadata": {"name": name}, "spec": fixed}
    return Budget.model_validate(document)


def spec(per: str, zone: str) -> BudgetSpec:
    return budget(per=per, timeZone=zone).spec


def at(zone: str, *when: int) -> float:
    year, month, day, hour, minute = (*when, 0, 0)[:5]
    return datetime(year, month, day, hour, minute, tzinfo=ZoneInfo(zone)).timestamp()


def spending(policy: PolicySet, seen: Spend | None, previous: Decision | None = None, now: float = START) -> Decision:
    return decide(policy, Observations(spend={"clouds": seen} if seen else {}), Overrides(), previous, now)


def view(decision: Decision) -> BudgetView:
    return decision.budgets["clouds"]


def whys(decision: Decision) -> list[object]:
    return [note.fields["why"] for note in decision.notes if note.message == "spend refused"]


@pytest.mark.parametrize(
    ("per", "zone", "now", "start", "end"),
    [
        ("day", "UTC", (2026, 6, 10, 23, 59), (2026, 6, 10), (2026, 6, 11)),
        ("day", "UTC", (2026, 6, 10), (2026, 6, 10), (2026, 6, 11)),
        ("day", "America/New_York", (2026, 11, 1, 12), (2026, 11, 1), (2026, 11, 2)),
        ("month", "Europe/Berlin", (2026, 1, 31, 23, 30), (2026, 1, 1), (2026, 2, 1)),
        ("month", "Europe/Berlin", (2026, 12, 5), (2026, 12, 1), (2027, 1, 1)),
        ("month", "Europe/Berlin", (2028, 2, 29), (2028, 2, 1), (2028, 3, 1)),
    ],
)
def test_a_period_is_a_calendar_day_or_month_of_its_time_zone(
    per: str, zone: str, now: tuple[int, ...], start: tuple[int, ...], end: tuple[int, ...]
) -> None:
    assert period(spec(per, zone), at(zone, *now)) == (at(zone, *start), at(zone, *end))


def test_the_day_the_clocks_change_is_an_hour_shorter_or_longer() -> None:
    short = period(spec("day", "Europe/Berlin"), at("Europe/Berlin", 2026, 3, 29, 12))
    long = period(spec("day", "Europe/Berlin"), at("Europe/Berlin", 2026, 10, 25, 12))
    assert (short[1] - short[0], long[1] - long[0]) == (23 * HOUR, 25 * HOUR)


@pytest.mark.parametrize(
    ("scope", "counts"),
    [
        ({}, {("chat", ONPREM), ("chat", EU), ("records", ONPREM)}),
        ({"policy": "chat"}, {("chat", ONPREM), ("chat", EU)}),
        ({"cluster": EU}, {("chat", EU)}),
        ({"policy": "records", "site": "on_prem"}, {("records", ONPREM)}),
    ],
)
def test_every_field_of_a_scope_must_fit(scope: dict[str, str], counts: set[tuple[str, str]]) -> None:
    pairs = (("chat", ONPREM), ("chat", EU), ("records", ONPREM))
    assert {pair for pair in pairs if in_scope(fleet(), budget(scope=scope), *pair)} == counts


def test_what_was_spent_is_shown_with_its_period() -> None:
    shown = view(spending(fleet(budgets=(budget(),)), Spend(START, DAY, 40.0)))
    assert (shown.spent, shown.amount, shown.period_start, shown.period_end) == (40.0, 100.0, DAY, TOMORROW)
    assert shown.limit is None
    assert not shown.exhausted


@pytest.mark.parametrize("usd", [math.nan, math.inf, -1.0, 1e15])
def test_an_absurd_figure_is_refused_and_the_last_known_kept(usd: float) -> None:
    policy = fleet(budgets=(budget(),))
    good = spending(policy, Spend(START, DAY, 40.0))
    later = spending(policy, Spend(START + 1, DAY, usd), good, START + 1)
    assert view(later).spent == 40.0
    assert len(whys(later)) == 1


def test_the_last_known_figure_outlives_silence_but_not_its_period() -> None:
    policy = fleet(budgets=(budget(),))
    good = spending(policy, Spend(START, DAY, 40.0))
    assert view(spending(policy, None, good, START + 60)).spent == 40.0
    assert view(spending(policy, None, good, TOMORROW)).spent == 0.0


def burning(amount: float = 100.0, rate: float = 10.0) -> "Spending":
    """A world that has long spent 10.8 USD an hour, 5 of them so far."""
    policy = fleet(budgets=(budget(amount=amount),), policies=(traffic(clusters=(EU,)), records()))
    world = Spending(policy, rates={row(): rate, row("records"): 0.0})
    world.spent = 5.0
    world.run(600, step=10)
    return world


def test_while_no_figure_comes_the_burn_is_counted_on() -> None:
    world = burning()
    assert world.previous is not None
    silent = decide(world.policy, Observations(), Overrides(), world.previous, world.now + 100)
    assert view(silent).spent == pytest.approx(5.0 + 100 * 10.8 / HOUR / 1.2, rel=0.2)


def test_an_old_figure_is_counted_on_and_said_to_be_old() -> None:
    world = burning()
    assert world.previous is not None
    seen = Observations(spend={"clouds": Spend(world.now - 30_000, DAY, 5.0)})
    later = decide(world.policy, seen, Overrides(), world.previous, world.now + 1)
    assert view(later).spent == pytest.approx(5.0 + world.previous.memory.burn["clouds"] * 30_001)
    (note,) = (note for note in later.notes if note.message == "spend is old, counted on")
    assert note.fields == {"budget": "clouds", "age": 30_001, "spent": view(later).spent}


def test_a_figure_that_falls_within_its_period_is_refused() -> None:
    policy = fleet(budgets=(budget(),))
    spent = spending(policy, Spend(START, DAY, 101.0))
    again = spending(policy, Spend(START + 1, DAY, 0.0), spent, START + 1)
    assert (view(again).spent, view(again).exhausted) == (101.0, True)
    assert whys(again) == ["fell within its period"]


def test_what_a_crash_loses_the_meter_is_not_worth_a_word_but_not_given_back() -> None:
    policy = fleet(budgets=(budget(),))
    spent = spending(policy, Spend(START, DAY, 100.0))
    again = spending(policy, Spend(START + 1, DAY, 99.95), spent, START + 1)
    assert (view(again).spent, view(again).exhausted) == (100.0, True)
    assert not whys(again)


def test_a_raised_amount_opens_what_was_exhausted() -> None:
    spent = spending(fleet(budgets=(budget(),)), Spend(START, DAY, 101.0))
    raised = spending(fleet(budgets=(budget(amount=500.0),)), Spend(START + 1, DAY, 101.0), spent, START + 1)
    assert not view(raised).exhausted


def test_spending_of_another_period_says_nothing_of_this_one() -> None:
    decision = spending(fleet(budgets=(budget(),)), Spend(START, DAY - 86_400, 99.0))
    assert view(decision).spent == 0.0
    assert whys(decision) == ["of another period"]


def test_spending_under_an_unknown_budget_is_refused() -> None:
    decision = decide(fleet(), Observations(spend={"gone": Spend(START, DAY, 1.0)}), Overrides(), None, START)
    assert whys(decision) == ["unknown budget"]


def paced(amount: float, *, burn: float, hours: int, step: float = 60.0) -> list[BudgetView]:
    """Drive one budget alone by a spender that costs ``burn`` USD an hour and obeys every limit."""
    policy = fleet(budgets=(budget(amount=amount),), policies=(traffic(clusters=(EU,)), records()))
    previous = decide(policy, Observations(), Overrides(), None, DAY)
    spent = 0.0
    views: list[BudgetView] = []
    for tick in range(int(hours * HOUR / step)):
        now = DAY + tick * step
        limit = views[-1].limit if views else None
        rate = burn if limit is None else min(burn, limit)
        stand, _ = standings(policy, Observations(spend={"clouds": Spend(now, DAY, spent)}), previous, now)
        judged = judge_budgets(policy, stand, {row(): rate}, lambda *_: 1 / HOUR, previous=previous, now=now)
        views.append(judged.views["clouds"])
        previous = remembered(previous, judged.views, judged.burn, now)
        spent += rate * step / HOUR
    return views


def remembered(previous: Decision, views: Mapping[str, BudgetView], burn: Mapping[str, float], now: float) -> Decision:
    return replace(previous, at=now, budgets=views, memory=replace(previous.memory, burn=burn))


def test_a_budget_that_will_do_limits_nothing() -> None:
    assert all(one.limit is None for one in paced(100.0, burn=3.0, hours=24))


def test_a_budget_that_would_not_do_lasts_to_the_end_of_its_period() -> None:
    views = paced(100.0, burn=12.0, hours=24)
    assert 95 <= views[-1].spent <= 100.01
    assert not any(one.exhausted for one in views[:-1])


def test_spending_is_eased_down_and_never_by_a_cliff() -> None:
    limits = [one.limit for one in paced(100.0, burn=12.0, hours=24) if one.limit is not None]
    assert limits[0] > 10, "it begins at what is being spent"
    assert all(after >= before * 0.9 for before, after in pairwise(limits))


def test_a_limit_that_is_kept_does_not_switch_itself_off_and_on() -> None:
    states = [one.limit is not None for one in paced(100.0, burn=12.0, hours=24)]
    assert sum(one != other for one, other in pairwise(states)) <= 1


def test_a_new_day_brings_new_money() -> None:
    policy = fleet(budgets=(budget(),))
    spent = spending(policy, Spend(START, DAY, 100.0))
    assert view(spent).exhausted
    assert view(spent).limit == 0.0
    fresh = view(spending(policy, Spend(TOMORROW, TOMORROW, 0.0), spent, TOMORROW))
    assert not fresh.exhausted
    assert fresh.limit is None


class Spending(World):
    """A world that has spent something of its budget."""

    spent = 0.0

    def observations(self) -> Observations:
        seen = super().observations()
        spend = {"clouds": Spend(self.now, DAY, self.spent)}
        return Observations(seen.probes, seen.load, seen.prices, spend=spend)


def exhausted(on_exhausted: str, *, clusters: tuple[str, ...] = (ONPREM, EU, US), rate: float = 100.0) -> Spending:
    policy = fleet(
        budgets=(budget(onExhausted=on_exhausted),), policies=(traffic(clusters=clusters, load_step="100%"), records())
    )
    world = Spending(policy, rates={row(): rate, row("records"): 5.0})
    world.run(30)
    world.spent = 100.0
    return world


def test_an_exhausted_budget_that_rejects_shuts_its_clusters_and_says_so() -> None:
    decision = exhausted("reject").run(30)
    assert decision.rows[row()].weights == {ONPREM: 10_000}
    assert decision.rows[row()].excluded[EU] == "budget clouds is exhausted"
    assert decision.rows[row()].refusal == ""


def test_what_nobody_else_can_serve_is_refused_with_its_own_code() -> None:
    decision = exhausted("reject", clusters=(EU, US)).run(3)
    assert decision.rows[row()].weights == {}
    assert decision.rows[row()].refusal == "budget_exhausted"


def test_an_exhausted_budget_that_shifts_still_serves_what_nobody_else_can() -> None:
    decision = exhausted("shift", clusters=(EU, US)).run(3)
    assert sum(decision.rows[row()].weights.values()) == 10_000


def test_an_exhausted_budget_that_shifts_moves_what_others_have_room_for() -> None:
    world = exhausted("shift", rate=100.0)
    decision = world.run(30)
    assert decision.rows[row()].target[ONPREM] == pytest.approx(1.0)


_CLOUDS_FIRST: dict[str, Any] = {"prefer": [{"sites": ["cloud"]}]}
_HALF_IN_CLOUDS: dict[str, Any] = {"shares": [{"site": "cloud", "minShare": "50%"}]}
_PINNED: dict[str, Any] = {"shares": [{"cluster": EU, "pin": "40%"}]}


def wishing(more: dict[str, Any], *, spent: float, rate: float = 50.0) -> Decision:
    policy = fleet(budgets=(budget(),), policies=(traffic(more=more), records()))
    world = Spending(policy, rates={row(): rate, row("records"): 5.0})
    world.spent = spent
    return world.run(600, step=5)


@pytest.mark.parametrize("more", [_CLOUDS_FIRST, _HALF_IN_CLOUDS, _PINNED])
@pytest.mark.parametrize("rate", [50.0, 0.0])
def test_money_that_is_gone_is_spent_for_no_tier_floor_or_pin(more: dict[str, Any], rate: float) -> None:
    assert wishing(more, spent=101.0, rate=rate).rows[row()].weights[ONPREM] == 10_000


def test_floors_and_pins_hold_while_a_budget_is_only_paced() -> None:
    decision = wishing(_HALF_IN_CLOUDS, spent=95.0)
    assert view(decision).limit is not None
    assert decision.rows[row()].weights[ONPREM] == 5_000


def test_tiers_yield_to_a_budget_that_is_paced() -> None:
    decision = wishing(_CLOUDS_FIRST, spent=95.0)
    assert 0 < decision.rows[row()].weights[EU] < 1_000


def test_a_floor_of_a_site_is_kept_by_its_clusters_that_are_paid_for() -> None:
    policy = fleet(budgets=(budget(scope={"cluster": EU}),), policies=(traffic(more=_HALF_IN_CLOUDS), records()))
    world = Spending(policy, rates={row(): 50.0})
    world.spent = 101.0
    assert world.run(600, step=5).rows[row()].weights == {ONPREM: 5_000, EU: 0, US: 5_000}


def test_the_last_hundredth_is_for_leaving() -> None:
    decision = wishing(_HALF_IN_CLOUDS, spent=99.5)
    assert (view(decision).exhausted, view(decision).limit) == (False, 0.0)
    assert decision.rows[row()].weights[ONPREM] == 10_000


def test_an_exhausted_budget_leaves_nothing_behind_however_small() -> None:
    world = exhausted("shift", rate=100.0)
    assert world.previous is not None
    before = world.previous.rows[row()]
    few = replace(before, weights={ONPREM: 9_944, EU: 56, US: 0}, cost_moved_at=0.0)
    world.previous = replace(world.previous, rows={**world.previous.rows, row(): few})
    assert world.run(60, step=5).rows[row()].weights == {ONPREM: 10_000, EU: 0, US: 0}


def test_restricted_traffic_is_exempt_from_a_budget_that_rejects() -> None:
    policy = fleet(budgets=(budget(scope={}, onExhausted="reject"),))
    world = Spending(policy, rates={row(): 10.0, row("records"): 5.0})
    world.spent = 100.0
    decision = world.run(3)
    assert decision.rows[row("records")].weights == {ONPREM: 10_000}
    assert decision.rows[row()].weights == {}
    assert decision.rows[row()].refusal == "budget_exhausted"


def test_what_the_weights_in_force_cost_is_the_burn() -> None:
    policy = fleet(budgets=(budget(amount=1e6),), policies=(traffic(clusters=(EU,)),))
    world = Spending(policy, rates={row(): 10.0})
    decision = world.run(120)
    # 1000 prompt and 200 generated tokens at 0.90 USD a million, ten times a second.
    assert view(decision).burn == pytest.approx(10 * 1200 * 0.9 / 1e6 * HOUR, rel=0.1)
    rest = (TOMORROW - world.now) / HOUR
    assert view(decision).forecast == pytest.approx(view(decision).burn * rest)


def test_the_forecast_limits_what_the_plan_spends() -> None:
    policy = fleet(
        budgets=(budget(amount=1.0),),
        policies=(traffic(load_step="100%"), records()),
    )
    world = Spending(policy, rates={row(): 300.0, row("records"): 5.0})
    decision = world.run(60)
    assert view(decision).limit is not None
    assert any(note.message == "budget paced" for note in decision.notes)
    assert MODEL in {key.model for key in decision.rows}
