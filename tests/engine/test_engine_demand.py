"""How demand by row and service times are inferred from what the edges report by cluster."""

import random
from statistics import fmean

import pytest

from penstock_policies.decision import Decision
from penstock_policies.engine import decide
from penstock_policies.observations import EngineLoad, Load, Observations
from penstock_policies.overrides import Overrides
from tests.engine.engine_world import EU, ONPREM, START, US, World, cluster, fleet, onprem, row

RESTRICTED = row("records")


def reported(loads: dict[str, Load], previous: Decision | None = None, now: float = START) -> Decision:
    return decide(fleet(), Observations(load={"eu-west": loads}), Overrides(), previous, now)


def test_rows_that_share_one_cluster_are_taken_for_equals_at_first() -> None:
    decision = reported({ONPREM: Load(START, 20, 20, 0)})
    assert decision.rows[row()].demand == decision.rows[RESTRICTED].demand == 10


def test_rows_are_told_apart_once_their_weights_differ() -> None:
    world = World(fleet(), rates={row(): 280.0, RESTRICTED: 20.0})
    decision = world.run(240)
    assert decision.rows[row()].demand == pytest.approx(280, rel=0.03)
    assert decision.rows[RESTRICTED].demand == pytest.approx(20, rel=0.2)


def test_what_was_learnt_of_the_rows_outlives_a_pause() -> None:
    world = World(fleet(), rates={row(): 280.0, RESTRICTED: 20.0})
    world.run(240)
    rates, world.rates = world.rates, dict.fromkeys(world.rates, 0.0)
    decision = world.run(600)
    assert decision.rows[row()].demand == 0
    world.rates = {key: rate / 3 for key, rate in rates.items()}
    assert world.run(30).rows[RESTRICTED].demand == pytest.approx(20 / 3, rel=0.3)


def test_a_request_retried_elsewhere_counts_once() -> None:
    loads = {ONPREM: Load(START, 0, 40, 40), EU: Load(START, 100, 100, 0)}
    decision = reported(loads)
    assert sum(one.demand for one in decision.rows.values()) == pytest.approx(100)


def test_demand_is_held_while_most_requests_fail() -> None:
    decision = reported({ONPREM: Load(START, 100, 100, 0)})
    later = reported({ONPREM: Load(START + 1, 0, 100, 90)}, decision, START + 1)
    assert later.rows[row()].demand == 50
    assert "demand held, most requests fail" in {note.message for note in later.notes}


def test_a_silent_region_is_unknown_not_idle() -> None:
    decision = reported({ONPREM: Load(START, 100, 100, 0)})
    assert reported({}, decision, START + 100).rows[row()].demand == 50
    expired = reported({ONPREM: Load(START, 100, 100, 0)}, decision, START + 100)
    assert expired.rows[row()].demand == 50


def test_a_cluster_missing_from_a_report_carries_nothing() -> None:
    decision = reported({ONPREM: Load(START, 100, 100, 0)})
    for second in range(1, 120):
        decision = reported({EU: Load(START + second, 0, 0, 0)}, decision, START + second)
    assert decision.rows[row()].demand < 1


def test_service_time_is_in_flight_over_rate() -> None:
    decision = reported({ONPREM: Load(START, 60, 20, 0), EU: Load(START, 5, 5, 0)})
    assert decision.memory.service_time[ONPREM] == 3.0
    assert decision.memory.service_time[EU] == 1.0
    assert decision.memory.service_time[US] == 2.0, "the mean of the others where nothing was measured"


def test_failing_requests_do_not_make_a_cluster_look_fast() -> None:
    decision = reported({ONPREM: Load(START, 60, 20, 0)})
    later = reported({ONPREM: Load(START + 60, 0, 1000, 900)}, decision, START + 60)
    assert later.memory.service_time[ONPREM] == 3.0


def test_a_peak_is_seen_within_seconds_and_forgotten_slowly() -> None:
    world = World(fleet(), rates={row(): 10.0})
    world.run(60)
    world.rates[row()] = 100.0
    assert sum(one.demand for one in world.run(4).rows.values()) > 75
    world.run(60)
    world.rates[row()] = 10.0
    assert sum(one.demand for one in world.run(4).rows.values()) > 60


