"""How much a cluster may be planned to carry: declared, healthy, learnt, within its SLO."""

import math
from itertools import pairwise
from typing import Any

import pytest

from penstock_policies.engine.latency import greatest_utilisation, patience, round_trip, wait95
from penstock_policies.engine.problem import problem_of
from penstock_policies.engine.returning import healthy_slots
from penstock_policies.engine.situation import Situation, understand
from penstock_policies.observations import Load, Observations
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import PolicySet
from tests.engine.engine_world import EU, ONPREM, START, US, World, cluster, fleet, onprem, records, row, traffic


def understood(policy: PolicySet, seen: Observations | None = None) -> Situation:
    return understand(policy, seen or Observations(), Overrides(), None, START)


def one(**more: Any) -> PolicySet:
    return fleet(clusters=(onprem(), cluster(EU, concurrency=100, more=more), cluster(US, region="us-east")))


def with_slo(seconds: float, *, ttft: float, concurrency: int = 100) -> PolicySet:
    eu = cluster(EU, concurrency=concurrency, more={"latency": {"ttftP95": f"{ttft * 1000:.0f}ms"}})
    chat = traffic(clusters=(ONPREM, EU), more={"slo": {"ttftP95": f"{seconds * 1000:.0f}ms"}})
    return fleet(clusters=(onprem(), eu), policies=(chat, records()))


def test_headroom_is_kept_free_by_plan_but_not_counted_as_gone() -> None:
    situation = understood(fleet())
    assert situation.capacity[EU] == pytest.approx(510)
    assert situation.capacities.full[EU] == 600
    assert situation.capacities.limited_by[EU] == "headroom 15%"


def test_unhealthy_endpoints_carry_nothing() -> None:
    world = World(fleet(), failing={f"{ONPREM}-0.example.com:8000"})
    view = world.run(5).clusters[ONPREM]
    assert view.capacity == pytest.approx(80 * 0.85)
    assert view.limited_by == "1 of 2 endpoints unhealthy, headroom 15%"


def test_plans_count_on_a_part_of_a_spot_cluster_only() -> None:
    situation = understood(one(spot={"confidence": "60%"}))
    assert situation.capacities.full[EU] == pytest.approx(60)
    assert situation.capacity[EU] == pytest.approx(51)
    assert problem_of(situation).spot == {EU}
    assert situation.capacities.limited_by[EU].startswith("spot, 60% counted on")


def test_the_full_capacity_of_a_cluster_without_health_is_what_it_declares() -> None:
    assert healthy_slots(cluster(EU), None) == 600


def test_a_tight_slo_lowers_what_may_be_planned() -> None:
    situation = understood(with_slo(0.25, ttft=0.2))
    assert 0 < situation.capacity[EU] < 85
    assert "SLO 250 ms of chat" in situation.capacities.limited_by[EU]
    assert situation.slow == {}


def test_a_loose_slo_changes_nothing() -> None:
    situation = understood(with_slo(5.0, ttft=0.2))
    assert situation.capacity[EU] == pytest.approx(85)
    assert "SLO" not in situation.capacities.limited_by[EU]


def test_a_cluster_too_slow_even_when_idle_is_slow_and_keeps_its_capacity() -> None:
    situation = understood(with_slo(0.15, ttft=0.2))
    assert situation.slow == {("chat", "eu-west"): frozenset({EU})}
    assert situation.capacity[EU] == pytest.approx(85)
    problem = {each.key: each for each in problem_of(situation).rows}
    assert problem[row()].slow == {EU}
    assert problem[row("records")].slow == frozenset()


def test_a_cluster_that_does_not_say_how_fast_it_is_keeps_every_slo_until_full() -> None:
    policy = fleet(policies=(traffic(more={"slo": {"ttftP95": "1ms"}}), records()))
    situation = understood(policy)
    assert situation.slow == {}
    assert situation.capacity[EU] == pytest.approx(510)


def test_the_network_is_part_of_the_time_to_the_first_token() -> None:
    far = cluster(US, region="us-east", more={"latency": {"ttftP95": "100ms", "roundTrip": {"eu-west": "150ms"}}})
    assert patience(far, "eu-west", 0.3) == pytest.approx(0.05)
    assert round_trip(far, "eu-central") == 0.1, "elsewhere, and not declared"
    assert [round_trip(cluster(EU), region) for region in ("eu-west", "eu-central", "us-east")] == [0.002, 0.02, 0.1]


