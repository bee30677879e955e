"""What can go wrong, one scenario each, and the reaction that is wanted.

Told elsewhere: correlated probe failures, stale feeds and restarts (scenarios), grey failures and flapping (health), a
failing solver (verify), oscillation on late reports (closed loop), quarantined configuration (control).
"""

import math
from dataclasses import replace
from itertools import pairwise

import pytest

from penstock_policies.decision import HealthState, Rung
from penstock_policies.engine import decide
from penstock_policies.engine.plan import Problem, Solution, SolverError
from penstock_policies.observations import EndpointProbe, EngineLoad, Load, Spend
from penstock_policies.overrides import Overrides
from tests.engine.engine_world import (
    EU,
    MODEL,
    ONPREM,
    START,
    US,
    World,
    budget,
    cluster,
    fleet,
    onprem,
    records,
    row,
    traffic,
)

MIDNIGHT = START - START % 86_400
RESTRICTED = row("records")


def peaking(**more: object) -> World:
    """A world in which a third of the public traffic fits on-prem and the rest is in the near cloud."""
    world = World(fleet(), rates={row(): 300.0, RESTRICTED: 5.0}, **more)  # type: ignore[arg-type] # test shorthand
    world.run(60)
    return world


def test_oscillating_prices_turn_a_share_only_so_often() -> None:
    policy = fleet(policies=(traffic(max_step="50%", min_dwell="0s"),))
    world = World(policy, rates={row(): 300.0})
    world.run(30)
    rising: list[bool] = []
    before = world.weights()[US]
    for second in range(600):
        world.prices = {EU: 1.0, US: 0.5} if second // 10 % 2 else {EU: 0.5, US: 1.0}
        after = world.tick().rows[row()].weights[US]
        if after != before:
            rising.append(after > before)
        before = after
    turns = sum(one is not other for one, other in pairwise(rising))
    assert 1 <= turns <= 3 + 3, "three, and then one after each of the holds of 60, 120 and 240 s"


def test_a_herd_of_policies_does_not_fill_one_cheap_cluster_twice() -> None:
    names = [f"p{index}" for index in range(6)]
    world = World(fleet(policies=[traffic(name) for name in names]))
    world.rates = {row(name): 60.0 for name in names}
    world.run(90)
    on_prem = sum(60 * world.weights(row(name))[ONPREM] / 10_000 for name in names)
    assert on_prem == pytest.approx(136, rel=0.1)


@pytest.mark.parametrize("price", [math.nan, math.inf, -math.inf, -1.0, 0.0, 900.0, 1e300])
def test_an_absurd_price_or_one_in_the_wrong_unit_moves_nothing(price: float) -> None:
    world = peaking()
    before = world.weights()
    world.prices[EU] = price
    decision = world.run(60)
    assert world.weights() == before
    assert decision.clusters[EU].price == 0.90


def test_facts_from_the_future_are_refused() -> None:
    world = peaking()
    seen = world.observations()
    tomorrow = world.now + 86_400
    liar = replace(
        seen,
        probes={**seen.probes, EU: {key: EndpointProbe(tomorrow, 0, 99) for key in seen.probes[EU]}},
        load={"eu-west": {EU: Load(tomorrow, 1e6, 1e6, 1e6)}},
    )
    decision = decide(world.policy, liar, Overrides(), world.previous, world.now + 1)
    assert decision.health[EU].state is HealthState.UP
    assert decision.rows[row()].weights == world.weights()
    assert any("refused" in note.message for note in decision.notes)


def test_an_engine_whose_counters_went_backwards_is_not_believed() -> None:
    world = peaking()
    before = world.weights()
    world.engines = {EU: EngineLoad(0.0, waiting=-5.0, running=-1.0, prompt_tokens=-1e6, output_tokens=math.nan)}
    decision = world.run(30)
    assert world.weights() == before
    assert decision.clusters[EU].trim == 1.0


def test_a_cluster_that_carries_less_than_declared_shrinks_fast_and_grows_slowly() -> None:
    world = peaking()
    world.engines = {ONPREM: EngineLoad(0.0, waiting=60.0, running=80.0)}
    shrunk = world.run(30).clusters[ONPREM].trim
    assert shrunk < 0.75
    world.engines = {ONPREM: EngineLoad(0.0, waiting=0.0, running=40.0)}
    grown = world.run(30).clusters[ONPREM].trim
    assert 0 < grown - shrunk <= 0.025
    assert world.weights()[ONPREM] < 3500


