"""What the spending meter counts: over ticks, pauses, restarts, borders of periods, and while the store is away."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from penstock.control.spending import LONGEST_GAP, LONGEST_SPAN, Rates, SpendingMeter, rates
from penstock.state.errors import StoreUnavailableError
from penstock.state.spending import Account, Spent
from penstock.state.store import Store
from penstock_policies.decision import TOTAL_WEIGHT, Decision
from penstock_policies.engine import decide
from penstock_policies.loader import load
from penstock_policies.observations import Observations
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import PolicySet

MORNING = datetime(2026, 3, 10, 9, 0, 0, tzinfo=UTC).timestamp()
MIDNIGHT = datetime(2026, 3, 11, 0, 0, 0, tzinfo=UTC).timestamp()

CLUSTER = """
apiVersion: penstock/v1
kind: Cluster
metadata: {{name: {name}}}
spec:
  site: {site}
  region: eu-central
  engine: vllm
  models: [m]
  endpoints: [{{address: 10.0.0.1, port: {port}}}]
  capacity: {{concurrency: 64}}
  cost: {{usdPerMillionTokens: {price}, promptPriceRatio: 25%, egressUsdPerMillionTokens: 0.1}}
"""
REST = """
apiVersion: penstock/v1
kind: Listener
metadata: {name: public}
spec: {address: 0.0.0.0, port: 10000, dataClass: public}
---
apiVersion: penstock/v1
kind: NodeGroup
metadata: {name: edge}
spec: {match: {cluster: edge}, region: eu-central, listeners: [public]}
---
apiVersion: penstock/v1
kind: TrafficPolicy
metadata: {name: chat}
spec: {match: {path: /v1/}, dataClass: public, clusters: [onprem, cloud]}
"""
BUDGET = """
apiVersion: penstock/v1
kind: Budget
metadata: {{name: {name}}}
spec: {{amount: 100, per: day, scope: {{{scope}}}}}
"""


def policy_of(**budgets: str) -> PolicySet:
    documents = [
        CLUSTER.format(name="onprem", site="on_prem", port=8000, price=1.0),
        CLUSTER.format(name="cloud", site="cloud", port=8001, price=8.0),
        REST,
        *(BUDGET.format(name=name, scope=scope) for name, scope in budgets.items()),
    ]
    loaded = load({"policy.yaml": "---".join(documents)})
    assert loaded.policy_set is not None, [str(problem) for problem in loaded.problems]
    return loaded.policy_set


def decision_of(policy: PolicySet, cloud: float, demand: float = 10.0) -> Decision:
    """Ten requests a second of 1000 prompt and 200 generated tokens, so many of them to the cloud."""
    decision = decide(policy, Observations(), Overrides(), None, MORNING)
    weights = {"onprem": round(TOTAL_WEIGHT * (1 - cloud)), "cloud": round(TOTAL_WEIGHT * cloud)}
    rows = {
        key: replace(row, weights=weights, demand=demand if key.model == "m" else 0.0, tokens=(1000.0, 200.0))
        for key, row in decision.rows.items()
    }
    views = {
        name: replace(view, price=policy.clusters[name].spec.cost.usd_per_million_tokens or 0.0)
        for name, view in decision.clusters.items()
    }
    return replace(decision, rows=rows, clusters=views)


def cost(price: float) -> float:
    """Of one of those requests: generated tokens, prompt tokens at a quarter, egress on both."""
    return (price * 200 + price * 0.25 * 1000 + 0.1 * 1200) / 1e6


class BrittleStore(Store):
    """A store that can be away."""

    away = False

    async def add_spending(self, amounts: Mapping[Account, Spent]) -> None:
        self._reach()
        await super().add_spending(amounts)

    async def spending_since(self, since: float) -> dict[tuple[str, str], Spent]:
        self._reach()
        return await super().spending_since(since)

    def _reach(self) -> None:
        if self.away:
            raise StoreUnavailableError("spend", "sqlite://", "database is locked")


class Clock:
    now = MORNING


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(clock: Clock) -> AsyncIterator[BrittleStore]:
    async with await BrittleStore.open("sqlite://", lambda: clock.now) as opened:
        yield opened


@pytest.fixture
def meter(store: BrittleStore, clock: Clock) -> SpendingMeter:
    return SpendingMeter(store, lambda: clock.now)


def tick(meter: SpendingMeter, clock: Clock, seconds: int) -> None:
    for _ in range(seconds):
        clock.now += 1.0
        meter.run_to(clock.now)


def spent(meter: SpendingMeter, clock: Clock) -> dict[str, float]:
    return {name: each.usd for name, each in meter.run_to(clock.now).items()}


def test_a_decision_costs_by_demand_share_tokens_price_and_egress() -> None:
    policy = policy_of()
    found = rates(policy, decision_of(policy, cloud=0.25), {("chat", "cloud"): ("clouds",)})
    assert found.by_pair["chat", "cloud"].usd == pytest.approx(2.5 * cost(8.0))
    assert found.by_pair["chat", "onprem"].usd == pytest.approx(7.5 * cost(1.0))
    assert found.by_pair["chat", "cloud"].requests == pytest.approx(2.5)
    assert found.by_pair["chat", "cloud"].prompt_tokens == pytest.approx(2500.0)
    assert found.by_pair["chat", "cloud"].output_tokens == pytest.approx(500.0)
    assert found.by_budget == {"clouds": pytest.approx(2.5 * cost(8.0))}


@pytest.mark.parametrize("demand", [float("nan"), float("inf"), -5.0])
def test_figures_that_are_no_amounts_cost_nothing(demand: float) -> None:
    policy = policy_of()
    assert rates(policy, decision_of(policy, cloud=0.5, demand=demand), {}) == Rates({}, {})


async def test_budgets_count_what_is_in_their_scope(meter: SpendingMeter, clock: Clock) -> None:
    policy = policy_of(all="", clouds="site: cloud", home="cluster: onprem", chat="policy: chat")
    await meter.apply(policy)
    meter.run_to(clock.now)
    meter.take(rates(policy, decision_of(policy, cloud=0.5), meter.scopes))
    tick(meter, clock, 60)
    at_home, away = 60 * 5 * cost(1.0), 60 * 5 * cost(8.0)
    assert spent(meter, clock) == pytest.approx(
        {"all": at_home + away, "clouds": away, "home": at_home, "chat": at_home + away}
    )


async def test_a_pause_is_counted_as_an_estimate_up_to_a_quarter_of_an_hour(
    meter: SpendingMeter, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    policy = policy_of(all="")
    await meter.apply(policy)
    meter.run_to(clock.now)
    meter.take(rates(policy, decision_of(policy, cloud=1.0), meter.scopes))
    clock.now += LONGEST_SPAN
    assert spent(meter, clock) == pytest.approx({"all": LONGEST_SPAN * 10 * cost(8.0)})
    assert not caplog.records
    clock.now += 60
    assert spent(meter, clock) == pytest.approx({"all": (LONGEST_SPAN + 60) * 10 * cost(8.0)})
    (record,) = caplog.records
    assert record.message == "spending during a pause estimated"
    assert vars(record)["estimated_seconds"] == 60
    clock.now += 3600
    known = (LONGEST_SPAN + 60 + LONGEST_GAP) * 10 * cost(8.0)
    assert spent(meter, clock) == pytest.approx({"all": known})
    clock.now -= 1800
    assert spent(meter, clock) == pytest.approx({"all": known})


async def test_the_count_survives_a_restart(meter: SpendingMeter, store: BrittleStore, clock: Clock) -> None:
    policy = policy_of(all="")
    await meter.apply(policy)
    meter.run_to(clock.now)
    meter.take(rates(policy, decision_of(policy, cloud=1.0), meter.scopes))
    tick(meter, clock, 30)
    await meter.flush()
    again = SpendingMeter(store, lambda: clock.now)
    await again.apply(policy)
    assert spent(again, clock) == pytest.approx({"all": 30 * 10 * cost(8.0)})


async def test_a_new_budget_knows_what_its_period_has_come_to_already(meter: SpendingMeter, clock: Clock) -> None:
    policy = policy_of()
    await meter.apply(policy)
    meter.run_to(clock.now)
    meter.take(rates(policy, decision_of(policy, cloud=1.0), meter.scopes))
    tick(meter, clock, 30)
    await meter.flush()
    tick(meter, clock, 10)
    await meter.apply(policy_of(clouds="site: cloud"))
    assert spent(meter, clock) == pytest.approx({"clouds": 40 * 10 * cost(8.0)})


async def test_a_new_day_begins_at_nothing(meter: SpendingMeter, clock: Clock) -> None:
    clock.now = MIDNIGHT - 10
    policy = policy_of(all="")
    await meter.apply(policy)
    meter.run_to(clock.now)
    meter.take(rates(policy, decision_of(policy, cloud=1.0), meter.scopes))
    tick(meter, clock, 9)
    assert spent(meter, clock) == pytest.approx({"all": 9 * 10 * cost(8.0)})
    clock.now += 4
    view = meter.run_to(clock.now)["all"]
    assert view.period_start == MIDNIGHT
    assert view.usd == pytest.approx(3 * 10 * cost(8.0))


async def test_a_clock_set_back_over_midnight_has_the_day_before_read_again(
    meter: SpendingMeter, store: BrittleStore, clock: Clock
) -> None:
    policy = policy_of(all="")
    await store.add_spending({(int(MIDNIGHT) - 900, "chat", "cloud"): Spent(usd=12.0)})
    clock.now = MIDNIGHT + 60
    await meter.apply(policy)
    assert spent(meter, clock) == {"all": 0.0}
    clock.now = MIDNIGHT - 60
    assert spent(meter, clock) == {}
    await meter.apply(policy)
    assert spent(meter, clock) == {"all": 12.0}


async def test_while_the_store_is_away_nothing_is_lost_and_nothing_counted_twice(
    meter: SpendingMeter, store: BrittleStore, clock: Clock
) -> None:
    policy = policy_of(all="")
    await meter.apply(policy)
    meter.run_to(clock.now)
    meter.take(rates(policy, decision_of(policy, cloud=1.0), meter.scopes))
    tick(meter, clock, 10)
    store.away = True
    await meter.flush()
    tick(meter, clock, 10)
    await meter.flush()
    assert spent(meter, clock) == pytest.approx({"all": 20 * 10 * cost(8.0)})
    store.away = False
    await meter.flush()
    await meter.flush()
    assert (await store.spending_since(0))["chat", "cloud"].usd == pytest.approx(20 * 10 * cost(8.0))


async def test_a_budget_whose_count_cannot_be_read_is_unknown_until_it_can(
    meter: SpendingMeter, store: BrittleStore, clock: Clock
) -> None:
    await store.add_spending({(int(MORNING), "chat", "cloud"): Spent(usd=12.0)})
    store.away = True
    policy = policy_of(all="")
    await meter.apply(policy)
    assert spent(meter, clock) == {}
    store.away = False
    await meter.apply(policy)
    assert spent(meter, clock) == {"all": 12.0}