def erlang_c(slots: int, rho: float) -> float:
    """The exact chance to wait in an M/M/c queue, by the recursion of Erlang B."""
    blocked = 1.0
    for number in range(1, slots + 1):
        blocked = slots * rho * blocked / (number + slots * rho * blocked)
    return blocked / (1 - rho * (1 - blocked))


@pytest.mark.parametrize("slots", [1, 4, 16, 64, 160])
@pytest.mark.parametrize("rho", [0.5, 0.7, 0.85, 0.95])
def test_waits_are_never_told_much_shorter_than_the_exact_queue_has_them(slots: int, rho: float) -> None:
    exact = erlang_c(slots, rho)
    longest = max(0.0, 10 / (slots * (1 - rho)) * math.log(exact / 0.05))
    assert wait95(rho, slots, 10.0) >= longest * 0.99


def test_waits_grow_with_load_and_the_greatest_utilisation_keeps_them_in_bounds() -> None:
    waits = [wait95(step / 100, 100, 8.0) for step in range(100)]
    assert waits == sorted(waits)
    assert wait95(1.0, 100, 8.0) == math.inf
    for seconds in (0.0, 0.05, 0.5, 5.0):
        rho = greatest_utilisation(seconds, 100, 8.0)
        assert wait95(rho, 100, 8.0) <= seconds + 1e-6
        assert wait95(min(1.0, rho + 0.01), 100, 8.0) > seconds


def test_no_patience_means_no_use_and_no_slots_carry_nothing() -> None:
    assert greatest_utilisation(-0.1, 100, 1.0) == 0
    assert greatest_utilisation(1.0, 0, 1.0) == 0


@pytest.mark.parametrize(("age", "kept"), [(5.0, 85.0), (30.0, 85.0), (165.0, 75.0), (900.0, 65.0)])
def test_headroom_widens_while_the_load_of_a_cluster_is_unknown(age: float, kept: float) -> None:
    policy = fleet(clusters=(onprem(), cluster(EU, concurrency=100), cluster(US, region="us-east")))
    load = {ONPREM: Load(START, 10, 10, 0), EU: Load(START - age, 50, 50, 0)}
    situation = understood(policy, Observations(load={"eu-west": load}))
    assert situation.capacity[EU] == pytest.approx(kept)


def test_demand_of_a_cluster_whose_report_is_missing_is_held() -> None:
    world = World(fleet(), rates={row(): 280.0, row("records"): 20.0})
    before = sum(each.demand for each in world.run(60).rows.values())
    seen = world.observations()
    stale = {
        name: Load(world.now - (60 if name == EU else 0), 1, load.request_rate, 0)
        for name, load in seen.load["eu-west"].items()
    }
    later = understand(
        world.policy,
        Observations(seen.probes, {"eu-west": stale}, seen.prices),
        Overrides(),
        world.previous,
        world.now + 1,
    )
    assert sum(later.demand.rates.values()) == pytest.approx(before, rel=0.05)


def test_endpoints_that_come_back_are_counted_on_by_and_by() -> None:
    world = World(
        fleet(
            clusters=(onprem(concurrency=160, endpoints=4), cluster(EU)),
            policies=(traffic(clusters=(ONPREM, EU)),),
        ),
        rates={row(): 120.0},
    )
    whole = world.run(60).clusters[ONPREM].capacity
    world.failing = {one.key for one in world.policy.clusters[ONPREM].spec.endpoints[:3]}
    assert world.tick().clusters[ONPREM].capacity == pytest.approx(whole / 4, rel=0.02)
    world.run(20)
    world.failing = set()
    growing = [world.tick().clusters[ONPREM].capacity for _ in range(12)]
    assert growing[0] < whole / 2
    assert all(later <= 1.2 * earlier for earlier, later in pairwise(growing))
    assert growing[-1] == pytest.approx(whole, rel=0.02)


def test_a_policy_that_adds_slots_has_them_at_once() -> None:
    world = World(fleet(), rates={row(): 100.0})
    before = world.run(20).clusters[ONPREM].capacity
    world.policy = fleet(clusters=(onprem(concurrency=320), *list(fleet().clusters.values())[1:]))
    assert world.tick().clusters[ONPREM].capacity == pytest.approx(2 * before)