def spending(on_exhausted: str, usd: float) -> World:
    clouds = budget("clouds", {"site": "cloud"}, amount=100.0, on_exhausted=on_exhausted)
    policies = (traffic(), records())
    world = World(fleet(policies=policies, budgets=(clouds,)), rates={row(): 50.0, RESTRICTED: 5.0})
    world.spend = {"clouds": Spend(0.0, MIDNIGHT, usd)}
    return world


def test_an_exhausted_budget_shifts_traffic_home_and_refuses_nobody() -> None:
    world = spending("shift", 101.0)
    decision = world.run(30)
    assert decision.budgets["clouds"].exhausted
    assert world.weights() == {ONPREM: 10_000, EU: 0, US: 0}
    world.failing = world.erring = {ONPREM}
    world.tick()
    assert sum(world.weights()[name] for name in (EU, US)) == 10_000, "where nobody else can serve, money is spent"


def test_an_exhausted_budget_that_rejects_refuses_what_nobody_else_can_serve_but_never_restricted_traffic() -> None:
    world = spending("reject", 101.0)
    world.policy = replace(
        world.policy,
        policies={one.name: one for one in (traffic(), traffic("batch", clusters=(EU, US)), records())},
    )
    decision = world.run(5)
    assert decision.rows[row()].weights == {ONPREM: 10_000}
    assert (decision.rows[row("batch")].weights, decision.rows[row("batch")].refusal) == ({}, "budget_exhausted")
    assert decision.rows[RESTRICTED].weights == {ONPREM: 10_000}
    world.spend = {"clouds": Spend(0.0, MIDNIGHT, 1.0)}
    assert world.tick().rows[row("batch")].weights == {}, "money that is gone does not come back by a figure that falls"
    raised = budget("clouds", {"site": "cloud"}, amount=500.0, on_exhausted="reject")
    world.policy = replace(world.policy, budgets={"clouds": raised})
    assert sum(world.tick().rows[row("batch")].weights.values()) == 10_000


def test_a_provider_that_refuses_what_is_too_much_gets_less_and_is_not_down() -> None:
    world = peaking()
    before = world.weights()[EU]
    for _ in range(30):
        world.now += 1
        seen = world.observations()
        eu = seen.load["eu-west"][EU]
        refused = replace(eu, error_rate=0.3 * eu.request_rate, success_rate=0.7 * eu.request_rate)
        load = {"eu-west": {**seen.load["eu-west"], EU: refused}}
        world.previous = decide(world.policy, replace(seen, load=load), Overrides(), world.previous, world.now)
    assert world.previous is not None
    assert world.previous.health[EU].state is HealthState.UP
    assert world.previous.clusters[EU].capacity < 177, "below what it was sent"
    assert world.weights()[EU] < before


def test_a_solver_that_fails_for_a_while_costs_no_request_and_no_jump() -> None:
    def giving_up(problem: Problem) -> Solution:
        raise SolverError("out of iterations")

    world = peaking()
    before = world.weights()
    for _ in range(30):
        world.now += 1
        world.previous = decide(
            world.policy, world.observations(), Overrides(), world.previous, world.now, solver=giving_up
        )
        assert world.previous.rung is Rung.WATERFALL
        assert all(abs(world.weights()[name] - before[name]) <= 500 for name in before)
    assert world.tick().rung is Rung.OPTIMUM
    assert all(abs(world.weights()[name] - before[name]) <= 500 for name in before)


def test_retries_of_failed_requests_are_not_taken_for_more_demand() -> None:
    world = peaking()
    assert world.previous is not None
    honest = world.previous.rows[row()].demand
    world.erring = {EU}
    assert world.run(3).rows[row()].demand <= honest * 1.05


def test_a_cluster_with_another_version_serves_nothing_even_when_all_others_are_down() -> None:
    strict = {"versions": {MODEL: {"stable": "v1"}}}
    clusters = (onprem(versions={MODEL: "v1"}), cluster(EU, versions={MODEL: "v2"}), cluster(US))
    world = World(fleet(clusters=clusters, policies=(traffic(more=strict),)), rates={row(): 100.0})
    world.tick()
    world.failing = world.erring = {ONPREM}
    decision = world.tick()
    assert set(decision.rows[row()].weights) == {ONPREM}
    assert "v2" in decision.rows[row()].excluded[EU]
    assert "unknown" in decision.rows[row()].excluded[US]


def test_a_model_nobody_serves_is_refused_by_name_and_not_in_silence() -> None:
    world = World(fleet(policies=(traffic(models=("nobody-7b",)),)))
    decision = world.tick()
    nobody = decision.rows[row(model="nobody-7b")]
    assert (nobody.weights, nobody.refusal) == ({}, "no_cluster_available")
    assert "does not serve nobody-7b" in nobody.reason
