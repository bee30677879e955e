"""That the ledger holds all it was told, whatever happens meanwhile."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.control.entries import Batch, added_up, folded, rates
from penstock.control.ledger import LONGEST_GAP, LedgerKeeper
from penstock.signals.usage import Usage
from penstock.state.ledger import AMOUNTS, HOUR_SECONDS, AccrualKey, Accrued, Amounts, Entries, LedgerKey
from penstock.state.store import Store
from tests.control.ledger_world import (
    AN_HOUR,
    MORNING,
    ONE,
    Clock,
    brittle,
    cost,
    decision_of,
    everything,
    named,
    policy_of,
    rates_of,
    total,
)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(clock: Clock) -> AsyncIterator[Store]:
    async with await Store.open("sqlite://", lambda: clock.now) as opened:
        yield opened


async def keeper_of(store: Store, clock: Clock, *, metered: bool = False) -> LedgerKeeper:
    regions = frozenset({"eu-central"} if metered else ())
    keeper = LedgerKeeper(store, lambda: clock.now, metered=lambda _: regions)
    await keeper.apply(POLICY)
    keeper.run_to(clock.now)
    keeper.take(rates(POLICY, DECISION, {}))
    return keeper


POLICY = policy_of()
DECISION = decision_of(POLICY, cloud=0.5)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("usage"), st.sampled_from(["cloud", "onprem", ""]), st.integers(0, 50), st.integers(0, 9999)),
        st.tuples(st.just("tick"), st.integers(1, 400)),
        st.tuples(st.just("flush")),
        st.tuples(st.just("away"), st.booleans()),
        st.tuples(st.just("restart")),
    ),
    max_size=20,
)


@settings(max_examples=30, deadline=None)
@given(STEPS, st.booleans())
def test_all_that_was_told_is_in_the_ledger_once(steps: list[tuple[object, ...]], metered: bool) -> None:  # noqa: FBT001 - drawn
    asyncio.run(_conserved(steps, metered=metered))


async def _conserved(steps: list[tuple[object, ...]], *, metered: bool) -> None:
    clock = Clock()
    async with await Store.open("sqlite://", lambda: clock.now) as store:
        book = brittle(store)
        keeper = await keeper_of(store, clock, metered=metered)
        counted, prompt, usd, seconds = 0, 0, 0.0, 0.0
        for step in steps:
            match step:
                case ("usage", str(cluster), int(requests), int(tokens)) if metered:
                    keeper.take_usage(clock.now, {named(cluster): Usage(requests=requests, prompt_tokens=tokens)})
                    counted += requests
                    prompt += tokens if cluster else 0
                    usd += cost({"cloud": 8.0, "onprem": 1.0}[cluster], tokens, 0) if cluster else 0.0
                case ("tick", int(length)):
                    clock.now += length
                    keeper.run_to(clock.now)
                    seconds += length
                case ("away", bool(away)):
                    book.away = away
                case ("restart",) if not book.away:
                    await keeper.flush()
                    keeper = await keeper_of(store, clock, metered=metered)
                case _:
                    await keeper.flush()
        # So that there is time in the hour of the last request as well: without, its cost is its marginal cost.
        clock.now += 1
        keeper.run_to(clock.now)
        seconds += 1
        book.away = False
        await keeper.flush()
        await keeper.flush()
        found = await total(store)
        a_second = 5 * (cost(8.0) + cost(1.0))
        assert found.requests == pytest.approx(counted if metered else 10 * seconds)
        assert found.prompt_tokens == pytest.approx(prompt if metered else 10_000 * seconds)
        assert found.usd == pytest.approx(usd if metered else a_second * seconds)
        assert found.estimated_usd == pytest.approx(0 if metered else found.usd)
        report = await store.ledger.report(everything())
        assert sum(line.amortized_usd for line in report.lines if line.of["cluster"] == "onprem") + sum(
            idle.usd for idle in report.idle
        ) == pytest.approx(seconds / 3600 * AN_HOUR)


async def test_a_cancelled_flush_writes_nothing_twice(store: Store, clock: Clock) -> None:
    keeper = await keeper_of(store, clock, metered=True)
    keeper.take_usage(clock.now, {named(): ONE})
    for turns in range(6):
        task = asyncio.create_task(keeper.flush())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
    await keeper.flush()
    assert (await total(store)).usd == pytest.approx(cost(8.0))


@pytest.mark.parametrize("step", [3600.0, 10 * 86400.0])
async def test_a_clock_set_ahead_estimates_no_more_than_a_pause_of_a_metered_region(
    store: Store, clock: Clock, step: float
) -> None:
    metered = {"eu-central"}
    keeper = LedgerKeeper(store, lambda: clock.now, metered=lambda _: frozenset(metered))
    await keeper.apply(POLICY)
    keeper.take(rates(POLICY, DECISION, {}))
    keeper.run_to(clock.now)
    keeper.take_usage(clock.now, {named(): ONE})
    clock.now += 1
    keeper.run_to(clock.now)
    metered.clear()
    clock.now += step
    keeper.run_to(clock.now)
    await keeper.flush()
    assert (await total(store)).estimated_requests == pytest.approx(10 * (LONGEST_GAP + 1))


async def test_what_is_counted_before_the_first_decision_waits_for_its_prices(store: Store, clock: Clock) -> None:
    keeper = LedgerKeeper(store, lambda: clock.now, metered=lambda _: frozenset({"eu-central"}))
    keeper.take_usage(clock.now, {named(): ONE})
    await keeper.flush()
    assert (await total(store)).requests == 0
    policy = policy_of()
    await keeper.apply(policy)
    keeper.take(rates_of(policy, keeper, cloud=1.0))
    await keeper.flush()
    assert (await total(store)).usd == pytest.approx(cost(8.0))


async def test_what_is_added_is_told_even_while_the_store_is_away(store: Store, clock: Clock) -> None:
    told: list[Entries] = []
    keeper = LedgerKeeper(store, lambda: clock.now, metered=lambda _: frozenset({"eu-central"}), counted=told.append)
    policy = policy_of()
    await keeper.apply(policy)
    keeper.take(rates_of(policy, keeper, cloud=1.0))
    brittle(store).away = True
    for _ in range(2):
        keeper.take_usage(clock.now, {named(): ONE})
        await keeper.flush()
    assert [sum(of.usd for of in each.amounts.values()) for each in told] == pytest.approx([cost(8.0), cost(8.0)])


async def test_what_piled_up_is_written_in_portions_and_what_is_left_waits(store: Store, clock: Clock) -> None:
    keeper = LedgerKeeper(store, lambda: clock.now, metered=lambda _: frozenset({"eu-central"}))
    policy = policy_of()
    await keeper.apply(policy)
    keeper.take(rates_of(policy, keeper, cloud=1.0))
    book = brittle(store)
    keeper.take_usage(clock.now, {named(region=f"edge-{number}"): ONE for number in range(12_000)})
    book.most = 2
    await keeper.flush()
    assert 0 < (await total(store)).requests < 12_000
    book.most = 1000
    await keeper.flush()
    assert (await total(store)).requests == 12_000
    assert max(book.written) <= 5_000


KEYS = st.builds(
    LedgerKey,
    st.integers(0, 40).map(lambda quarter: int(MORNING) + 900 * quarter),
    st.sampled_from(["chat", "batch"]),
    st.just("public"),
    st.sampled_from(["m", "n", "o"]),
    st.sampled_from(["cloud", "onprem"]),
    st.just("cloud"),
    st.just("eu-central"),
    st.sampled_from(["eu-west", "us-east", "ap-south"]),
)


@given(st.lists(st.tuples(KEYS, st.integers(1, 1000)), min_size=1, max_size=60), st.integers(0, 20))
def test_rows_that_wait_too_long_lose_detail_and_no_money(rows: list[tuple[LedgerKey, int]], most: int) -> None:
    batches = [Batch(key.bucket, {key: Amounts(usd=float(usd), requests=1)}) for key, usd in rows]
    place = AccrualKey(int(MORNING) + 900, "onprem", "on_prem", "eu-central")
    before = Entries({}, {place: Accrued(900, 2.0)})
    whole, _ = added_up(before, [], batches)
    kept = folded(whole, most)
    newest = max([*(key.bucket for key in whole.amounts), place.bucket])
    older = {key for key in kept.amounts if key.bucket < newest // HOUR_SECONDS * HOUR_SECONDS}
    hours = 1 + (newest - int(MORNING)) // HOUR_SECONDS
    assert len(older) <= max(most, hours * 4)
    for pair in {(key.policy, key.cluster) for key in whole.amounts}:
        for name in AMOUNTS:
            sums = [
                sum(getattr(of, name) for key, of in each.amounts.items() if (key.policy, key.cluster) == pair)
                for each in (whole, kept)
            ]
            assert sums[0] == sums[1]
    assert sum(each.usd for each in kept.accrued.values()) == 2.0
