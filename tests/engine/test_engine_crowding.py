"""A cluster that holds more or fewer long requests than it was planned to is brought back to its plan, gently."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_policies.engine import decide
from penstock_policies.engine.crowding import towards_plan
from penstock_policies.engine.situation import understand
from penstock_policies.observations import Load, Observations
from penstock_policies.overrides import Overrides
from tests.engine.engine_world import EU, ONPREM, START, US, cluster, fleet, onprem

figures = st.floats(0, 1e6)


def capacity(in_flight: float, rate: float, *, regions: tuple[str, ...] = ("eu-west",)) -> tuple[float, str]:
    policy = fleet(clusters=(onprem(), cluster(EU), cluster(US, region="us-east")), regions=regions)
    load = {"eu-west": {ONPREM: Load(START, in_flight, rate, 0.0, success_rate=rate)}}
    situation = understand(policy, Observations(load=load), Overrides(), None, START)
    return situation.capacity[ONPREM], situation.capacities.limited_by[ONPREM]


def test_long_requests_too_many_make_room_to_plan_smaller_and_say_so() -> None:
    slots, why = capacity(150.0, 7.5)
    assert slots == pytest.approx(136 * (1 - 17 / 40 * (150 - 136) / 136))
    assert "150 in flight, more than planned" in why


def test_long_requests_too_few_make_it_larger_for_a_while() -> None:
    slots, why = capacity(100.0, 5.0)
    assert 136 < slots <= 136 * 1.15
    assert "in flight" not in why


def test_what_a_silent_region_has_in_flight_is_not_taken_for_missing() -> None:
    policy = fleet(regions=("eu-west", "us-east"))
    busy = Load(START, 60.0, 3.0, 0.0, success_rate=3.0)
    both = Observations(load={region: {ONPREM: busy} for region in ("eu-west", "us-east")})
    before = decide(policy, both, Overrides(), None, START)
    later = replace(busy, at=START + 20)
    one = understand(policy, Observations(load={"eu-west": {ONPREM: later}}), Overrides(), before, START + 20)
    assert one.capacity[ONPREM] == pytest.approx(136)
    again = Observations(load={region: {ONPREM: later} for region in ("eu-west", "us-east")})
    assert understand(policy, again, Overrides(), before, START + 20).capacity[ONPREM] > 136


def test_short_requests_are_left_to_themselves() -> None:
    assert capacity(150.0, 75.0)[0] == pytest.approx(136)
    assert capacity(10.0, 5.0)[0] == pytest.approx(136)


def test_a_loop_with_late_reports_comes_to_rest_at_the_plan() -> None:
    for service_time in (4.0, 20.0, 120.0):
        planned, delay = 100.0, 6
        seen = [200.0] * delay
        for _ in range(1200):
            sent = towards_plan(planned, seen[-delay], service_time, raised=True) / service_time
            seen.append(seen[-1] + sent - seen[-1] / service_time)
        assert max(seen[-200:]) - min(seen[-200:]) < 0.1
        assert seen[-1] == pytest.approx(planned, rel=0.01)


@given(planned=figures, in_flight=figures, service_time=figures, raised=st.booleans())
def test_it_never_strays_far(planned: float, in_flight: float, service_time: float, *, raised: bool) -> None:
    corrected = towards_plan(planned, in_flight, service_time, raised=raised)
    assert 0.7 * planned * (1 - 1e-9) <= corrected <= (1.15 if raised else 1.0) * planned * (1 + 1e-9)


@given(st.floats(1, 1e4), figures, figures, st.floats(0, 1e4))
def test_more_in_flight_never_makes_room(planned: float, few: float, more: float, service_time: float) -> None:
    few, more = sorted((few, more))
    assert towards_plan(planned, more, service_time, raised=True) <= towards_plan(
        planned, few, service_time, raised=True
    )
