"""How demand by row and service times are inferred from what the edges report by cluster."""

import pytest

from penstock_policies.decision import Decision
from penstock_policies.engine import decide
from penstock_policies.observations import Load, Observations
from penstock_policies.overrides import Overrides
from tests.engine.engine_world import EU, ONPREM, START, US, World, fleet, row

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
    assert sum(one.demand for one in world.run(4).rows.values()) > 80
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


def test_a_queue_that_is_gone_is_forgotten_at_once() -> None:
    decision = reported({ONPREM: Load(START, 80, 100, 0)})
    assert decision.memory.service_time[ONPREM] == pytest.approx(0.8)
    queued = reported({ONPREM: Load(START + 1, 400, 100, 0)}, decision, START + 1)
    assert queued.memory.service_time[ONPREM] == pytest.approx(4)
    cleared = reported({ONPREM: Load(START + 2, 80, 100, 0)}, queued, START + 2)
    assert cleared.memory.service_time[ONPREM] == pytest.approx(0.8)
