"""What batching gives a cluster that is not full: learnt slowly, planned with in part, and never from guesses."""

from collections.abc import Callable

import pytest

from penstock_policies.decision import Decision, Rung
from penstock_policies.engine import decide
from penstock_policies.engine.problem import problem_of
from penstock_policies.engine.situation import understand
from penstock_policies.engine.speed import Seen, learn_speed, part_of_full, slower_than_declared
from penstock_policies.observations import EngineLoad, Load, Observations
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import PolicySet
from tests.engine.engine_world import EU, ONPREM, START, US, cluster, fleet, onprem, row

SLOTS = 100
RATED = {"capacity": {"concurrency": SLOTS, "tokensPerSecond": 5000}}
OUTPUT = 100.0
FULL = SLOTS * OUTPUT / 5000
"""Seconds a request of 100 generated tokens holds a slot of the full cluster."""


def rated() -> PolicySet:
    return fleet(clusters=(onprem(more=RATED), cluster(EU), cluster(US, region="us-east")))


def served(load: float, seconds: float, now: float) -> Observations:
    """A cluster ``load`` full of requests that take so many seconds and have the same size."""
    in_flight = load * SLOTS
    rate = in_flight / seconds
    return Observations(
        load={"eu-west": {ONPREM: Load(now, in_flight, rate, 0.0, success_rate=rate)}},
        engines={ONPREM: EngineLoad(now, 0.0, in_flight, prompt_tokens=0.0, output_tokens=OUTPUT * rate)},
    )


def after(minutes: float, speed: Callable[[float], float], load: float = 0.5) -> Decision:
    """Let a cluster that takes ``speed(load)`` of its time when full serve for a while."""
    policy, decision = rated(), None
    for second in range(round(minutes * 60)):
        now = START + second
        decision = decide(policy, served(load, speed(load) * FULL, now), Overrides(), decision, now)
    assert decision is not None
    return decision


def work(decision: Decision, load: float, seconds: float) -> float:
    now = decision.at + 1
    problem = problem_of(understand(rated(), served(load, seconds, now), Overrides(), decision, now))
    return next(one for one in problem.rows if one.key == row()).work[ONPREM]


def batching(load: float) -> float:
    return 0.6 + 0.4 * load


def test_what_batching_gives_is_learnt_whatever_the_load_it_is_seen_at() -> None:
    for load in (0.2, 0.5, 0.8):
        known = after(20, batching, load).memory.speed[ONPREM]
        assert part_of_full(known, 0.8) == pytest.approx(batching(0.8), abs=0.03)
        assert part_of_full(known, 0.0) == pytest.approx(0.6, abs=0.15)


def test_most_of_it_is_planned_with_and_nothing_before_it_is_known() -> None:
    fresh = after(1 / 60, batching)
    assert work(fresh, 0.5, batching(0.5) * FULL) == pytest.approx(FULL, rel=0.02)
    learnt = work(after(20, batching), 0.5, batching(0.5) * FULL)
    assert batching(0.85) * FULL < learnt < 0.97 * FULL


def test_a_cluster_slower_than_it_declares_is_believed_at_once() -> None:
    slow = after(2, lambda _: 1.5)
    assert work(slow, 0.5, 1.5 * FULL) == pytest.approx(1.5 * FULL, rel=0.05)


@pytest.mark.parametrize(("seconds", "factor"), [(0.5, None), (1.0, None), (1.09, None), (1.2, 1.2), (1e9, 100.0)])
def test_a_little_slower_may_be_noise(seconds: float, factor: float | None) -> None:
    assert slower_than_declared(Seen(seconds, 1.0, 0.5)) == factor
    assert slower_than_declared(None) is None


def test_a_nearly_full_cluster_and_a_long_pause_teach_nothing() -> None:
    decision = after(10, batching)
    known = decision.memory.speed
    policy = rated()
    assert learn_speed(policy, {ONPREM: Seen(0.1, 1.0, 0.95)}, decision, decision.at + 1) == known
    assert learn_speed(policy, {}, decision, decision.at + 3600) == known


def test_times_that_cannot_be_of_the_same_requests_are_not_taken_for_speed() -> None:
    known = after(20, lambda _: 0.01).memory.speed[ONPREM]
    assert part_of_full(known, 0.0) == pytest.approx(0.3)


def test_requests_of_tokens_without_a_declared_rate_take_the_time_they_are_seen_to_take() -> None:
    """Embeddings generate nothing, and of the first requests after a start none has generated anything yet."""
    policy, decision = rated(), None
    for second in range(30):
        now = START + second
        told = Load(now, 50.0, 100.0, 0.0, success_rate=100.0, prompt_tokens=30_000.0, output_tokens=0.0)
        decision = decide(policy, Observations(load={"eu-west": {ONPREM: told}}), Overrides(), decision, now)
    assert decision is not None
    assert decision.rows[row()].rung is Rung.OPTIMUM
    assert decision.clusters[ONPREM].planned == pytest.approx(50.0, rel=0.05)
