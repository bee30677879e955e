"""What-ifs give what the engine itself would come to, and change nothing else."""

import functools
import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock_policies.engine.optimum import solve
from penstock_policies.engine.plan import Outcome, Problem, Solution, SolverError
from penstock_policies.engine.suppositions import Supposed, WhatIfError, parse_suppositions
from penstock_policies.engine.whatif import Placement, changed, placement
from penstock_policies.engine.whatif import World as Given
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import RowKey
from tests.engine.engine_world import EU, ONPREM, US, World, cluster, fleet, onprem, records, row, traffic

RECORDS = RowKey("records", "eu-west", "llama-3-70b")


def _world() -> World:
    """On-prem is full, the rest goes to the cheaper cloud."""
    world = World(fleet())
    world.rates = {row(): 200.0, RECORDS: 20.0}
    world.run(90, step=3.0)
    return world


def _given(world: World) -> Given:
    return Given(world.policy, world.observations(), Overrides(dict(world.drains)), world.previous, world.now)


@functools.cache
def _settled() -> Given:
    return _given(_world())


def _placed(world: World, *texts: str) -> Placement:
    given = _given(world)
    return placement(given, solve, parse_suppositions(texts, given.policy))


def _close(shares: Mapping[str, float], others: Mapping[str, float], within: float = 0.02) -> bool:
    return all(abs(shares.get(name, 0.0) - others.get(name, 0.0)) <= within for name in shares.keys() | others.keys())


def test_without_suppositions_it_is_the_plan_the_engine_has() -> None:
    world = _world()
    placed = _placed(world)
    decision = world.tick()
    for key, found in placed.rows.items():
        assert _close(found.shares, decision.rows[key].target)
    assert placed.load[ONPREM] <= placed.capacity[ONPREM] * 1.001
    assert placed.solver == "optimum"


def test_a_cluster_supposed_down_gets_what_it_gets_when_it_is_down() -> None:
    world = _world()
    placed = _placed(world, f"down:{EU}")
    world.failing.add(EU)
    world.erring.add(EU)
    decision = world.run(30)
    assert EU not in placed.rows[row()].shares
    assert _close(placed.rows[row()].shares, decision.rows[row()].target, 0.05)


def test_all_clusters_of_a_row_down_is_told_as_such() -> None:
    placed = _placed(_world(), f"down:{ONPREM}")
    assert placed.rows[RECORDS].outcome is Outcome.HELD_ALL_DOWN
    assert placed.rows[RECORDS].shares == {}


def test_several_clusters_down_at_once_are_believed() -> None:
    placed = _placed(_world(), f"down:{ONPREM}", f"down:{EU}")
    assert placed.rows[row()].shares == {US: 1.0}


def test_a_drained_cluster_leaves_as_by_a_real_drain() -> None:
    world = _world()
    placed = _placed(world, f"drain:{ONPREM}")
    world.drain(ONPREM)
    decision = world.run(5)
    assert _close(placed.rows[row()].shares, decision.rows[row()].target)
    assert placed.rows[RECORDS].outcome is Outcome.REFUSED


def test_a_drain_on_its_ramp_is_taken_to_its_end() -> None:
    world = _world()
    world.drain(ONPREM, ramp=600.0)
    world.run(10)
    assert ONPREM not in _placed(world).rows[row()].shares


def test_a_lower_price_draws_the_traffic_and_the_cost_falls() -> None:
    world = _world()
    before, after = _placed(world), _placed(world, f"price:{US}=0.3")
    assert before.rows[row()].shares.get(EU, 0.0) > 0.1
    assert after.rows[row()].shares.get(EU, 0.0) < 0.01
    assert after.usd_per_hour < before.usd_per_hour


def test_a_supposed_price_needs_no_feed_to_be_believed() -> None:
    world = _world()
    assert _placed(world, f"price:{EU}=5000").rows[row()].shares.get(EU, 0.0) < 0.01


