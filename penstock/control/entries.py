"""From what was seen to what is added to the ledger: spans of time at a decision's rates, and counted requests. Pure.

Adding up is too much work for the event loop's thread where a fleet is large; all here may run in any.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from penstock.control.tariff import Flow, Tariff, flows, priced
from penstock.signals.usage import Usage, UsageKey
from penstock.state.ledger import (
    BUCKET_SECONDS,
    HOUR_SECONDS,
    AccrualKey,
    Accrued,
    Amounts,
    Entries,
    LedgerKey,
)
from penstock_policies.decision import Decision
from penstock_policies.policyset import PolicySet

MOST_ROWS: Final = 100_000
"""Rows that wait in memory with all their detail, some 60 MB: a day of 60 rows on 8 clusters and more. Beyond it the
oldest lose detail (:func:`folded`), never money."""

Scopes = Mapping[tuple[str, str], tuple[str, ...]]
"""Policy and cluster to the budgets that count their traffic."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What the traffic of a decision comes to, a second."""

    tariff: Tariff
    flows: Mapping[str, tuple[Flow, ...]]
    """By edge region."""
    by_budget: Mapping[str, Mapping[str, float]]
    """Edge region to budget to USD a second."""


def rates(policy: PolicySet, decision: Decision, scopes: Scopes, before: Rates | None = None) -> Rates:
    """Find out what the traffic of a decision comes to; ``before`` saves work where the policy set is the same."""
    tariff = Tariff(policy, decision, None if before is None else before.tariff)
    by_region: dict[str, list[Flow]] = {}
    by_budget: dict[str, dict[str, float]] = {}
    for flow in flows(tariff, decision):
        by_region.setdefault(flow.row.region, []).append(flow)
        budgets = scopes.get((flow.row.policy, flow.cluster), ())
        if not budgets:
            continue
        usd = flow.rate * tariff.units[flow.cluster].usd(*priced(flow.sizes))
        sums = by_budget.setdefault(flow.row.region, {})
        for budget in budgets:
            sums[budget] = sums.get(budget, 0.0) + usd
    return Rates(tariff, {region: tuple(found) for region, found in by_region.items()}, by_budget)


@dataclass(frozen=True, slots=True)
class Span:
    """Some time within a bucket at the same rates."""

    bucket: int
    seconds: float
    rates: Rates
    regions: frozenset[str]
    """The edge regions whose traffic is estimated in it; that of the others is measured."""
    accrues: bool = True
    """Whether clusters are paid for in it; not where it only makes good for what logs did not bring."""

    def usd(self, budget: str) -> float:
        """Give what was spent under a budget in it."""
        by_budget = self.rates.by_budget
        return self.seconds * sum(by_budget[region].get(budget, 0.0) for region in self.regions if region in by_budget)


@dataclass(frozen=True, slots=True)
class Batch:
    """Counted requests, priced."""

    bucket: int
    amounts: Mapping[LedgerKey, Amounts]
    unknown: int = 0
    """Requests that named what no policy set of late knows."""

    def usd(self, budget: str, scopes: Scopes) -> float:
        """Give what was spent under a budget by them."""
        return sum(of.usd for key, of in self.amounts.items() if budget in scopes.get((key.policy, key.cluster), ()))


def valued(bucket: int, usage: Mapping[UsageKey, Usage], tariffs: Iterable[Tariff]) -> Batch:
    """Price counted requests by the first tariff that knows what their key names."""
    known = tuple(tariffs)
    amounts: dict[LedgerKey, Amounts] = {}
    unknown = 0
    for named, of in usage.items():
        tariff = next((each for each in known if each.knows(named)), None)
        if tariff is None:
            unknown += of.requests
            continue
        key, came_to = tariff.measured(named, of)
        _add(amounts, LedgerKey(bucket, *key[1:]), came_to)
    return Batch(bucket, amounts, unknown)


@dataclass(slots=True)
class Pending:
    """What the store has not been told yet."""

    amounts: dict[LedgerKey, Amounts] = field(default_factory=dict)
    accrued: dict[AccrualKey, Accrued] = field(default_factory=dict)

    def entries(self) -> Entries:
        """Give them as the store takes them."""
        return Entries(self.amounts, self.accrued)


