"""What the simulated fleet does to requests: every figure can be worked out by hand."""

import math

import pytest

from penstock.replay.faults import CapacityLoss, Outage, PriceMove
from penstock.replay.scenario import Scenario
from penstock.replay.simulator import Simulator, Tally
from tests.replay.replaying import scenario, steady

ONPREM = {"onprem": ("onprem", "cloud")}
CLOUD = {"cloud": ("cloud", "onprem")}


def replayed(made: Scenario, name: str = "onprem", legs: dict[str, tuple[str, ...]] | None = None) -> Tally:
    """Everything to one cluster, whatever happens."""
    simulator = Simulator(made)
    for row in range(len(made.rows)):
        simulator.route(row, {name: 1.0}, legs or (ONPREM if name == "onprem" else CLOUD))
    for change in made.changes():
        simulator.run_until(change)
        simulator.refresh(change)
    simulator.finish()
    return simulator.tally


def test_tokens_are_paid_for_at_the_price_of_the_moment() -> None:
    tally = replayed(scenario(steady(10, 10, prompt=1000, output=100)))
    assert tally.cost_usd == pytest.approx(10 * (100 + 0.5 * 1000) * 1.0 / 1e6)
    moved = replayed(scenario(steady(10, 10, prompt=0, output=100), faults=(PriceMove("onprem", 50, math.inf, 3.0),)))
    assert moved.cost_usd == pytest.approx((5 * 1 + 5 * 3) * 100 / 1e6)


def test_an_idle_engine_is_faster_than_a_full_one_and_a_weak_one_slower() -> None:
    alone = replayed(scenario(steady(1, 1, prompt=1000, output=1)))
    # 1000 prompt tokens at 20 000 a second over two endpoints take a tenth of a second when full, 60 % of it when idle.
    assert alone.ttft == pytest.approx([0.03 + 0.6 * 0.1 + 0.002])
    weak = replayed(scenario(steady(2, 20, prompt=1000, output=1), faults=(CapacityLoss("onprem", 10, 30, 0.5),)))
    assert weak.ttft[1] == pytest.approx(0.03 + 2 * 0.6 * 0.1 + 0.002)


def test_engines_of_ones_own_queue_and_an_api_refuses_and_envoy_goes_on_to_the_next() -> None:
    burst = steady(15, 0.001, output=2000)
    queued = replayed(scenario(burst))
    assert (queued.served["onprem"], queued.unserved) == (15, 0)
    assert sum(1 for seconds in queued.ttft if seconds > 10) == queued.slo_missed == 5
    refused = replayed(scenario(burst), "cloud")
    assert refused.served == {"cloud": 10, "onprem": 5}
    assert refused.failovers == 5


def test_an_outage_cuts_off_what_has_begun_and_the_stand_in_serves_the_rest() -> None:
    made = scenario(steady(10, 10, output=400), faults=(Outage("onprem", 35, 65),))
    tally = replayed(made)
    assert tally.interrupted == 1
    assert tally.served == {"onprem": 7, "cloud": 3}
    assert tally.unserved == 0


def test_without_a_stand_in_requests_of_an_outage_are_unserved_and_cost_nothing() -> None:
    tally = replayed(
        scenario(steady(10, 10, output=20), faults=(Outage("onprem", 35, 65),)), legs={"onprem": ("onprem",)}
    )
    assert (tally.unserved, tally.slo_missed, tally.served["onprem"]) == (3, 3, 7)


def test_a_breach_of_residency_is_counted() -> None:
    made = scenario(steady(100, 1), chat=50)
    assert replayed(made).residency_breaches == 0
    restricted = sum(1 for row in made.row if made.rows[row].policy == "records")
    assert replayed(made, "cloud").residency_breaches == restricted > 0
