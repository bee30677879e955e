"""The beat: a thousand of them stay spread over their interval, whatever holds them up."""

import itertools
import random
from collections import Counter

from penstock.signals.beat import JITTER, Beat


def test_beats_are_an_interval_apart_and_a_little_late() -> None:
    beat, now = Beat(10.0, random.Random(1), 0.0), 0.0  # noqa: S311 - a test's own
    at = []
    for _ in range(100):
        now += beat.wait(now)
        at.append(now)
    gaps = [after - before for before, after in itertools.pairwise(at)]
    assert all(10 * (1 - JITTER) <= gap <= 10 * (1 + JITTER) for gap in gaps)
    assert abs(sum(gaps) / len(gaps) - 10) < 0.1


def test_the_first_beat_comes_within_an_interval() -> None:
    waits = [Beat(10.0, random.Random(seed), 0.0).wait(0.0) for seed in range(200)]  # noqa: S311 - a test's own
    assert 0 <= min(waits) < 1
    assert 9 < max(waits) <= 11


def test_beats_that_were_missed_are_left_out_and_the_phase_is_kept() -> None:
    beat = Beat(10.0, random.Random(1), 0.0)  # noqa: S311 - a test's own
    first = beat.wait(0.0)
    held_up = 95.0
    after = held_up + beat.wait(held_up)
    assert held_up < after <= held_up + 11
    assert abs((after - first) % 10 - 5) > 3.9, "back to its own phase, give or take the jitter"


def test_an_outage_that_held_all_up_leaves_them_spread() -> None:
    chance = random.Random(1)  # noqa: S311 - a test's own
    beats = [Beat(10.0, chance, 0.0) for _ in range(1000)]
    for beat in beats:
        beat.wait(0.0)
    # All come out of one gate in the same moment.
    slots = Counter(int(beat.wait(50.0)) for beat in beats)
    assert max(slots.values()) < 1.4 * 1000 / 10
