"""The purse: never more than the day's budget within any day, whatever comes between."""

import random

from hypothesis import given
from hypothesis import strategies as st

from penstock.signals.purse import DAY, Purse


def test_it_begins_empty_and_fills_at_an_even_pace() -> None:
    purse = Purse(24_000, 50, now=0.0)
    assert not purse.take(50, 0.0)
    assert not purse.take(50, purse.period(50) - 1)
    assert purse.take(50, purse.period(50) + 1)


def test_no_more_than_an_hour_of_it_is_saved_up() -> None:
    assert Purse(24_000, 50, now=0.0).held(10 * DAY) == 1000


def test_a_small_budget_still_saves_up_for_one_generation() -> None:
    purse = Purse(1000, 300, now=0.0)
    assert purse.take(300, DAY)


def test_what_was_not_spent_comes_back_and_what_was_beyond_is_paid() -> None:
    purse = Purse(24_000, 50, now=0.0)
    now = 3600.0
    before = purse.held(now)
    assert purse.take(50, now)
    purse.settle(50, 20, now)
    assert purse.held(now) == before - 20
    assert purse.take(50, now)
    purse.settle(50, 80, now)
    assert purse.held(now) == before - 100


def test_a_clock_that_stands_still_or_goes_back_gives_nothing() -> None:
    purse = Purse(24_000, 50, now=1000.0)
    assert purse.held(0.0) == purse.held(1000.0) == 0


@given(
    seed=st.integers(0, 2**16),
    per_day=st.integers(1000, 200_000),
    cost=st.integers(1, 400),
    pauses=st.sampled_from([0.5, 5.0, 60.0, 3600.0]),
    restarts=st.booleans(),
)
def test_within_any_24_hours_no_more_is_spent_than_the_budget(
    seed: int, per_day: int, cost: int, pauses: float, *, restarts: bool
) -> None:
    chance = random.Random(seed)  # noqa: S311 - a test's own
    purse, now = Purse(per_day, cost, 0.0), 0.0
    spent: list[tuple[float, int]] = []
    for _ in range(600):
        # Long silence, bursts of attempts, restarts: whatever it is asked for.
        now += chance.choice([0.0, pauses, pauses * chance.random(), 4 * 3600.0 if chance.random() < 0.02 else 0.0])
        if restarts and chance.random() < 0.05:
            purse = Purse(per_day, cost, now)
        while purse.take(cost, now):
            spent.append((now, cost))
            if len(spent) > 5000:
                break
    for at, _ in spent[:: max(1, len(spent) // 50)]:
        assert sum(tokens for then, tokens in spent if at <= then < at + DAY) <= per_day + 1e-6
