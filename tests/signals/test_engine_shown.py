"""What an engine's pages come to for people."""

import pytest

from penstock.signals.engine_figures import Figures
from penstock.signals.engine_readings import Reading, Window
from penstock.signals.engine_shown import shown


def window(*readings: Figures) -> Window:
    made = Window()
    for number, figures in enumerate(readings):
        made.add(Reading(1000.0 + 2 * number, figures))
    return made


def test_nothing_read_is_nothing_shown() -> None:
    assert shown([]) is None
    assert shown([Window()]) is None


def test_shares_and_percentiles_are_of_the_last_seconds_not_since_the_start() -> None:
    buckets = {0.1: 900.0, 1.0: 1000.0, float("inf"): 1000.0}
    later = {0.1: 900.0, 1.0: 1100.0, float("inf"): 1100.0}
    told = shown(
        [
            window(
                Figures(prefix_hits=900, prefix_lookups=1000, ttft=buckets),
                Figures(prefix_hits=910, prefix_lookups=1100, ttft=later, kv_used=0.5),
            )
        ]
    )
    assert told is not None
    assert told.prefix_hit_share == pytest.approx(0.1)
    assert told.ttft_p50 == pytest.approx(0.55)
    assert told.ttft_p95 == pytest.approx(0.955)
    assert told.inter_token_p95 is None
    assert told.kv_used == 0.5


def test_of_several_endpoints_queues_add_up_and_the_fullest_cache_counts() -> None:
    one = window(Figures(waiting=2, running=5, kv_used=0.2, ready=True, revision="v1", models=("a",)))
    two = window(Figures(waiting=3, running=6, kv_used=0.9, ready=False, revision="v2", models=("a", "b")))
    told = shown([one, two])
    assert told is not None
    assert (told.waiting, told.running, told.kv_used) == (5, 11, 0.9)
    assert told.ready is False
    assert (told.revisions, told.models) == (("v1", "v2"), ("a", "b"))


def test_what_one_of_them_does_not_tell_is_unknown_and_not_the_others_alone() -> None:
    told = shown([window(Figures(waiting=2, running=5, prefix_hit_rate=0.4)), window(Figures(running=5))])
    assert told is not None
    assert (told.waiting, told.running, told.prefix_hit_share, told.ready) == (None, 10, None, None)


def test_an_engine_that_reckons_its_hit_rate_itself_is_taken_by_its_word() -> None:
    told = shown([window(Figures(prefix_hit_rate=0.4)), window(Figures(prefix_hit_rate=0.6))])
    assert told is not None
    assert told.prefix_hit_share == pytest.approx(0.5)
