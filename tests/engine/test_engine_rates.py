"""Prices of machines' time and of electricity, as prices of tokens."""

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from penstock_policies.decision import Decision
from penstock_policies.engine import decide
from penstock_policies.engine.objective import usd_of_request
from penstock_policies.engine.pace import learn_paces, pace_of
from penstock_policies.engine.speed import Seen
from penstock_policies.observations import Load, Observations, Price, Rate
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import PolicySet
from penstock_policies.schema import CostFeed
from penstock_policies.serial import from_json, to_json
from tests.engine.engine_world import EU, ONPREM, START, US, World, cluster, fleet, onprem, row, traffic

RATED = {"capacity": {"concurrency": 600, "tokensPerSecond": 20_000, "gpus": 8, "instances": 2}}
POWER = {"power": {"idleKw": 4.0, "loadedKw": 10.0, "pue": 1.3}}


def feed(unit: str, *, max_age: str = "10m") -> CostFeed:
    spec = {
        "type": "file",
        "path": "x.json",
        "refresh": "1s",
        "maxAge": max_age,
        "map": [{"pointer": "/x", "key": EU, "unit": unit}],
    }
    return CostFeed.model_validate(
        {"apiVersion": "penstock/v1", "kind": "CostFeed", "metadata": {"name": "cloud-prices"}, "spec": spec}
    )


def priced_by(unit: str, *, price: float | None = None, more: Mapping[str, Any] | None = None) -> PolicySet:
    eu = cluster(EU, price=price, more={**RATED, **POWER, **(more or {})})
    return fleet(clusters=(onprem(), eu, cluster(US, region="us-east", price=1.0, feed=None)), feeds=(feed(unit),))


def told(usd: float, per: str, *, policy: PolicySet, previous: Decision | None = None, now: float = START) -> Decision:
    seen = Observations(rates={"cloud-prices": {EU: Rate(now, usd, per)}})
    return decide(policy, seen, Overrides(), previous, now)


def whys(decision: Decision) -> list[object]:
    return [note.fields["why"] for note in decision.notes if note.message == "price refused"]


@pytest.mark.parametrize(
    ("unit", "told_by_feed", "price", "hourly", "source"),
    [
        (
            "usdPerGpuHour",
            (3.0, "GPU-hour"),
            24 / 72,
            24.0,
            "feed cloud-prices: 3 USD/GPU-hour x 8 at 20000 tokens/s declared",
        ),
        ("usdPerHour", (12.0, "hour"), 24 / 72, 24.0, "feed cloud-prices: 12 USD/hour x 2 at 20000 tokens/s declared"),
        (
            "perMwh",
            (0.12, "kWh"),
            0.936 / 72,
            None,
            "feed cloud-prices: 0.12 USD/kWh x 7.8 kW at 20000 tokens/s declared",
        ),
    ],
)
def test_an_hour_becomes_tokens_by_what_a_full_cluster_makes(
    unit: str, told_by_feed: tuple[float, str], price: float, hourly: float | None, source: str
) -> None:
    view = told(*told_by_feed, policy=priced_by(unit)).clusters[EU]
    assert view.price == pytest.approx(price)
    assert (view.price_source, view.price_age, view.usd_per_hour) == (source, 0.0, hourly)


def test_the_explanation_of_a_row_names_a_price_of_tokens() -> None:
    decision = told(0.03, "GPU-hour", policy=priced_by("usdPerGpuHour"))
    assert "cloud-eu-west" in next(row.reason for key, row in decision.rows.items() if key.policy == "chat")
    assert decision.clusters[EU].price < 0.02


@pytest.mark.parametrize(
    ("capacity", "cost", "ratio"),
    [
        ({"promptTokensPerSecond": 200_000}, {}, 0.1),
        ({"promptTokensPerSecond": 200_000}, {"promptPriceRatio": "30%"}, None),
        ({}, {}, None),
    ],
)
def test_a_prompt_token_costs_the_time_it_takes_unless_the_policy_says_otherwise(
    capacity: dict[str, Any], cost: dict[str, Any], ratio: float | None
) -> None:
    more = {"capacity": {**RATED["capacity"], **capacity}, "cost": {"feed": "cloud-prices", "key": EU, **cost}}
    policy = priced_by("usdPerGpuHour", more=more)
    view = told(3.0, "GPU-hour", policy=policy).clusters[EU]
    assert view.prompt_price_ratio == (None if ratio is None else pytest.approx(ratio))


def test_a_full_hour_of_any_mix_comes_to_the_price_of_the_hour() -> None:
    more = {"capacity": {**RATED["capacity"], "promptTokensPerSecond": 100_000}}
    policy = priced_by("usdPerGpuHour", more=more)
    view = told(3.0, "GPU-hour", policy=policy).clusters[EU]
    # Half of each second generates, half reads.
    tokens = (100_000 * 1800.0, 20_000 * 1800.0)
    usd = usd_of_request(policy.clusters[EU], view.price, tokens, view.prompt_price_ratio)
    assert usd == pytest.approx(24.0)


