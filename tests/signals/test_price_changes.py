"""Frozen figures: when they begin to count as stale, and when no more."""

import pytest

from penstock.signals.price_changes import Changes, Times

MAX_AGE = 600.0
MAX_UNCHANGED = 3600.0


def _look(changes: Changes, now: float, **figures: float) -> Times:
    return changes.times(figures, figures.keys(), now)


@pytest.mark.parametrize("max_unchanged", [MAX_AGE, MAX_UNCHANGED])
def test_a_figure_is_too_old_from_max_unchanged_after_its_last_change_and_not_before(max_unchanged: float) -> None:
    changes = Changes(MAX_AGE, max_unchanged)
    for now in range(0, 2 * int(max_unchanged), 60):
        times = _look(changes, now, a=0.9)
        assert (now - times.at["a"] > MAX_AGE) is (now > max_unchanged) is ("a" in times.frozen)


def test_a_change_makes_a_frozen_figure_fresh_and_times_never_run_backward() -> None:
    changes = Changes(MAX_AGE, MAX_UNCHANGED)
    seen = [_look(changes, now, a=0.9 if now < 5000 else 0.8) for now in range(0, 9000, 60)]
    times = [one.at["a"] for one in seen]
    assert times == sorted(times)
    assert seen[-1].at["a"] == 8940 - (8940 - 5040 - (MAX_UNCHANGED - MAX_AGE))
    assert seen[5040 // 60].at["a"] == 5040


def test_without_a_limit_a_figure_may_stay_as_it_is() -> None:
    changes = Changes(MAX_AGE, None)
    _look(changes, 0, a=0.9)
    assert _look(changes, 1e6, a=0.9) == Times({"a": 1e6}, frozenset())


def test_each_figure_counts_for_itself_and_one_that_comes_back_as_it_was_has_not_moved() -> None:
    changes = Changes(MAX_AGE, MAX_UNCHANGED)
    wanted = {"a", "b"}
    changes.times({"a": 1.0, "b": 2.0}, wanted, 0)
    changes.times({"a": 1.1}, wanted, 3000)
    assert changes.times({"a": 1.1, "b": 2.0}, wanted, 4000).frozen == {"b"}