def test_thin_traffic_is_averaged_over_enough_requests_to_mean_something() -> None:
    world = World(fleet(), rates={row(): 4.0})
    world.run(60)
    world.rates[row()] = 8.0
    assert sum(one.demand for one in world.run(4).rows.values()) < 6


def test_a_busy_cluster_that_never_has_a_request_in_flight_is_quick_not_unmeasured() -> None:
    decision = reported({ONPREM: Load(START, 0, 800, 0)})
    decision = reported({ONPREM: Load(START + 1, 0, 800, 0)}, decision, START + 1)
    assert decision.rows[row()].target[ONPREM] == 1
    assert decision.rows[row()].demand == pytest.approx(400)


def test_time_in_a_queue_is_not_taken_for_work() -> None:
    decision = reported({ONPREM: Load(START, 80, 100, 0, success_rate=100)})
    assert decision.memory.service_time[ONPREM] == pytest.approx(0.8)
    for second in range(1, 121):
        queued = {ONPREM: Load(START + second, 900, 300, 0, success_rate=200)}
        decision = reported(queued, decision, START + second)
    assert decision.memory.service_time[ONPREM] == pytest.approx(0.8, rel=0.01), "160 slots, 200 requests a second"
    draining = reported({ONPREM: Load(START + 121, 300, 0, 0, success_rate=200)}, decision, START + 121)
    assert draining.memory.service_time[ONPREM] == pytest.approx(0.8, rel=0.01)


def test_a_full_cluster_that_completes_nothing_tells_nothing_of_its_work() -> None:
    decision = reported({ONPREM: Load(START, 80, 100, 0, success_rate=100)})
    hung = reported({ONPREM: Load(START + 5, 500, 100, 0, success_rate=0)}, decision, START + 5)
    assert hung.memory.service_time[ONPREM] == pytest.approx(0.8)


def test_a_cluster_first_seen_full_is_taken_to_work_on_no_more_than_it_has_slots_for() -> None:
    decision = reported({ONPREM: Load(START, 900, 300, 0, success_rate=80)})
    assert decision.memory.service_time[ONPREM] == pytest.approx(2.0)


def test_a_cluster_that_drains_does_not_look_slow() -> None:
    decision = reported({ONPREM: Load(START, 80, 100, 0, success_rate=100)})
    drained = reported({ONPREM: Load(START + 5, 40, 0, 0, success_rate=50)}, decision, START + 5)
    assert drained.memory.service_time[ONPREM] == pytest.approx(0.8)


def test_an_engine_that_says_how_many_requests_it_works_on_is_believed() -> None:
    full = EngineLoad(START, waiting=40.0, running=60.0)
    load = {"eu-west": {ONPREM: Load(START, 100, 90, 0, success_rate=30)}}
    decision = decide(fleet(), Observations(load=load, engines={ONPREM: full}), Overrides(), None, START)
    assert decision.memory.service_time[ONPREM] == pytest.approx(2.0)


def test_rows_are_told_apart_though_their_weights_never_rest() -> None:
    world = World(fleet(), rates={row(): 280.0, RESTRICTED: 20.0})
    for second in range(240):
        world.rates[row()] = 280.0 + (30.0 if second // 3 % 2 else -30.0)
        world.tick()
    assert world.tick().rows[RESTRICTED].demand == pytest.approx(20, rel=0.4)


def test_thin_noisy_traffic_is_not_overrated_nor_credited_to_a_row_without_any() -> None:
    chance = random.Random(1)  # noqa: S311 noise, not secrets
    small = onprem(concurrency=12, endpoints=1)
    world = World(fleet(clusters=(small, cluster(EU), cluster(US, region="us-east"))))
    world.service_time = dict.fromkeys((ONPREM, EU, US), 3.0)
    totals: list[float] = []
    phantoms: list[float] = []
    for second in range(1200):
        world.rates = {row(): float(sum(chance.random() < 0.1 for _ in range(46)))}
        decision = world.tick()
        if second >= 600:
            totals.append(sum(one.demand for one in decision.rows.values()))
            phantoms.append(decision.rows[RESTRICTED].demand)
    assert fmean(totals) == pytest.approx(4.6, rel=0.05)
    assert fmean(phantoms) < 0.4
