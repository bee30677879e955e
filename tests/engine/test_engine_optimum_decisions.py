"""What decisions show of the optimum: prices of what is scarce, gaps, budgets, and the rungs below it."""

from dataclasses import replace

import pytest

from penstock_policies.decision import Decision, Rung
from penstock_policies.engine import decide, optimum
from penstock_policies.engine.plan import Problem, Solution, SolverError
from penstock_policies.overrides import Overrides
from tests.engine.engine_world import EU, ONPREM, US, World, cluster, fleet, onprem, records, row, traffic


def busy() -> World:
    """On-prem full, the rest in the EU; traffic has grown slowly enough never to queue."""
    world = World(fleet(clusters=(onprem(), cluster(EU), cluster(US, region="us-east"))))
    for rate in (100.0, 130.0, 160.0, 200.0):
        world.rates = {row(): rate}
        world.run(45)
    return world


def last(world: World) -> Decision:
    assert world.previous is not None
    return world.previous


def test_a_decision_comes_from_the_optimum_and_shows_what_it_plans_for_every_cluster() -> None:
    decision = last(busy())
    assert decision.rung is Rung.OPTIMUM
    planned = {name: view.planned for name, view in decision.clusters.items()}
    assert sum(planned.values()) == pytest.approx(sum(one.demand for one in decision.rows.values()), rel=0.05)
    assert all(planned[name] <= view.capacity * (1 + 1e-6) for name, view in decision.clusters.items())


def test_only_a_full_cluster_has_a_price_for_room_and_it_is_what_the_dearer_one_costs_more() -> None:
    decision = last(busy())
    full, spilled, unused = (decision.clusters[name] for name in (ONPREM, EU, US))
    assert full.slot_price > 0
    assert (spilled.slot_price, unused.slot_price) == (0.0, 0.0)
    key = row()
    prompt, output = decision.rows[key].tokens
    dearer = spilled.price - full.price * 1.1
    an_hour = dearer * (prompt + output) / 1e6 * 3600 / decision.memory.service_time[ONPREM]
    assert full.slot_price == pytest.approx(an_hour, rel=0.25)


def test_a_gap_tells_the_price_at_which_an_unused_cluster_comes_into_use() -> None:
    world = busy()
    gap = last(world).rows[row()].gaps[US]
    assert gap > 0
    asking, before = world.prices[US], last(world)
    world.now += 1
    for price, used in ((asking - gap * 0.95, False), (asking - gap * 1.05, True)):
        world.prices[US] = price
        decision = decide(world.policy, world.observations(), Overrides({}), before, world.now)
        assert (decision.rows[row()].target[US] > 0) is used


def test_a_row_without_a_cluster_tells_clients_why() -> None:
    world = busy()
    world.drain(ONPREM)
    decision = world.tick()
    assert decision.rows[row("records")].weights == {}
    assert decision.rows[row("records")].refusal == "no_cluster_available"
    assert decision.rows[row()].refusal == ""


def test_a_solver_that_gives_up_leaves_the_waterfall_to_plan_and_the_notes_say_so() -> None:
    def giving_up(_: Problem) -> Solution:
        raise SolverError("no answer")

    world = busy()
    decision = decide(world.policy, world.observations(), Overrides({}), last(world), world.now, solver=giving_up)
    assert decision.rung is Rung.WATERFALL
    (note,) = [note for note in decision.notes if note.message == "rung failed"]
    assert note.fields == {"rung": Rung.OPTIMUM, "why": "no answer"}
    assert decision.rows[row()].target == pytest.approx(dict(last(world).rows[row()].target), abs=0.1)


def test_a_problem_the_solver_cannot_read_is_no_end_of_service() -> None:
    def absurd(problem: Problem) -> Solution:
        rows = tuple(replace(one, demand=float("nan")) for one in problem.rows)
        return optimum.solve(replace(problem, rows=rows))

    world = busy()
    decision = decide(world.policy, world.observations(), Overrides({}), last(world), world.now, solver=absurd)
    assert decision.rung is Rung.WATERFALL
    assert all(decision.rows[key].weights for key in decision.rows)


def test_a_draining_cluster_gives_up_its_share_step_by_step() -> None:
    world = World(fleet(policies=(traffic(clusters=(EU, US)), records())), rates={row(): 100.0})
    world.run(60)
    assert world.weights()[EU] == 10_000
    world.drain(EU, ramp=100.0)
    world.run(50)
    assert world.weights()[EU] == pytest.approx(5_000, abs=300)


def test_the_same_inputs_give_the_same_bytes() -> None:
    world = busy()
    observations = world.observations()
    decisions = [decide(world.policy, observations, Overrides({}), last(world), world.now) for _ in range(2)]
    assert decisions[0] == decisions[1]
    assert decisions[0].id == decisions[1].id