def _known_gap(world: World) -> tuple[float, float]:
    """The price of the far cloud, and by how much it is told to be too dear."""
    decision = world.tick()
    return decision.clusters[US].price, decision.rows[row()].gaps[US]


@pytest.mark.parametrize("ratio", [1.0, 0.25])
def test_a_cluster_is_used_at_the_price_the_gap_says_and_not_above(ratio: float) -> None:
    policy = fleet()
    clusters = dict(policy.clusters)
    for name, each in clusters.items():
        cost = each.spec.cost.model_copy(update={"prompt_price_ratio": ratio, "egress_usd_per_million_tokens": 0.03})
        clusters[name] = each.model_copy(update={"spec": each.spec.model_copy(update={"cost": cost})})
    world = World(replace(policy, clusters=clusters))
    world.rates = {row(): 200.0, RECORDS: 20.0}
    world.run(90, step=3.0)
    price, gap = _known_gap(world)
    assert _placed(world, f"price:{US}={price - 0.99 * gap}").rows[row()].shares.get(US, 0.0) < 0.01
    # The gap is that of the next request. What is settled elsewhere moves once the charge for moving is saved as well.
    moving = 0.05 * price
    assert _placed(world, f"price:{US}={price - gap - moving}").rows[row()].shares.get(US, 0.0) > 0.2


def test_a_slot_is_worth_what_one_more_saves() -> None:
    world = _world()
    worth = world.tick().clusters[ONPREM].slot_price
    before, after = _placed(world), _placed(world, f"capacity:{ONPREM}=170")
    saved = (before.usd_per_hour - after.usd_per_hour) / (after.capacity[ONPREM] - before.capacity[ONPREM])
    # The dual counts the queues of a fuller cluster as well, a few percent of it.
    assert worth == pytest.approx(saved, rel=0.05)


def test_more_capacity_takes_more() -> None:
    world = _world()
    before, after = _placed(world), _placed(world, f"capacity:{ONPREM}=320")
    assert after.capacity[ONPREM] == pytest.approx(2 * before.capacity[ONPREM])
    assert after.rows[row()].shares[ONPREM] > before.rows[row()].shares[ONPREM] + 0.2


def test_more_demand_of_one_policy_is_that_policys_alone() -> None:
    world = _world()
    before, after = _placed(world), _placed(world, "demand:chat=x2")
    assert after.rows[row()].demand == pytest.approx(2 * before.rows[row()].demand)
    assert after.rows[RECORDS].demand == before.rows[RECORDS].demand
    assert after.usd_per_hour > 1.9 * before.usd_per_hour


def test_too_much_demand_is_told_as_overload() -> None:
    assert _placed(_world(), "demand:chat=x50").rows[row()].outcome is Outcome.OVERLOADED


def test_suppositions_add_up_in_any_order() -> None:
    world = _world()
    texts = (f"price:{EU}=2", "demand:chat=x1.5", f"capacity:{ONPREM}=200")
    assert _placed(world, *texts) == _placed(world, *reversed(texts))


def test_supposing_changes_nothing_of_what_was_given() -> None:
    world = _world()
    given = _given(world)
    before = repr(given)
    changed(given, parse_suppositions((f"down:{EU}", f"price:{US}=1", f"drain:{ONPREM}"), given.policy))
    assert repr(given) == before


def test_restricted_rows_stay_where_they_may_be_whatever_is_supposed() -> None:
    for text in (f"down:{ONPREM}", f"price:{EU}=0", f"drain:{ONPREM}", "demand:records=x1000"):
        assert set(_placed(_world(), text).rows[RECORDS].shares) <= {ONPREM}


def test_without_an_answer_of_the_solver_the_waterfall_answers_and_it_is_said() -> None:
    def helpless(problem: Problem) -> Solution:
        raise SolverError("no")

    placed = placement(_given(_world()), helpless)
    assert placed.solver == "waterfall"
    assert sum(placed.rows[row()].shares.values()) == pytest.approx(1)


