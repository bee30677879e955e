"""What overload teaches of a cluster's capacity, and how it is forgotten."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from penstock_policies.decision import Decision
from penstock_policies.engine import decide
from penstock_policies.engine.trim import LEAST_TRIM
from penstock_policies.observations import EngineLoad, Load, Observations
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import PolicySet
from tests.engine.engine_world import ONPREM, START, fleet, onprem, records, traffic

SLOTS = 100


def lone(**more: Any) -> PolicySet:
    return fleet(clusters=(onprem(concurrency=SLOTS),), policies=(traffic(clusters=(ONPREM,), more=more), records()))


def trims(
    seconds: int,
    *,
    load: Mapping[str, Any],
    engine: Mapping[str, float] | None = None,
    previous: Decision | None = None,
    policy: PolicySet | None = None,
) -> Decision:
    """Show the same load second by second."""
    policy = policy or lone()
    start = previous.at if previous is not None else START
    decision = previous
    for second in range(1, seconds + 1):
        now = start + second
        fixed = {"request_rate": 50.0, "error_rate": 0.0, "success_rate": 50.0, **load}
        engines = {ONPREM: EngineLoad(now, **engine)} if engine is not None else {}
        seen = Observations(load={"eu-west": {ONPREM: Load(now, **fixed)}}, engines=engines)
        decision = decide(policy, seen, Overrides(), decision, now)
    assert decision is not None
    return decision


def test_a_cluster_that_keeps_up_is_not_trimmed() -> None:
    decision = trims(60, load={"in_flight": 60.0}, engine={"waiting": 0.0, "running": 60.0})
    assert decision.clusters[ONPREM].trim == 1.0
    assert decision.memory.trim == {}


def test_requests_that_wait_below_the_declared_concurrency_teach_the_true_one() -> None:
    decision = trims(60, load={"in_flight": 95.0}, engine={"waiting": 35.0, "running": 60.0})
    view = decision.clusters[ONPREM]
    assert view.trim == pytest.approx(0.6, abs=0.01)
    assert view.capacity == pytest.approx(SLOTS * view.trim * 0.85)
    assert "overload taught to use 60%" in view.limited_by


def test_it_shrinks_within_seconds_and_grows_back_by_two_percent_in_half_a_minute() -> None:
    low = trims(60, load={"in_flight": 95.0}, engine={"waiting": 35.0, "running": 60.0})
    clean = trims(30, load={"in_flight": 30.0}, engine={"waiting": 0.0, "running": 30.0}, previous=low)
    assert clean.clusters[ONPREM].trim == pytest.approx(low.clusters[ONPREM].trim + 0.02, abs=0.002)
    healed = trims(700, load={"in_flight": 30.0}, engine={"waiting": 0.0, "running": 30.0}, previous=low)
    assert healed.memory.trim == {}


def test_a_burst_in_the_queue_teaches_nothing() -> None:
    decision = trims(60, load={"in_flight": 62.0}, engine={"waiting": 2.0, "running": 60.0})
    assert decision.clusters[ONPREM].trim == 1.0


def test_first_tokens_that_are_late_under_plan_teach_that_the_plan_is_too_much() -> None:
    policy = lone(slo={"ttftP95": "500ms"})
    policy = replace(
        policy,
        clusters={
            ONPREM: onprem(concurrency=SLOTS, more={"latency": {"ttftP95": "100ms", "roundTrip": {"eu-west": "0s"}}})
        },
    )
    decision = trims(
        60, load={"in_flight": 60.0}, engine={"waiting": 0.0, "running": 60.0, "ttft_p95": 2.0}, policy=policy
    )
    assert 0.5 < decision.clusters[ONPREM].trim < 0.8


def test_late_first_tokens_at_little_load_are_not_the_loads_doing() -> None:
    policy = lone(slo={"ttftP95": "500ms"})
    decision = trims(
        60, load={"in_flight": 5.0}, engine={"waiting": 0.0, "running": 5.0, "ttft_p95": 2.0}, policy=policy
    )
    assert decision.clusters[ONPREM].trim == 1.0


def test_a_quota_that_refuses_some_requests_lowers_the_capacity() -> None:
    decision = trims(60, load={"in_flight": 50.0, "error_rate": 10.0, "success_rate": 40.0})
    assert decision.clusters[ONPREM].trim == pytest.approx(0.4, abs=0.02)


def test_it_never_falls_below_a_tenth() -> None:
    decision = trims(300, load={"in_flight": 50.0}, engine={"waiting": 50.0, "running": 0.0})
    assert decision.clusters[ONPREM].trim == pytest.approx(LEAST_TRIM)
    assert decision.clusters[ONPREM].capacity > 0


def test_a_fleet_knowingly_overloaded_learns_nothing_of_it() -> None:
    decision = trims(120, load={"in_flight": 400.0, "request_rate": 400.0, "success_rate": 100.0})
    assert decision.clusters[ONPREM].trim == pytest.approx(1.0)


def test_a_queue_that_no_engine_tells_of_lowers_the_capacity_bit_by_bit() -> None:
    calm = trims(60, load={"in_flight": 50.0})
    full = {"in_flight": 130.0, "request_rate": 70.0, "success_rate": 140.0}
    queued = trims(30, load=full, previous=calm)
    assert 0.85 < queued.clusters[ONPREM].trim < 0.95
    assert trims(30, load={"in_flight": 50.0}, previous=queued).clusters[ONPREM].trim > queued.clusters[ONPREM].trim


def test_a_full_engine_that_works_on_more_again_is_believed_as_fast() -> None:
    low = trims(60, load={"in_flight": 95.0}, engine={"waiting": 45.0, "running": 50.0})
    high = trims(60, load={"in_flight": 120.0}, engine={"waiting": 30.0, "running": 90.0}, previous=low)
    assert high.clusters[ONPREM].trim == pytest.approx(0.9, abs=0.02)


def test_a_short_queue_in_an_idle_engine_teaches_nothing() -> None:
    decision = trims(60, load={"in_flight": 8.0}, engine={"waiting": 4.0, "running": 4.0})
    assert decision.clusters[ONPREM].trim == 1.0


def test_what_was_learnt_is_carried_on_while_nothing_is_heard() -> None:
    low = trims(60, load={"in_flight": 95.0}, engine={"waiting": 35.0, "running": 60.0})
    silent = decide(lone(), Observations(), Overrides(), low, low.at + 5)
    assert silent.clusters[ONPREM].trim == pytest.approx(low.clusters[ONPREM].trim, abs=0.01)