def added_up(before: Entries, spans: Iterable[Span], batches: Iterable[Batch]) -> tuple[Entries, Entries]:
    """Add spans and batches to what is pending; returns the sum, and what was new in it."""
    new = Pending()
    for (bucket, _, _, _), (span, seconds) in _alike(spans).items():
        for region in span.regions:
            for flow in span.rates.flows.get(region, ()):
                key, a_second = span.rates.tariff.estimated(flow)
                _add(new.amounts, LedgerKey(bucket, *key[1:]), a_second.times(seconds))
        if span.accrues:
            for place, each in span.rates.tariff.accruing().items():
                at = AccrualKey(bucket, *place[1:])
                more = Accrued(each.seconds * seconds, each.usd * seconds)
                new.accrued[at] = new.accrued[at] + more if at in new.accrued else more
    for batch in batches:
        for key, of in batch.amounts.items():
            _add(new.amounts, key, of)
    return _sum(before, new.entries()), new.entries()


def _alike(spans: Iterable[Span]) -> dict[tuple[int, int, frozenset[str], bool], tuple[Span, float]]:
    """Take spans together that differ in their length alone."""
    found: dict[tuple[int, int, frozenset[str], bool], tuple[Span, float]] = {}
    for span in spans:
        alike = (span.bucket, id(span.rates), span.regions, span.accrues)
        _, seconds = found.get(alike, (span, 0.0))
        found[alike] = (span, seconds + span.seconds)
    return found


def _sum(one: Entries, other: Entries) -> Entries:
    whole = Pending(dict(one.amounts), dict(one.accrued))
    for key, of in other.amounts.items():
        _add(whole.amounts, key, of)
    for at, each in other.accrued.items():
        whole.accrued[at] = whole.accrued[at] + each if at in whole.accrued else each
    return whole.entries()


def folded(entries: Entries, most: int = MOST_ROWS) -> Entries:
    """Keep entries that wait to no more than ``most`` rows as far as policies, clusters and hours allow.

    All but the newest bucket lose class, model and edge region, and their quarters become hours: nothing is lost of any
    policy's and cluster's sums. What is left grows by one row a policy, cluster and hour.
    """
    if len(entries.amounts) + len(entries.accrued) <= most:
        return entries
    newest = max([*(key.bucket for key in entries.amounts), *(at.bucket for at in entries.accrued)])
    kept = Pending()
    for key, of in entries.amounts.items():
        coarse = LedgerKey(_hour(key.bucket), key.policy, "", "", key.cluster, key.site, key.region, "")
        _add(kept.amounts, key if key.bucket == newest else coarse, of)
    for at, each in entries.accrued.items():
        place = at if at.bucket == newest else AccrualKey(_hour(at.bucket), *at[1:])
        kept.accrued[place] = kept.accrued[place] + each if place in kept.accrued else each
    return kept.entries()


def portions(entries: Entries, most: int) -> list[Entries]:
    """Split entries into parts of no more rows than that."""
    amounts, accrued = list(entries.amounts.items()), list(entries.accrued.items())
    return [
        *(Entries(dict(amounts[at : at + most]), {}) for at in range(0, len(amounts), most)),
        *(Entries({}, dict(accrued[at : at + most])) for at in range(0, len(accrued), most)),
    ]


def together(parts: Iterable[Entries]) -> Entries:
    """Put together again what was split."""
    whole = Pending()
    for part in parts:
        whole.amounts.update(part.amounts)
        whole.accrued.update(part.accrued)
    return whole.entries()


def _hour(bucket: int) -> int:
    return bucket // HOUR_SECONDS * HOUR_SECONDS


def _add(amounts: dict[LedgerKey, Amounts], key: LedgerKey, of: Amounts) -> None:
    amounts[key] = amounts[key] + of if key in amounts else of


def by_bucket(begin: float, end: float) -> Iterator[tuple[int, float, float]]:
    """Split a span of time at the borders of buckets."""
    while begin < end:
        bucket = bucket_of(begin)
        border = float(bucket + BUCKET_SECONDS)
        yield bucket, begin, min(border, end)
        begin = border


def bucket_of(at: float) -> int:
    """Give when the bucket began that a time is in."""
    return int(at // BUCKET_SECONDS) * BUCKET_SECONDS
