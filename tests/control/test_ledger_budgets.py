"""What budgets count: over ticks, pauses, restarts, borders of periods, and while the store is away."""

from collections.abc import AsyncIterator
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from penstock.control.ledger import LONGEST_GAP, LONGEST_SPAN, LedgerKeeper
from penstock.state.ledger import BUCKET_SECONDS
from penstock.state.store import Store
from tests.control.ledger_world import (
    MIDNIGHT,
    MORNING,
    ONE,
    BrittleBook,
    Clock,
    brittle,
    cost,
    entries_of,
    named,
    policy_of,
    rates_of,
)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(clock: Clock) -> AsyncIterator[Store]:
    async with await Store.open("sqlite://", lambda: clock.now) as opened:
        yield opened


@pytest.fixture
def book(store: Store) -> BrittleBook:
    return brittle(store)


@pytest.fixture
def keeper(store: Store, book: BrittleBook, clock: Clock) -> LedgerKeeper:
    return LedgerKeeper(store, lambda: clock.now)


def tick(keeper: LedgerKeeper, clock: Clock, seconds: int) -> None:
    for _ in range(seconds):
        clock.now += 1.0
        keeper.run_to(clock.now)


def spent(keeper: LedgerKeeper, clock: Clock) -> dict[str, float]:
    return {name: each.usd for name, each in keeper.run_to(clock.now).items()}


async def test_budgets_count_what_is_in_their_scope(keeper: LedgerKeeper, clock: Clock) -> None:
    policy = policy_of(all="", clouds="site: cloud", home="cluster: onprem", chat="policy: chat")
    await keeper.apply(policy)
    keeper.run_to(clock.now)
    keeper.take(rates_of(policy, keeper, cloud=0.5))
    tick(keeper, clock, 60)
    at_home, away = 60 * 5 * cost(1.0), 60 * 5 * cost(8.0)
    assert spent(keeper, clock) == pytest.approx(
        {"all": at_home + away, "clouds": away, "home": at_home, "chat": at_home + away}
    )


async def test_a_pause_is_counted_as_an_estimate_up_to_a_quarter_of_an_hour(
    keeper: LedgerKeeper, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    policy = policy_of(all="")
    await keeper.apply(policy)
    keeper.run_to(clock.now)
    keeper.take(rates_of(policy, keeper, cloud=1.0))
    clock.now += LONGEST_SPAN
    assert spent(keeper, clock) == pytest.approx({"all": LONGEST_SPAN * 10 * cost(8.0)})
    assert not caplog.records
    clock.now += 60
    assert spent(keeper, clock) == pytest.approx({"all": (LONGEST_SPAN + 60) * 10 * cost(8.0)})
    (record,) = caplog.records
    assert record.message == "spending during a pause estimated"
    assert vars(record)["estimated_seconds"] == 60
    clock.now += 3600
    known = (LONGEST_SPAN + 60 + LONGEST_GAP) * 10 * cost(8.0)
    assert spent(keeper, clock) == pytest.approx({"all": known})
    clock.now -= 1800
    assert spent(keeper, clock) == pytest.approx({"all": known})


async def test_the_count_survives_a_restart(keeper: LedgerKeeper, store: Store, clock: Clock) -> None:
    policy = policy_of(all="")
    await keeper.apply(policy)
    keeper.run_to(clock.now)
    keeper.take(rates_of(policy, keeper, cloud=1.0))
    tick(keeper, clock, 30)
    await keeper.flush()
    again = LedgerKeeper(store, lambda: clock.now)
    await again.apply(policy)
    assert spent(again, clock) == pytest.approx({"all": 30 * 10 * cost(8.0)})


async def test_a_new_budget_knows_what_its_period_has_come_to_already(keeper: LedgerKeeper, clock: Clock) -> None:
    policy = policy_of()
    await keeper.apply(policy)
    keeper.run_to(clock.now)
    keeper.take(rates_of(policy, keeper, cloud=1.0))
    tick(keeper, clock, 30)
    await keeper.flush()
    tick(keeper, clock, 10)
    await keeper.apply(policy_of(clouds="site: cloud"))
    assert spent(keeper, clock) == pytest.approx({"clouds": 40 * 10 * cost(8.0)})


async def test_a_new_day_begins_at_nothing(keeper: LedgerKeeper, clock: Clock) -> None:
    clock.now = MIDNIGHT - 10
    policy = policy_of(all="")
    await keeper.apply(policy)
    keeper.run_to(clock.now)
    keeper.take(rates_of(policy, keeper, cloud=1.0))
    tick(keeper, clock, 9)
    assert spent(keeper, clock) == pytest.approx({"all": 9 * 10 * cost(8.0)})
    clock.now += 4
    view = keeper.run_to(clock.now)["all"]
    assert view.period_start == MIDNIGHT
    assert view.usd == pytest.approx(3 * 10 * cost(8.0))


async def test_a_clock_set_back_over_midnight_has_the_day_before_read_again(
    keeper: LedgerKeeper, store: Store, book: BrittleBook, clock: Clock
) -> None:
    policy = policy_of(all="")
    await store.ledger.add(entries_of(MIDNIGHT - 900, usd=12.0))
    clock.now = MIDNIGHT + 60
    await keeper.apply(policy)
    assert spent(keeper, clock) == {"all": 0.0}
    clock.now = MIDNIGHT - 60
    assert spent(keeper, clock) == {}
    await keeper.apply(policy)
    assert spent(keeper, clock) == {"all": 12.0}


async def test_while_the_store_is_away_nothing_is_lost_and_nothing_counted_twice(
    keeper: LedgerKeeper, store: Store, book: BrittleBook, clock: Clock
) -> None:
    policy = policy_of(all="")
    await keeper.apply(policy)
    keeper.run_to(clock.now)
    keeper.take(rates_of(policy, keeper, cloud=1.0))
    tick(keeper, clock, 10)
    book.away = True
    await keeper.flush()
    tick(keeper, clock, 10)
    await keeper.flush()
    assert spent(keeper, clock) == pytest.approx({"all": 20 * 10 * cost(8.0)})
    book.away = False
    await keeper.flush()
    await keeper.flush()
    assert (await store.ledger.spent_since(0))["chat", "cloud"] == pytest.approx(20 * 10 * cost(8.0))


async def test_a_budget_whose_count_cannot_be_read_is_unknown_until_it_can(
    keeper: LedgerKeeper, store: Store, book: BrittleBook, clock: Clock
) -> None:
    await store.ledger.add(entries_of(usd=12.0))
    book.away = True
    policy = policy_of(all="")
    await keeper.apply(policy)
    assert spent(keeper, clock) == {}
    book.away = False
    await keeper.apply(policy)
    assert spent(keeper, clock) == {"all": 12.0}


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "America/Los_Angeles", "Pacific/Chatham"])
async def test_a_days_budget_counts_from_midnight_where_it_is_for(store: Store, clock: Clock, zone: str) -> None:
    midnight = datetime(2026, 3, 10, tzinfo=ZoneInfo(zone)).timestamp()
    await store.ledger.add(entries_of(midnight - BUCKET_SECONDS, usd=5.0))
    await store.ledger.add(entries_of(midnight, usd=7.0))
    clock.now = midnight + 3600
    keeper = LedgerKeeper(store, lambda: clock.now)
    await keeper.apply(policy_of(time_zone=zone, all=""))
    assert spent(keeper, clock) == {"all": 7.0}


