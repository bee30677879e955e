"""Rates, restarts and percentiles from counters."""

import math

import pytest

from penstock.signals.engine_figures import Figures
from penstock.signals.engine_readings import LEAST_REQUESTS, WINDOW, Reading, Window, cluster_load, percentile


def figures(prompt: float, output: float, *, running: float = 1.0, waiting: float = 0.0, fast: float = 0) -> Figures:
    return Figures(running, waiting, prompt, output, ttft={0.1: fast, math.inf: fast})


def window(*readings: tuple[float, Figures]) -> Window:
    made = Window()
    for at, each in readings:
        made.add(Reading(at, each))
    return made


def test_rates_are_what_the_counters_grew_by_a_second() -> None:
    load = cluster_load([window((0.0, figures(1000, 10)), (2.0, figures(1400, 30)), (4.0, figures(1800, 90)))])
    assert load is not None
    assert (load.at, load.prompt_tokens, load.output_tokens) == (4.0, 200.0, 20.0)


def test_one_reading_tells_the_queue_but_no_rate() -> None:
    load = cluster_load([window((0.0, figures(1000, 10, waiting=3)))])
    assert load is not None
    assert (load.waiting, load.prompt_tokens, load.ttft_p95) == (3.0, None, None)


def test_a_restarted_engine_counts_anew_and_never_backwards() -> None:
    load = cluster_load([window((0.0, figures(9000, 900)), (2.0, figures(10, 1)), (4.0, figures(30, 3)))])
    assert load is not None
    assert (load.prompt_tokens, load.output_tokens) == (10.0, 1.0)


def test_a_clock_that_was_set_back_makes_no_rate() -> None:
    load = cluster_load([window((100.0, figures(10, 1)), (50.0, figures(90, 9)))])
    assert load is not None
    assert load.prompt_tokens is None


def test_what_is_older_than_the_window_is_forgotten() -> None:
    slow = [(at, figures(at, 0)) for at in range(0, 60, 2)]
    fast = [(60.0 + at, figures(60 + 10 * at, 0)) for at in range(0, int(WINDOW) + 3, 2)]
    load = cluster_load([window(*slow, *fast)])
    assert load is not None
    assert load.prompt_tokens == pytest.approx(10.0)


def test_a_cluster_is_the_sum_of_its_endpoints_and_as_old_as_the_oldest() -> None:
    first = window((0.0, figures(0, 0, waiting=1)), (2.0, figures(20, 2, waiting=1)))
    second = window((0.5, figures(0, 0, waiting=4)), (1.5, figures(30, 3, waiting=4)))
    load = cluster_load([first, second])
    assert load is not None
    assert (load.at, load.waiting, load.prompt_tokens, load.output_tokens) == (1.5, 5.0, 40.0, 4.0)


def test_a_rate_of_some_endpoints_is_not_taken_for_that_of_all() -> None:
    first = window((0.0, figures(0, 0)), (2.0, figures(20, 2)))
    load = cluster_load([first, window((2.0, figures(500, 50)))])
    assert load is not None
    assert (load.running, load.prompt_tokens, load.output_tokens) == (2.0, None, None)


def test_of_nothing_there_is_nothing_to_say() -> None:
    assert cluster_load([]) is None
    assert cluster_load([Window()]) is None


def test_a_percentile_is_found_within_its_bucket() -> None:
    buckets = {0.1: 50.0, 0.2: 100.0, math.inf: 100.0}
    assert percentile(buckets, 0.95) == pytest.approx(0.19)
    assert percentile({0.1: 10.0, math.inf: 100.0}, 0.95) == 0.1
    assert percentile({0.1: LEAST_REQUESTS - 1.0, math.inf: LEAST_REQUESTS - 1.0}, 0.95) is None
    assert percentile({}, 0.95) is None


def test_the_time_to_the_first_token_is_of_the_window_alone() -> None:
    before = Figures(0, 0, 0, 0, ttft={0.1: 10_000.0, 1.0: 10_000.0, math.inf: 10_000.0})
    after = Figures(0, 0, 0, 0, ttft={0.1: 10_000.0, 1.0: 10_100.0, math.inf: 10_100.0})
    load = cluster_load([window((0.0, before), (2.0, after))])
    assert load is not None
    assert load.ttft_p95 == pytest.approx(0.1 + 0.9 * 0.95)


def test_what_one_endpoint_does_not_tell_is_unknown_of_the_cluster() -> None:
    whole = window((0.0, figures(0, 0, waiting=1)), (2.0, figures(20, 2, waiting=1)))
    part = window((0.0, Figures(running=4.0, output_tokens=0.0)), (2.0, Figures(running=4.0, output_tokens=6.0)))
    load = cluster_load([whole, part])
    assert load is not None
    assert (load.running, load.output_tokens) == (5.0, 4.0)
    assert (load.waiting, load.prompt_tokens) == (None, None)


def test_a_figure_that_is_new_on_the_page_has_no_rate_yet() -> None:
    load = cluster_load([window((0.0, Figures(running=1.0)), (2.0, Figures(running=1.0, prompt_tokens=900.0)))])
    assert load is not None
    assert load.prompt_tokens is None


def test_a_histogram_that_counts_by_new_bounds_begins_anew() -> None:
    before = Figures(running=1.0, ttft={0.1: 50.0, math.inf: 50.0})
    after = Figures(running=1.0, ttft={0.5: 100.0, math.inf: 100.0})
    load = cluster_load([window((0.0, before), (2.0, after))])
    assert load is not None
    assert load.ttft_p95 is None


def test_histograms_of_endpoints_with_other_bounds_are_added_where_they_agree() -> None:
    none, other = {0.1: 0.0, 1.0: 0.0, math.inf: 0.0}, {1.0: 0.0, math.inf: 0.0}
    first = window((0.0, Figures(ttft=none)), (2.0, Figures(ttft={0.1: 30.0, 1.0: 50.0, math.inf: 50.0})))
    second = window((0.0, Figures(ttft=other)), (2.0, Figures(ttft={1.0: 45.0, math.inf: 50.0})))
    load = cluster_load([first, second])
    assert load is not None
    assert load.ttft_p95 == pytest.approx(1.0)
