"""The spending meter: what the traffic that decisions send costs, added up by quarters of an hour and under budgets.

Owned by the composition root. Each decision brings its own :class:`Rates`, worked out beside it in the worker thread;
:meth:`SpendingMeter.run_to` is called before each decision, on the event loop's thread, and counts what the decision in
force has cost since the last call. One task (:meth:`SpendingMeter.run`) writes to the store what has come together, so
that a crash loses ten seconds of counting at most. While the store is away nothing is lost: it waits in memory.

Money is counted as decided, by demand times share times marginal price, because no provider bills by the second.
Demand, request sizes and prices are those the engine believed, and what a request costs is asked of it. While decisions
pause (the machine slept) it is estimated; while Penstock is not running it is unknown and not counted.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from penstock.state.errors import StoreError
from penstock.state.spending import BUCKET_SECONDS, Account, Spent
from penstock.state.store import Store
from penstock_policies.decision import TOTAL_WEIGHT, Decision
from penstock_policies.engine.budgets import in_scope, period
from penstock_policies.engine.objective import usd_of_request
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

Pair = tuple[str, str]
"""Policy and cluster."""

Scopes = Mapping[Pair, tuple[str, ...]]
"""Policy and cluster to the budgets that count their traffic."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What the traffic of a decision comes to, a second."""

    by_pair: Mapping[Pair, Spent] = field(default_factory=dict)
    by_budget: Mapping[str, float] = field(default_factory=dict)
    """USD a second."""


def rates(policy: PolicySet, decision: Decision, scopes: Scopes) -> Rates:
    """Find out what the traffic of a decision comes to. Pure.

    Figures that are no amounts (the engine never decides on such) count for nothing. A row without request sizes,
    which a fallback has decided, is taken for what its clusters measure.
    """
    by_pair: dict[Pair, Spent] = {}
    by_budget: dict[str, float] = {}
    for key, row in decision.rows.items():
        for name, weight in row.weights.items():
            view = decision.clusters.get(name)
            if weight <= 0 or row.demand <= 0 or view is None or name not in policy.clusters:
                continue
            requests = row.demand * weight / TOTAL_WEIGHT
            prompt, output = row.tokens if any(row.tokens) else view.tokens
            usd = requests * usd_of_request(policy.clusters[name], view.price, (prompt, output))
            if not all(math.isfinite(each) and each >= 0 for each in (usd, requests, prompt, output)):
                continue
            pair = (key.policy, name)
            spent = Spent(usd, requests, requests * prompt, requests * output)
            by_pair[pair] = by_pair[pair] + spent if pair in by_pair else spent
            for budget in scopes.get(pair, ()):
                by_budget[budget] = by_budget.get(budget, 0.0) + usd
    return Rates(by_pair, by_budget)


@dataclass(frozen=True, slots=True)
class _Span:
    """Some time within a bucket at the same rates."""

    bucket: int
    seconds: float
    rates: Rates


@dataclass(slots=True)
class _Count:
    """What one budget has come to."""

    budget: Budget
    start: float
    """When the period it counts began."""
    usd: float