async def test_counted_requests_reach_budgets_once_they_are_priced(store: Store, clock: Clock) -> None:
    keeper = LedgerKeeper(store, lambda: clock.now, metered=lambda _: frozenset({"eu-central"}))
    policy = policy_of(all="", home="cluster: onprem")
    await keeper.apply(policy)
    keeper.run_to(clock.now)
    keeper.take(rates_of(policy, keeper, cloud=1.0))
    tick(keeper, clock, 30)
    assert spent(keeper, clock) == {"all": 0.0, "home": 0.0}
    keeper.take_usage(clock.now, {named("cloud"): ONE, named("onprem"): ONE})
    await keeper.flush()
    assert spent(keeper, clock) == pytest.approx({"all": cost(8.0) + cost(1.0), "home": cost(1.0)})
    assert (await store.ledger.spent_since(0))["chat", "cloud"] == pytest.approx(cost(8.0))


async def test_requests_counted_before_midnight_and_priced_after_it_are_yesterdays(store: Store, clock: Clock) -> None:
    clock.now = MIDNIGHT - 1
    keeper = LedgerKeeper(store, lambda: clock.now, metered=lambda _: frozenset({"eu-central"}))
    policy = policy_of(all="")
    await keeper.apply(policy)
    keeper.run_to(clock.now)
    keeper.take(rates_of(policy, keeper, cloud=1.0))
    keeper.take_usage(clock.now, {named(): ONE})
    clock.now = MIDNIGHT + 1
    await keeper.flush()
    assert spent(keeper, clock) == {"all": 0.0}
    assert await store.ledger.spent_since(MIDNIGHT) == {}
    assert (await store.ledger.spent_since(MIDNIGHT - 900))["chat", "cloud"] == pytest.approx(cost(8.0))


async def test_the_time_that_a_regions_logs_are_missing_is_estimated_after_all(
    store: Store, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    heard = MORNING + 10
    keeper = LedgerKeeper(
        store, lambda: clock.now, metered=lambda now: frozenset({"eu-central"} if now < heard + 300 else ())
    )
    policy = policy_of(all="")
    await keeper.apply(policy)
    keeper.run_to(clock.now)
    keeper.take(rates_of(policy, keeper, cloud=1.0))
    tick(keeper, clock, 10)
    keeper.take_usage(clock.now, {named(): ONE})
    await keeper.flush()
    tick(keeper, clock, 299)
    assert spent(keeper, clock) == pytest.approx({"all": cost(8.0)})
    tick(keeper, clock, 1)
    assert spent(keeper, clock) == pytest.approx({"all": cost(8.0) * (1 + 300 * 10)})
    assert [each.message for each in caplog.records] == [
        "access logs of an edge region have fallen silent; its traffic is estimated"
    ]
    await keeper.flush()
    assert (await store.ledger.spent_since(0))["chat", "cloud"] == pytest.approx(cost(8.0) * (1 + 300 * 10))


async def test_a_region_where_nobody_asks_anything_is_no_silence_to_tell_of(
    store: Store, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = LedgerKeeper(
        store, lambda: clock.now, metered=lambda now: frozenset({"eu-central"} if now < MORNING + 300 else ())
    )
    policy = policy_of(all="")
    await keeper.apply(policy)
    keeper.run_to(clock.now)
    keeper.take(rates_of(policy, keeper, cloud=1.0, demand=1e-6))
    keeper.take_usage(clock.now, {named(): ONE})
    await keeper.flush()
    tick(keeper, clock, 301)
    assert spent(keeper, clock) == pytest.approx({"all": cost(8.0)}, rel=1e-3)
    assert not caplog.records
