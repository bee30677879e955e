"""Budgets in the closed loop: traffic leaves what is dear in steps, and the money lasts, whatever amount and surge."""

import random
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest

from penstock_policies.decision import TOTAL_WEIGHT
from penstock_policies.engine.budgets import period
from penstock_policies.engine.objective import usd_of_request
from penstock_policies.observations import Spend
from penstock_policies.schema import Budget
from tests.engine.engine_world import EU, START, US, World, cluster, fleet, onprem, row, traffic

HOUR = 3600.0
DAY = 24 * HOUR
STEP = 30.0
"""Seconds between decisions: the ``minDwell`` of the policy, so that each may move weights by its ``maxStep``."""
MAX_STEP = 0.1
RATE = 60.0
"""Requests a second, which would cost 233 USD an hour if all went to the cheaper cloud."""


@dataclass
class Money(World):
    """A world that pays for what its clouds serve, which are cheaper than home and have a budget."""

    used: float = 0.0
    clouds: list[float] = field(default_factory=list)
    """The clouds' share after each decision."""
    refused: int = 0
    """Decisions by which requests were refused."""

    def pay(self, seconds: float, rate: float = RATE, *, step: float = STEP) -> None:
        self.rates = {row(): rate}
        (budget,) = self.policy.budgets.values()
        for _ in range(round(seconds / step)):
            start, _end = period(budget.spec, self.now)
            self.spend = {"clouds": Spend(self.now, start, self.used)}
            decision = self.tick(step)
            decided = decision.rows[row()]
            self.clouds.append(sum(decided.weights.get(name, 0) for name in (EU, US)) / TOTAL_WEIGHT)
            self.refused += not decided.weights
            for name in (EU, US):
                usd = usd_of_request(self.policy.clusters[name], decision.clusters[name].price, decided.tokens)
                self.used += step * rate * decided.weights.get(name, 0) / TOTAL_WEIGHT * usd

    def greatest_fall(self) -> float:
        """Give the largest share that left the clouds at once."""
        return max(before - after for before, after in pairwise(self.clouds))


def money(amount: float, per: str, on_exhausted: str, *, begin: float = 0.0, used: float = 0.0, **spec: Any) -> Money:
    """Begin at the beginning of a period, or so many seconds later with so much spent."""
    fixed = {"scope": {"site": "cloud"}, "amount": amount, "per": per, "onExhausted": on_exhausted}
    document = {"apiVersion": "penstock/v1", "kind": "Budget", "metadata": {"name": "clouds"}, "spec": fixed}
    budget = Budget.model_validate(document)
    clusters = (onprem(price=2.0, concurrency=600), cluster(EU), cluster(US, region="us-east"))
    policy = fleet(clusters=clusters, policies=(traffic(more=spec),), budgets=(budget,))
    _, midnight = period(budget.spec, START)
    return Money(policy, now=midnight + begin, used=used)


@pytest.mark.parametrize(
    ("amount", "on_exhausted"), [(20.0, "shift"), (60.0, "reject"), (2000.0, "reject"), (5000.0, "shift")]
)
def test_whatever_the_amount_it_lasts_the_day_and_is_left_in_steps(amount: float, on_exhausted: str) -> None:
    world = money(amount, "day", on_exhausted)
    world.pay(HOUR)
    world.pay(23 * HOUR - 120, step=120.0)
    assert 0.95 * amount <= world.used <= amount
    assert world.greatest_fall() <= MAX_STEP + 1e-9
    assert not world.refused


def test_a_small_amount_is_not_spent_in_the_first_minutes_of_plenty() -> None:
    # All traffic at once would spend it in a quarter of an hour.
    world = money(60.0, "day", "reject")
    world.pay(900.0)
    assert world.clouds[0] == 1.0
    assert 0 < world.clouds[-1] < 0.2
    assert world.used < 60.0


@pytest.mark.parametrize("on_exhausted", ["shift", "reject"])
@pytest.mark.parametrize(("amount", "per"), [(60.0, "day"), (1000.0, "day"), (30_000.0, "month")])
@pytest.mark.parametrize("passed", [0.3, 0.9])
def test_a_surge_is_met_in_steps_and_within_the_amount(
    amount: float, per: str, on_exhausted: str, passed: float
) -> None:
    length = DAY if per == "day" else 31 * DAY
    world = money(amount, per, on_exhausted, begin=passed * length, used=passed * amount)
    # Home is cheaper at first, so that what follows begins paced.
    world.prices = {EU: 2.5, US: 2.6}
    world.pay(600.0)
    world.prices = {EU: 0.9, US: 1.0}
    world.pay(HOUR)
    before = world.used
    world.pay(0.5 * HOUR, 5 * RATE)
    world.pay(0.5 * HOUR)
    assert before > passed * amount
    assert world.used <= amount
    assert world.greatest_fall() <= MAX_STEP + 1e-9
    assert not world.refused


def test_demand_that_scatters_does_not_break_the_amount() -> None:
    world = money(300.0, "day", "reject", begin=18 * HOUR, used=200.0)
    chance = random.Random(1)  # noqa: S311 - the same noise each time
    while world.now < START - START % DAY + 2 * DAY - 300:
        world.pay(150.0, RATE * chance.uniform(0.7, 1.3))
    assert 285 <= world.used <= 300
    assert world.greatest_fall() <= MAX_STEP + 1e-9
    assert not world.refused


def test_what_only_the_clouds_can_serve_is_served_until_the_amount_is_reached_and_no_further() -> None:
    world = money(60.0, "day", "reject", clusters=[EU, US])
    world.pay(0.5 * HOUR)
    assert world.clouds[-1] == 0.0
    assert world.refused
    one_tick = STEP * RATE * 1200 * 0.9 / 1e6
    assert 60 <= world.used <= 60 + one_tick * 1.01