@pytest.mark.parametrize("usd", [math.nan, -3.0, 0.0, 2e4])
def test_absurd_hours_are_refused_and_the_last_good_one_holds(usd: float) -> None:
    policy = priced_by("usdPerGpuHour")
    good = told(3.0, "GPU-hour", policy=policy)
    later = told(usd, "GPU-hour", policy=policy, previous=good, now=START + 60)
    assert later.clusters[EU].price == pytest.approx(24 / 72)
    assert len(whys(later)) == 1


def test_electricity_may_be_worth_nothing_or_less_and_tokens_are_then_free() -> None:
    policy = priced_by("perMwh")
    decision = told(0.08, "kWh", policy=policy)
    for second, usd in enumerate([0.0, -0.05, -0.5, 0.3]):
        decision = told(usd, "kWh", policy=policy, previous=decision, now=START + 60 * (second + 1))
        assert whys(decision) == []
        assert decision.clusters[EU].price == pytest.approx(max(0.0, usd) * 7.8 / 72)


@pytest.mark.parametrize("usd", [math.inf, -2.5, 80.0])
def test_electricity_beyond_any_market_is_refused(usd: float) -> None:
    policy = priced_by("perMwh")
    decision = told(usd, "kWh", policy=policy, previous=told(0.08, "kWh", policy=policy), now=START + 60)
    assert decision.clusters[EU].price == pytest.approx(0.08 * 7.8 / 72)
    assert whys(decision)


def test_a_spike_of_electricity_is_believed_after_a_quarter_of_an_hour() -> None:
    policy = priced_by("perMwh")
    policy = replace(policy, feeds={"cloud-prices": feed("perMwh", max_age="2h")})
    decision = told(-0.4, "kWh", policy=policy)
    for minute in range(1, 17):
        decision = told(3.0, "kWh", policy=policy, previous=decision, now=START + 60 * minute)
        believed = decision.clusters[EU].price > 0
        assert believed is (minute >= 16)


def test_the_first_hour_is_held_against_the_declared_price_of_tokens() -> None:
    policy = priced_by("usdPerGpuHour", price=0.3)
    assert told(3.0, "GPU-hour", policy=policy).clusters[EU].price == pytest.approx(24 / 72)
    mixed_up = told(300.0, "GPU-hour", policy=policy)
    assert mixed_up.clusters[EU].price_source == "policy"
    assert whys(mixed_up) == ["too far from the declared price"]


def test_a_figure_of_another_unit_is_another_figure() -> None:
    by_hour = told(24.0, "hour", policy=priced_by("usdPerHour"))
    policy = priced_by("usdPerGpuHour")
    silent = decide(policy, Observations(), Overrides(), by_hour, START + 1)
    assert silent.clusters[EU].price_source == "unknown, taken for the dearest"
    # What the board still holds of the old unit is not taken for the new one.
    stale = told(24.0, "hour", policy=policy, previous=by_hour, now=START + 1)
    assert stale.clusters[EU].price_source == "unknown, taken for the dearest"


def test_a_stale_hour_moves_no_traffic() -> None:
    policy = priced_by("usdPerGpuHour")
    good = told(3.0, "GPU-hour", policy=policy)
    later = decide(policy, Observations(), Overrides(), good, START + 700)
    assert later.clusters[EU].price_source.startswith("feed cloud-prices (stale): 3 USD/GPU-hour")
    declared = priced_by("usdPerGpuHour", price=0.4)
    good = told(3.0, "GPU-hour", policy=declared)
    assert decide(declared, Observations(), Overrides(), good, START + 700).clusters[EU].price_source == "policy"


# What is measured of the pace.


def paces(
    loads: list[float], slow: float, *, seconds: float = 6 * 3600.0, previous: Decision | None = None
) -> Decision:
    """Look at a cluster for a time at each load, at which it takes ``slow`` times as long as it declares."""
    policy = priced_by("usdPerGpuHour")
    decision = previous or told(3.0, "GPU-hour", policy=policy)
    for load in loads:
        for _ in range(int(seconds / 5)):
            seen = {EU: Seen(slow, 1.0, load)}
            known = learn_paces(policy, seen, {}, decision, decision.at + 5)
            decision = replace(decision, at=decision.at + 5, memory=replace(decision.memory, paces=known))
    return decision


def test_a_cluster_slower_than_declared_makes_dearer_tokens_by_and_by() -> None:
    policy, decision = priced_by("usdPerGpuHour"), paces([0.8], 1.5)
    seen = told(3.0, "GPU-hour", policy=policy, previous=decision, now=decision.at + 1)
    view = seen.clusters[EU]
    assert view.price == pytest.approx(1.5 * 24 / 72, rel=0.05)
    assert view.price_source.endswith("tokens/s measured")
    minute = paces([0.8], 1.5, seconds=60)
    assert pace_of(minute.memory.paces[EU])[0] < 1.05


@pytest.mark.parametrize("load", [0.3, 0.49, 0.96, 1.0])
def test_an_idle_or_an_overloaded_cluster_says_nothing_of_a_full_one(load: float) -> None:
    assert EU not in paces([load], 3.0, seconds=600).memory.paces


