"""The box's arithmetic, at times given by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.demo.sequences import PREFILL_SPEEDUP, ContinuousBatch, QueueFullError


def box(*, slots: int = 2, total: float = 100.0, each: float = 50.0, queue: int = 8) -> ContinuousBatch:
    return ContinuousBatch(
        slots=slots, tokens_per_second=total, sequence_tokens_per_second=each, queue_limit=queue, now=0.0
    )


def test_a_lone_sequence_runs_at_its_own_top_speed() -> None:
    batch = box()
    batch.submit(0.0, prompt_tokens=0, output_tokens=50)
    assert batch.next_departure() == pytest.approx(1.0)
    batch.advance(0.99)
    assert batch.running == 1
    batch.advance(1.0)
    assert batch.running == 0


def test_company_shares_the_throughput_of_the_box() -> None:
    batch = box(slots=4)
    for _ in range(4):
        batch.submit(0.0, prompt_tokens=0, output_tokens=50)
    assert batch.speed == pytest.approx(25.0)
    assert batch.next_departure() == pytest.approx(2.0)


def test_a_longer_prompt_has_its_first_token_later() -> None:
    batch = box(slots=4)
    short = batch.submit(0.0, prompt_tokens=10, output_tokens=5)
    long = batch.submit(0.0, prompt_tokens=1000, output_tokens=5)
    assert batch.time_of(long.token_at(1)) - batch.time_of(short.token_at(1)) == pytest.approx(
        990 / PREFILL_SPEEDUP / 50
    )


def test_the_line_is_served_first_come_first_served_as_slots_come_free() -> None:
    batch = box(slots=1, each=100.0)
    batch.submit(0.0, 0, 100)
    second = batch.submit(0.0, 0, 100)
    third = batch.submit(0.0, 0, 100)
    batch.advance(1.5)
    assert second.started_at == pytest.approx(1.0)
    assert third.started_at is None
    assert second.produced(batch.work) == 50
    batch.advance(2.0)
    assert third.started_at == pytest.approx(2.0)


def test_a_full_line_refuses_and_forgets_nobody() -> None:
    batch = box(slots=1, queue=1)
    batch.submit(0.0, 0, 10)
    waiting = batch.submit(0.0, 0, 10)
    with pytest.raises(QueueFullError):
        batch.submit(0.0, 0, 10)
    batch.cancel(0.0, waiting)
    batch.submit(0.0, 0, 10)
    assert (batch.running, batch.waiting) == (1, 1)


def test_a_cancelled_sequence_makes_room_for_the_next() -> None:
    batch = box(slots=1)
    first = batch.submit(0.0, 0, 1000)
    second = batch.submit(0.0, 0, 10)
    batch.cancel(1.0, first)
    assert second.started_at == pytest.approx(1.0)
    batch.cancel(1.0, first)


def test_a_slowdown_stretches_what_is_left() -> None:
    batch = box()
    batch.submit(0.0, 0, 50)
    batch.slow_down(0.5, 4.0)
    assert batch.next_departure() == pytest.approx(2.5)


def test_nonsense_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        box(slots=0)


@given(
    arrivals=st.lists(st.tuples(st.floats(0, 2), st.integers(0, 500), st.integers(1, 60)), min_size=1, max_size=40),
    slots=st.integers(1, 8),
)
def test_everybody_is_served_in_time_and_never_faster_than_the_box_can(
    arrivals: list[tuple[float, int, int]], slots: int
) -> None:
    batch = box(slots=slots, queue=100)
    now = 0.0
    accepted = []
    for gap, prompt, output in arrivals:
        now += gap
        accepted.append(batch.submit(now, prompt, output))
        assert batch.running <= slots
    work = sum(prompt / PREFILL_SPEEDUP + output for _, prompt, output in arrivals)
    finished = now
    for _ in range(len(accepted) + 1):
        departure = batch.next_departure()
        if departure is None:
            break
        finished = departure
        batch.advance(departure)
    assert batch.running == batch.waiting == 0
    assert all(s.produced(batch.work) == s.output_tokens for s in accepted)
    starts = [s.started_at for s in accepted]
    assert starts == sorted(starts, key=lambda at: at if at is not None else float("inf"))
    assert finished >= work / 100.0 - 1e-6
