"""The yardstick: it must be hard to beat, and keep to what the policy asks of the engine."""

import math

import pytest

from penstock.replay.clairvoyant import Clairvoyant
from penstock.replay.faults import CapacityLoss, Outage, PriceMove
from penstock.replay.planned import PlannedSlots
from penstock.replay.queueing import speed
from penstock.replay.run import run_one
from penstock.replay.scenario import Scenario
from penstock.replay.simulator import Simulator
from penstock.replay.trace import Request
from penstock_policies.engine.latency import wait95
from penstock_policies.observations import Observations
from tests.replay.replaying import fleet_text, random_arrivals, scenario, steady

LIGHT = random_arrivals(300, 0.2)
MIDDLING = random_arrivals(300, 0.9)
HEAVY = random_arrivals(300, 1.6)
SHORT = random_arrivals(120, 1.2)


def in_flight(made: Scenario) -> tuple[float, int]:
    """Mean and greatest number of requests on-prem under the clairvoyant, after the first half minute."""
    simulator = Simulator(made)
    strategy = Clairvoyant(made, simulator.queues)
    seen = []
    for now in strategy.moments():
        simulator.run_until(now)
        for key, spread in strategy.decide(now, Observations()).items():
            simulator.route(made.rows.index(key), spread.shares, spread.legs)
        if now > 30:
            seen.append(sum(simulator.queues["onprem"].in_flight(now)))
    return sum(seen) / len(seen), max(seen)


@pytest.mark.parametrize("requests", [LIGHT, MIDDLING, HEAVY, SHORT], ids=["light", "middling", "heavy", "short"])
@pytest.mark.parametrize("rival", ["static_split", "cloud_only", "waterfall", "cheapest_first", "latency_greedy"])
def test_whoever_costs_less_keeps_more_people_waiting(requests: tuple[Request, ...], rival: str) -> None:
    made = scenario(requests, chat=80)
    best, other = run_one(made, "clairvoyant"), run_one(made, rival)
    assert best.residency_breaches == 0
    assert other.cost_usd >= 0.995 * best.cost_usd or other.slo_missed > best.slo_missed


def test_what_fits_goes_where_it_is_cheapest() -> None:
    made = scenario(LIGHT, chat=80)
    assert run_one(made, "clairvoyant").served["cloud"] == 0


def test_clusters_are_filled_to_the_plan_and_no_further() -> None:
    mean, greatest = in_flight(scenario(random_arrivals(600, 1.2), chat=80))
    assert 6.8 < mean < 8.2
    assert greatest <= 14


def test_it_knows_of_a_price_and_an_outage_in_advance() -> None:
    dear = scenario(LIGHT, faults=(PriceMove("onprem", 100, 200, 50.0),))
    assert run_one(dear, "clairvoyant").served_by_bucket["onprem"][2] == 0
    gone = scenario(LIGHT, faults=(Outage("onprem", 100, 200),))
    result = run_one(gone, "clairvoyant")
    assert (result.unserved, result.slo_missed) == (0, 0)
    assert result.failovers <= result.interrupted + 1


def test_a_weak_engine_is_sent_less() -> None:
    whole = run_one(scenario(MIDDLING), "clairvoyant").served["onprem"]
    weak = run_one(scenario(MIDDLING, faults=(CapacityLoss("onprem", 0, math.inf, 0.5),)), "clairvoyant")
    assert weak.served["onprem"] < 0.75 * whole


def test_planned_slots_keep_headroom_and_the_tightest_slo_at_the_speed_of_the_load_they_plan() -> None:
    text = fleet_text(80).replace(
        "capacity: {tokensPerSecond: 200,", "latency: {ttftP95: 600ms}\n  capacity: {tokensPerSecond: 200,"
    )
    made = scenario(steady(10, 1), files={"fleet.yaml": text})
    eligible = dict.fromkeys(made.rows, ("onprem",))
    slots = PlannedSlots(made, eligible)
    tight = slots.of("onprem", 10, 10.0)
    assert 0 < tight < 8
    wait = wait95(tight / 10, 10, 10.0 * speed(tight / 10))
    assert wait == pytest.approx(1.0 - 0.6 - 0.002, abs=0.05)
    assert PlannedSlots(scenario(steady(10, 1)), eligible).of("onprem", 10, 10.0) == pytest.approx(8)
    assert slots.of("onprem", 0, 10.0) == 0