def test_a_fleet_that_was_never_decided_on_can_be_supposed_about() -> None:
    policy = fleet(clusters=(onprem(), cluster(EU)), policies=(traffic(clusters=(ONPREM, EU)), records()))
    given = Given(policy, World(policy).observations(), Overrides(), None, 1_700_000_000.0)
    placed = placement(given, solve, parse_suppositions((f"down:{ONPREM}",), policy))
    assert placed.rows[row()].shares == {EU: 1.0}


def test_suppositions_are_read_as_they_are_written() -> None:
    texts = (f"price:{EU}=0.4", f"down:{ONPREM}", f" drain:{US} ", f"capacity:{EU}=300", "demand:chat=x1.5")
    read = parse_suppositions(texts, fleet())
    assert [(one.kind, one.subject, one.value) for one in read] == [
        (Supposed.PRICE, EU, 0.4),
        (Supposed.DOWN, ONPREM, 0.0),
        (Supposed.DRAIN, US, 0.0),
        (Supposed.CAPACITY, EU, 300.0),
        (Supposed.DEMAND, "chat", 1.5),
    ]
    assert read[2].text == f"drain:{US}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "expected price:CLUSTER=USD"),
        ("cheap", "expected price:CLUSTER=USD"),
        (f"pric:{EU}=1", "did you mean 'price'"),
        (f"down:{EU}=1", "expected price"),
        (f"price:{EU}", "expected price"),
        ("down:cloud-eu-wset", "did you mean 'cloud-eu-west'"),
        ("demand:caht=x2", "no policy 'caht' (did you mean 'chat'?)"),
        (f"price:{EU}=nan", "a price in USD"),
        (f"price:{EU}=-1", "a price in USD"),
        (f"price:{EU}=cheap", "a price in USD"),
        (f"capacity:{EU}=0", "at least 1"),
        (f"capacity:{EU}=1.5", "whole number"),
        ("demand:chat=2", "a factor such as x1.5"),
        ("demand:chat=xinf", "a factor such as x1.5"),
    ],
)
def test_what_cannot_be_supposed_is_told_with_what_was_expected(text: str, told: str) -> None:
    with pytest.raises(WhatIfError) as refused:
        parse_suppositions((text,), fleet())
    assert told in str(refused.value)


def test_the_same_thing_supposed_twice_is_refused() -> None:
    with pytest.raises(WhatIfError, match="supposed twice"):
        parse_suppositions((f"price:{EU}=1", f"price:{EU}=2"), fleet())


_TEXTS = st.one_of(
    st.tuples(st.sampled_from((ONPREM, EU, US)), st.floats(0, 1e6)).map(lambda one: f"price:{one[0]}={one[1]}"),
    st.tuples(st.sampled_from((ONPREM, EU, US)), st.integers(1, 10**7)).map(lambda one: f"capacity:{one[0]}={one[1]}"),
    st.sampled_from((ONPREM, EU, US)).map(lambda name: f"down:{name}"),
    st.sampled_from((ONPREM, EU, US)).map(lambda name: f"drain:{name}"),
    st.tuples(st.sampled_from(("chat", "records")), st.floats(0, 1e4)).map(lambda one: f"demand:{one[0]}=x{one[1]}"),
)


@given(st.lists(_TEXTS, max_size=6, unique_by=lambda text: text.partition("=")[0]))
@settings(max_examples=60, deadline=None)
def test_whatever_is_supposed_gets_a_lawful_answer(texts: list[str]) -> None:
    given_world = _settled()
    placed = placement(given_world, solve, parse_suppositions(texts, given_world.policy))
    gone = {text.partition(":")[2] for text in texts if text.startswith(("down:", "drain:"))}
    for key, found in placed.rows.items():
        lawful = {ONPREM} if key.policy == "records" else {ONPREM, EU, US}
        assert found.shares.keys() <= lawful - gone
        if lawful - gone:
            assert sum(found.shares.values()) == pytest.approx(1)
        else:
            assert found.outcome in {Outcome.REFUSED, Outcome.HELD_ALL_DOWN}
    assert math.isfinite(placed.usd_per_hour)
    assert placed.usd_per_hour >= 0
