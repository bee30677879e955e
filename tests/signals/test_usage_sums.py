"""Requests added up under names of the policies, and what they were like lately."""

from dataclasses import replace
from typing import Any

import pytest

from penstock.signals.access_log_entries import Ended, parse, read
from penstock.signals.recent_requests import RecentRequests, with_requests
from penstock.signals.usage import Usage, UsageKey
from penstock.signals.usage_sums import METERED_FOR, UsageSums
from penstock_policies.observations import Load
from penstock_policies.policyset import PolicySet
from tests.envoy.fleet import fleet
from tests.signals.log_entries import message

NOW = 1_790_000_000.0
ENTRY = {"prompt": 100, "cached": 40, "output": 20, "stream": 1}
ONE = read(parse(message(ENTRY)).entries[0])
KEY = UsageKey("eu-west", "chat", "public", "llama-3-70b", "onprem-fra")


def sums(policy: PolicySet | None = None) -> UsageSums:
    made = UsageSums()
    made.apply(policy or fleet())
    return made


def request(**changes: Any) -> Ended:
    return ONE._replace(**changes)


def test_requests_of_one_kind_are_one_sum() -> None:
    counted = sums()
    assert counted.add("eu-west", ONE, NOW)
    assert counted.add("eu-west", request(failed=True, metered=False, prompt_tokens=0, cached_tokens=0), NOW)
    assert counted.add("eu-west", request(unmetered=True, metered=False), NOW)
    assert counted.take() == {KEY: Usage(3, 1, 1, 200, 80, 60, 6.0)}
    assert counted.take() == {}
    assert counted.totals == {("chat", "onprem-fra"): Usage(3, 1, 1, 200, 80, 60, 6.0)}


def test_kinds_are_told_apart_by_region_policy_and_cluster() -> None:
    counted = sums()
    counted.add("eu-west", ONE, NOW)
    counted.add("us-east", ONE, NOW)
    counted.add("eu-west", request(cluster="cloud-eu-west"), NOW)
    counted.add("eu-west", request(cluster=""), NOW)
    counted.add("eu-west", request(route="restricted/records/*"), NOW)
    assert set(counted.take()) == {
        KEY,
        replace(KEY, region="us-east"),
        replace(KEY, cluster="cloud-eu-west"),
        replace(KEY, cluster=""),
        UsageKey("eu-west", "records", "restricted", "", "onprem-fra"),
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"route": "public/chat/gpt-99"},
        {"route": "internal/chat/llama-3-70b"},
        {"route": "public/nobody/llama-3-70b"},
        {"route": "public:models"},
        {"route": ""},
        {"cluster": "elsewhere"},
        {"route": "restricted/records/*", "cluster": "cloud-us-east"},
    ],
)
def test_what_no_policy_names_is_counted_under_nothing(changes: dict[str, str]) -> None:
    counted = sums()
    assert not counted.add("eu-west", request(**changes), NOW)
    assert counted.take() == {}
    assert counted.metered_regions(NOW) == frozenset()


def test_names_of_the_last_policy_set_are_still_known_for_logs_lag_behind_an_edit() -> None:
    counted = sums()
    counted.add("eu-west", ONE, NOW)
    smaller = fleet()
    smaller = replace(smaller, policies={name: of for name, of in smaller.policies.items() if name != "chat"})
    counted.apply(smaller)
    assert counted.add("eu-west", ONE, NOW)
    assert counted.take() == {KEY: Usage(2, 0, 0, 200, 80, 40, 4.0)}
    counted.apply(smaller)
    assert not counted.add("eu-west", ONE, NOW)


def test_a_region_is_metered_for_five_minutes_after_an_entry() -> None:
    counted = sums()
    assert counted.metered_regions(NOW) == frozenset()
    counted.add("eu-west", ONE, NOW)
    assert counted.metered_regions(NOW + METERED_FOR) == {"eu-west"}
    assert counted.metered_regions(NOW + METERED_FOR + 1) == frozenset()


def test_a_clock_that_was_set_back_keeps_no_silent_region_metered() -> None:
    counted = sums()
    counted.add("eu-west", ONE, NOW)
    assert counted.metered_regions(NOW - 2) == {"eu-west"}
    assert counted.metered_regions(NOW - 3600) == frozenset()


def test_tokens_of_the_load_are_the_mean_request_times_what_is_being_served() -> None:
    counted = sums()
    for _ in range(10):
        counted.add("eu-west", ONE, NOW)
    measured = counted.measured(NOW + 5)["eu-west"]
    # Ten requests ended in the last seconds, and forty a second are being sent: traffic has just risen.
    load = {"onprem-fra": Load(NOW, 80.0, 42.0, 2.0), "cloud-eu-west": Load(NOW, 0.0, 0.0, 0.0)}
    assert with_requests(load, measured) == {
        "onprem-fra": Load(NOW, 80.0, 42.0, 2.0, prompt_tokens=4000.0, output_tokens=800.0),
        "cloud-eu-west": load["cloud-eu-west"],
    }


def test_a_few_clients_that_ask_for_usage_do_not_speak_for_the_others() -> None:
    recent = RecentRequests()
    for number in range(100):
        recent.answered(NOW, 100, 20, metered=number % 3 == 0)
    assert recent.measured(NOW).prompt_tokens is None
    for _ in range(100):
        recent.answered(NOW, 100, 20, metered=True)
    assert recent.measured(NOW).prompt_tokens == 100.0


def test_what_was_a_minute_ago_is_forgotten() -> None:
    recent = RecentRequests()
    for number in range(60):
        recent.answered(NOW + number, 1000, 10, metered=True)
    for number in range(60, 130):
        recent.answered(NOW + number, 10, 10, metered=True)
    assert recent.measured(NOW + 130).prompt_tokens == 10.0
    assert recent.measured(NOW + 300).prompt_tokens is None


def test_a_clock_that_is_set_back_does_not_keep_old_figures() -> None:
    recent = RecentRequests()
    for _ in range(10):
        recent.answered(NOW, 1000, 10, metered=True)
    for _ in range(10):
        recent.answered(NOW - 3600, 10, 10, metered=True)
    assert recent.measured(NOW - 3600).prompt_tokens == 10.0


def test_ninety_five_of_a_hundred_first_tokens() -> None:
    recent = RecentRequests()
    for number in range(1, 101):
        recent.first_token(NOW, number / 100)
    p95 = recent.measured(NOW).ttft_p95
    assert p95 is not None
    assert 0.95 * 0.95 <= p95 <= 0.95 * 1.05


def test_few_first_tokens_say_nothing_of_the_slowest() -> None:
    recent = RecentRequests()
    for _ in range(19):
        recent.first_token(NOW, 0.1)
    assert recent.measured(NOW).ttft_p95 is None


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 86_400.0])
def test_extreme_first_tokens_are_counted_at_the_ends(seconds: float) -> None:
    recent = RecentRequests()
    for _ in range(20):
        recent.first_token(NOW, seconds)
    p95 = recent.measured(NOW).ttft_p95
    assert p95 == pytest.approx(max(seconds, 0.001), rel=0.06)