class SpendingMeter:
    """Counts. When a budget's period begins is asked of the engine, so that both agree on it."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._rates = Rates()
        self._at: float | None = None
        self._spans: list[_Span] = []
        self._pending: dict[Account, Spent] = {}
        """What earlier spans came to, and the store could not be told."""
        self._counts: dict[str, _Count] = {}
        self._unread: dict[str, Budget] = {}
        """Budgets whose count so far is in the store alone, which has not been read."""
        self._storing = asyncio.Lock()
        """Held while the store is read or written, so that what is in memory is what is not in the store."""
        self.scopes: Scopes = {}
        """Of the policy set last applied."""

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
        begin = now if self._at is None else max(self._at, now - LONGEST_GAP)
        if self._at is not None and now - self._at > LONGEST_SPAN:
            usd = {name: rate * (now - begin) for name, rate in sorted(self._rates.by_budget.items())}
            facts = {"pause_seconds": now - self._at, "estimated_seconds": now - begin, "usd_by_budget": usd}
            logger.warning("spending during a pause estimated", extra=facts)
        self._at = now
        for bucket, start, end in _by_bucket(begin, now):
            self._roll(start)
            self._spans.append(_Span(bucket, end - start, self._rates))
            for name, rate in self._rates.by_budget.items():
                if name in self._counts:
                    self._counts[name].usd += rate * (end - start)
        self._roll(now)
        return {name: Spend(now, count.start, count.usd) for name, count in self._counts.items()}

    def take(self, of: Rates) -> None:
        """Count by these rates from now on: those of the decision that has come in force."""
        self._rates = of

    async def run(self) -> None:
        """Write to the store until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()
            if self._unread:
                await self._read()

    async def flush(self) -> None:
        """Write to the store what has come together; it stays in memory when the store is away."""
        async with self._storing:
            await self._add_up()
            if not self._pending:
                return
            try:
                await self._store.add_spending(self._pending)
            except StoreError as error:
                facts = {"error": str(error), "accounts": len(self._pending)}
                logger.warning("spending not recorded yet", extra=facts)
            else:
                self._pending = {}

    async def _add_up(self) -> None:
        """Turn spans into amounts: for a large fleet, too much work for the event loop's thread."""
        spans = list(self._spans)
        self._pending = await asyncio.to_thread(_added_up, self._pending, spans)
        del self._spans[: len(spans)]

    def _roll(self, now: float) -> None:
        """Begin a new count where a period has ended; have it read again where the clock went back over a border."""
        for name, count in list(self._counts.items()):
            start, _ = period(count.budget.spec, now)
            if start > count.start:
                self._counts[name] = _Count(count.budget, start, 0.0)
            elif start < count.start:
                del self._counts[name]
                self._unread[name] = count.budget

    async def _read(self) -> None:
        """Take up the counts that are in the store alone."""
        async with self._storing:
            for name, budget in list(self._unread.items()):
                start, _ = period(budget.spec, self._clock())
                try:
                    known = await self._store.spending_since(start)
                except StoreError as error:
                    logger.warning("spending under a budget not known yet", extra={"budget": name, "error": str(error)})
                    continue
                await self._add_up()
                if self._unread.get(name) != budget:
                    # Another policy set has come in force meanwhile.
                    continue
                usd = sum(spent.usd for pair, spent in known.items() if name in self.scopes.get(pair, ()))
                usd += sum(
                    spent.usd
                    for (bucket, *pair), spent in self._pending.items()
                    if bucket >= start and name in self.scopes.get((pair[0], pair[1]), ())
                )
                usd += sum(
                    span.seconds * span.rates.by_budget.get(name, 0.0) for span in self._spans if span.bucket >= start
                )
                del self._unread[name]
                self._counts[name] = _Count(budget, start, usd)


def _scopes(policy: PolicySet) -> Scopes:
    return {
        (name, cluster): budgets
        for name, each in policy.policies.items()
        for cluster in each.spec.clusters
        if (budgets := tuple(b for b, of in sorted(policy.budgets.items()) if in_scope(policy, of, name, cluster)))
    }


def _added_up(before: Mapping[Account, Spent], spans: list[_Span]) -> dict[Account, Spent]:
    amounts = dict(before)
    for span in spans:
        for (policy, cluster), rate in span.rates.by_pair.items():
            account = (span.bucket, policy, cluster)
            spent = rate.times(span.seconds)
            amounts[account] = amounts[account] + spent if account in amounts else spent
    return amounts


def _by_bucket(begin: float, end: float) -> Iterator[tuple[int, float, float]]:
    """Split a span of time at the borders of buckets."""
    while begin < end:
        bucket = int(begin // BUCKET_SECONDS) * BUCKET_SECONDS
        border = float(bucket + BUCKET_SECONDS)
        yield bucket, begin, min(border, end)
        begin = border
