"""The ledger: what traffic came to, by quarters of an hour, as access logs tell it or else as decisions estimate it.

Owned by the composition root. Each decision brings its own :class:`~penstock.control.entries.Rates`, worked out beside
it in the worker thread; :meth:`LedgerKeeper.run_to` is called before each decision, on the event loop's thread, and
counts what the decision in force has come to since the last call: demand times share times marginal price, with the
demand, sizes and prices that the engine believed. Edge regions whose access logs arrive (``metered``) are left out of
that: there, what :meth:`LedgerKeeper.take_usage` is told counts, priced by the tariff in force when it arrives and in
the bucket it arrives in, however long the requests took. When a region's logs fall silent, the time since their last
entry is estimated after all: whether they broke or nobody asked anything, the demand tells.

One task (:meth:`LedgerKeeper.run`) prices what was counted, once a second as a rule, and writes to the store what has
come together, every ten: so much a crash may lose. While the store is away nothing is lost; it waits in memory, which
is bounded by giving up detail (:func:`~penstock.control.entries.folded`). While decisions pause (the machine slept) it
is estimated; while Penstock is not running, what the edges spend is unknown and not counted.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final

from penstock.control.entries import (
    Batch,
    Rates,
    Scopes,
    Span,
    added_up,
    bucket_of,
    by_bucket,
    folded,
    portions,
    together,
    valued,
)
from penstock.control.tariff import Tariff
from penstock.signals.usage import Usage, UsageKey
from penstock.state.errors import StoreError
from penstock.state.ledger import Entries
from penstock.state.store import Store
from penstock_policies.engine.budgets import in_scope, period
from penstock_policies.observations import Spend
from penstock_policies.policyset import PolicySet
from penstock_policies.schema import Budget

logger = logging.getLogger(__name__)

LONGEST_SPAN: Final = 5.0
"""Seconds. Decisions come every second; what is counted over a longer pause is an estimate, and told."""

LONGEST_GAP: Final = 900.0
"""Seconds of a pause that are counted at the rates before it, for the edges go on serving by the weights they have. How
long they do so nobody knows, and a guess must not use up a budget."""

FLUSH_SECONDS: Final = 10.0
"""How often the store is written: what a crash may lose of the count."""

_PRICE_SECONDS: Final = 1.0
"""How often counted requests are priced: what they cost reaches budgets so much later."""
_PRICE_SHARE: Final = 0.1
"""Of the time, at most, for pricing: a very large fleet's is done less often, since more of it falls together then."""

_ROWS_AT_ONCE: Final = 5_000
"""Rows written in one transaction: after a long outage there are many, and a drain must not wait for them all."""

Metered = Callable[[float], frozenset[str]]
"""At a time (Unix seconds), the edge regions whose access logs arrive."""


def nowhere(_: float) -> frozenset[str]:
    """No region's access logs arrive."""
    return frozenset()


@dataclass(slots=True)
class _Count:
    """What one budget has come to."""

    budget: Budget
    start: float
    """When the period it counts began."""
    usd: float