def test_the_price_of_a_cluster_that_traffic_has_left_stays_for_hours_so_that_nothing_swings() -> None:
    policy, slow = priced_by("usdPerGpuHour"), paces([0.8], 1.5)
    learnt = pace_of(slow.memory.paces[EU])[0]
    held = learn_paces(policy, {}, {}, slow, slow.at + 3600)
    assert pace_of(held[EU])[0] == pytest.approx(learnt, rel=0.02)
    weeks = learn_paces(policy, {}, {}, slow, slow.at + 30 * 86400)
    assert pace_of(weeks[EU])[0] == pytest.approx(1.0, rel=0.02)


def test_batching_gain_is_no_pace() -> None:
    """A half-full engine is faster than a full one; that must not make its tokens cheaper."""
    policy = priced_by("usdPerGpuHour")
    decision = told(3.0, "GPU-hour", policy=policy)
    gain = {EU: (100.0, 50.0)}
    at_half = 1.0 - (1.0 - (1.0 - 50.0 / 105.0)) * 0.5
    known = learn_paces(policy, {EU: Seen(at_half, 1.0, 0.5)}, gain, decision, START + 5)
    assert known[EU][1] / known[EU][0] == pytest.approx(1.0)


def test_a_decision_with_paces_and_ratios_reads_back_the_same() -> None:
    decision = paces([0.8], 1.5, seconds=60)
    assert decision.clusters[EU].usd_per_hour == 24.0
    assert from_json(to_json(decision)) == decision


def test_a_decision_without_them_says_nothing_of_them() -> None:
    text = to_json(
        decide(fleet(), Observations(prices={"cloud-prices": {EU: Price(START, 0.9)}}), Overrides(), None, START)
    )
    assert not any(word in text for word in ("paces", "prompt_ratios", "prompt_price_ratio", "usd_per_hour"))


def test_what_a_feed_tells_of_prompts_is_charged_and_outlives_the_feed() -> None:
    policy = fleet(clusters=(onprem(), cluster(EU), cluster(US, region="us-east", price=1.0, feed=None)))
    seen = Observations(prices={"cloud-prices": {EU: Price(START, 10.0, 0.2)}})
    decision = decide(policy, seen, Overrides(), None, START)
    assert decision.clusters[EU].prompt_price_ratio == 0.2
    later = decide(policy, Observations(), Overrides(), decision, START + 60)
    assert later.clusters[EU].prompt_price_ratio == 0.2
    absurd = Observations(prices={"cloud-prices": {EU: Price(START + 61, 10.0, -1.0)}})
    assert decide(policy, absurd, Overrides(), later, START + 61).clusters[EU].prompt_price_ratio is None


def test_what_the_policy_says_of_prompts_outranks_the_feed() -> None:
    declared = cluster(EU, more={"cost": {"feed": "cloud-prices", "key": EU, "promptPriceRatio": "50%"}})
    policy = fleet(clusters=(onprem(), declared, cluster(US, region="us-east", price=1.0, feed=None)))
    seen = Observations(prices={"cloud-prices": {EU: Price(START, 10.0, 0.2)}})
    assert decide(policy, seen, Overrides(), None, START).clusters[EU].prompt_price_ratio is None
    assert ONPREM in policy.clusters


class Counting(World):
    """Edges that count tokens, 200 generated a request, and a feed that tells of 3 USD a GPU-hour."""

    def observations(self) -> Observations:
        rated = {"cloud-prices": {EU: Rate(self.now, 3.0, "GPU-hour")}}
        return replace(super().observations(), prices={}, rates=rated)

    def _load(self) -> dict[str, dict[str, Load]]:
        return {
            region: {
                name: replace(one, prompt_tokens=0.0, output_tokens=200.0 * one.request_rate)
                for name, one in by.items()
            }
            for region, by in super()._load().items()
        }


def test_traffic_leaves_a_cluster_slower_than_it_says_once_and_does_not_swing() -> None:
    # 600 slots and 20 000 tokens a second: a request of 200 tokens holds one for 6 s, were it as fast as it says.
    eu = cluster(EU, more={"capacity": {"concurrency": 600, "tokensPerSecond": 20_000, "gpus": 8}})
    us = cluster(US, price=0.355, feed=None, more={"capacity": {"concurrency": 600, "tokensPerSecond": 20_000}})
    policy = fleet(clusters=(eu, us), policies=(traffic(clusters=(EU, US), distance_penalty="0%"),), rules=())
    policy = replace(policy, feeds={"cloud-prices": feed("usdPerGpuHour", max_age="1d")})
    world = Counting(policy, rates={row(): 50.0}, service_time={EU: 9.0, US: 6.0})
    shares, prices = [], []
    for _ in range(110):
        decision = world.tick(20.0)
        shares.append(decision.rows[row()].weights[EU])
        prices.append(decision.clusters[EU].price)
    assert prices[0] == pytest.approx(1 / 3)
    assert prices[-1] > 0.355
    settled = shares[shares.index(max(shares)) :]
    assert shares.index(max(shares)) < 60
    assert max(shares) > 7000
    assert settled[-1] < 1000
    assert all(later <= earlier + 100 for earlier, later in pairwise(settled))