class LedgerKeeper:
    """Counts. When a budget's period begins is asked of the engine, so that both agree on it."""

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float],
        *,
        metered: Metered = nowhere,
        counted: Callable[[Entries], None] = lambda _: None,
    ) -> None:
        """``counted`` is told of all that is added, in a worker thread, whether or not the store can be told."""
        self._store = store
        self._clock = clock
        self._metered = metered
        self._counted = counted
        self._rates: Rates | None = None
        self._tariffs: tuple[Tariff, ...] = ()
        """The one in force, and the last of the policy set before: logs lag behind an edit."""
        self._at: float | None = None
        self._measured: frozenset[str] = frozenset()
        """The regions that were metered at the last call."""
        self._heard: dict[str, float] = {}
        """Region to when usage of it last arrived."""
        self._arrived: dict[int, dict[UsageKey, Usage]] = {}
        """By bucket, what was counted and is not priced yet."""
        self._spans: list[Span] = []
        self._batches: list[Batch] = []
        self._pending = Entries({}, {})
        """What earlier spans and batches came to, and the store could not be told."""
        self._counts: dict[str, _Count] = {}
        self._unread: dict[str, Budget] = {}
        """Budgets whose count so far is in the store alone, which has not been read."""
        self._storing = asyncio.Lock()
        """Held while the store is read or written, so that what is in memory is what is not in the store."""
        self._pricing = asyncio.Lock()
        self._working: set[asyncio.Task[None]] = set()
        self.scopes: Scopes = {}
        """Of the policy set last applied."""

    @property
    def rates(self) -> Rates | None:
        """Those of the decision in force."""
        return self._rates

    async def apply(self, policy: PolicySet) -> None:
        """Count under the budgets of this policy set, from what the store knows of their periods.

        While the store is away, what a new budget has come to is unknown; it is read as soon as the store is back.
        """
        self.scopes = await asyncio.to_thread(_scopes, policy)
        same = {n for n, count in self._counts.items() if n in policy.budgets and policy.budgets[n] == count.budget}
        self._counts = {name: count for name, count in self._counts.items() if name in same}
        self._unread = {name: budget for name, budget in policy.budgets.items() if name not in same}
        await self._read()

    def run_to(self, now: float) -> Mapping[str, Spend]:
        """Count what was spent until now (Unix seconds), and return what every budget has come to."""
        rates, measured = self._rates, self._metered(now)
        begin = now if self._at is None else max(self._at, now - LONGEST_GAP)
        if rates is not None:
            estimated = frozenset(rates.flows) - measured
            if self._at is not None and now - self._at > LONGEST_SPAN:
                self._tell_of_pause(rates, estimated, now - self._at, now - begin)
            for region in sorted((self._measured - measured) & estimated):
                # From the last call on the span below has it, cut short where the pause was long.
                self._make_good(rates, region, begin if self._at is None else min(begin, self._at))
            for bucket, start, end in by_bucket(begin, now):
                self._take(Span(bucket, end - start, rates, estimated))
        self._at, self._measured = now, measured
        self._roll(now)
        self._roll_back(now)
        return {name: Spend(now, count.start, count.usd) for name, count in self._counts.items()}

    def take(self, of: Rates) -> None:
        """Count by these rates from now on: those of the decision that has come in force."""
        tariffs = [each for each in self._tariffs if each.policy is not of.tariff.policy]
        self._tariffs = (of.tariff, *tariffs[:1])
        self._rates = of

    def take_usage(self, now: float, usage: Mapping[UsageKey, Usage]) -> None:
        """Count requests that have ended: :data:`~penstock.signals.usage.TakeUsage`."""
        arrived = self._arrived.setdefault(bucket_of(now), {})
        for key, of in usage.items():
            arrived[key] = arrived[key] + of if key in arrived else of
            self._heard[key.region] = now

    async def run(self) -> None:
        """Price what was counted, and write to the store, until cancelled."""
        loop = asyncio.get_running_loop()
        written, pause = loop.time(), _PRICE_SECONDS
        while True:
            await asyncio.sleep(pause)
            begun = loop.time()
            await self._whole(self._price())
            pause = min(max(_PRICE_SECONDS, (loop.time() - begun) / _PRICE_SHARE), FLUSH_SECONDS)
            if loop.time() - written < FLUSH_SECONDS - pause / 2:
                continue
            written = loop.time()
            await self.flush()
            if self._unread:
                await self._read()

    async def flush(self) -> None:
        """Write to the store what has come together; it stays in memory when the store is away.

        Carried out whole even if the caller is cancelled: what is being written must not be written again.
        """
        await self._whole(self._flush())

    async def _whole(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._working.add(task)
        task.add_done_callback(self._working.discard)
        await asyncio.shield(task)

    async def _flush(self) -> None:
        await self._price()
        async with self._storing:
            await self._add_up()
            waiting = portions(self._pending, _ROWS_AT_ONCE)
            while waiting:
                try:
                    await self._store.ledger.add(waiting[-1])
                except StoreError as error:
                    rows = sum(len(part.amounts) + len(part.accrued) for part in waiting)
                    logger.warning("ledger not recorded yet", extra={"error": str(error), "rows": rows})
                    self._pending = await asyncio.to_thread(lambda: folded(together(waiting)))
                    return
                waiting.pop()
            self._pending = Entries({}, {})

    def _take(self, span: Span) -> None:
        self._spans.append(span)
        self._roll(span.bucket)
        for name, count in self._counts.items():
            if span.bucket >= count.start:
                count.usd += span.usd(name)

    def _make_good(self, rates: Rates, region: str, until: float) -> None:
        """Estimate the time in which a region's logs were waited for in vain, at the rates of now."""
        since = max(self._heard.get(region, until), until - LONGEST_GAP)
        for bucket, start, end in by_bucket(since, until):
            self._take(Span(bucket, end - start, rates, frozenset({region}), accrues=False))
        seconds = max(0.0, until - since)
        requests = seconds * sum(flow.rate for flow in rates.flows[region])
        # At night nobody may ask anything for a while, which is no fault of the logs.
        if requests >= 1:
            facts = {"region": region, "estimated_seconds": seconds, "estimated_requests": requests}
            logger.warning("access logs of an edge region have fallen silent; its traffic is estimated", extra=facts)

    def _tell_of_pause(self, rates: Rates, regions: frozenset[str], pause: float, estimated: float) -> None:
        span = Span(0, estimated, rates, regions)
        usd = {name: span.usd(name) for name in sorted({n for of in rates.by_budget.values() for n in of})}
        facts = {"pause_seconds": pause, "estimated_seconds": estimated, "usd_by_budget": usd}
        logger.warning("spending during a pause estimated", extra=facts)

    async def _price(self) -> None:
        """Price what was counted, off the event loop's thread, and count it under budgets."""
        async with self._pricing:
            if not self._tariffs:
                # Before the first decision nothing has a price.
                return
            while self._arrived:
                bucket = min(self._arrived)
                usage = self._arrived.pop(bucket)
                batch = await asyncio.to_thread(valued, bucket, usage, self._tariffs)
                if batch.unknown:
                    logger.warning("requests of unknown names not counted", extra={"requests": batch.unknown})
                self._batches.append(batch)
                self._roll(bucket)
                for name, count in self._counts.items():
                    if bucket >= count.start:
                        count.usd += batch.usd(name, self.scopes)

    async def _add_up(self) -> None:
        """Turn spans and batches into amounts: for a large fleet, too much work for the event loop's thread."""
        spans, batches = list(self._spans), list(self._batches)
        self._pending, new = await asyncio.to_thread(added_up, self._pending, spans, batches)
        del self._spans[: len(spans)], self._batches[: len(batches)]
        await asyncio.to_thread(self._counted, new)

    def _roll(self, at: float) -> None:
        """Begin a new count where a period has ended by then."""
        for name, count in self._counts.items():
            start, _ = period(count.budget.spec, at)
            if start > count.start:
                self._counts[name] = _Count(count.budget, start, 0.0)

    def _roll_back(self, now: float) -> None:
        """Have a count read again where the clock went back over the border of its period."""
        for name, count in list(self._counts.items()):
            if period(count.budget.spec, now)[0] < count.start:
                del self._counts[name]
                self._unread[name] = count.budget

    async def _read(self) -> None:
        """Take up the counts that are in the store alone."""
        async with self._storing:
            for name, budget in list(self._unread.items()):
                start, _ = period(budget.spec, self._clock())
                try:
                    known = await self._store.ledger.spent_since(start)
                except StoreError as error:
                    logger.warning("spending under a budget not known yet", extra={"budget": name, "error": str(error)})
                    continue
                await self._add_up()
                if self._unread.get(name) != budget:
                    # Another policy set has come in force meanwhile.
                    continue
                usd = sum(usd for pair, usd in known.items() if name in self.scopes.get(pair, ()))
                pending = Batch(0, {key: of for key, of in self._pending.amounts.items() if key.bucket >= start})
                usd += pending.usd(name, self.scopes)
                usd += sum(batch.usd(name, self.scopes) for batch in self._batches if batch.bucket >= start)
                usd += sum(span.usd(name) for span in self._spans if span.bucket >= start)
                del self._unread[name]
                self._counts[name] = _Count(budget, start, usd)


def _scopes(policy: PolicySet) -> Scopes:
    return {
        (name, cluster): budgets
        for name, each in policy.policies.items()
        for cluster in each.spec.clusters
        if (budgets := tuple(b for b, of in sorted(policy.budgets.items()) if in_scope(policy, of, name, cluster)))
    }
