"""First stage, for prices: which price each cluster is judged by, and whether it may move traffic.

A feed's prices are believed while they are plausible and fresh. The last good one of each key is remembered, with its
time, and outlives the feed; once older than the feed's ``maxAge`` it is stale: shown to people, moves no traffic.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from penstock_policies.decision import EngineMemory, Note, Stage
from penstock_policies.engine.sanitise import plausible_time, refusal
from penstock_policies.observations import Observations, Price
from penstock_policies.policyset import PolicySet
from penstock_policies.schema import Cluster

_GREATEST_PRICE = 1e6
"""USD for a million tokens: a dollar a token, a thousand times the dearest model ever sold."""
_GREATEST_JUMP = 10.0
"""A factor no market moves by between two readings; per-thousand for per-million mix-ups are beyond it."""
_LEAST_DOUBT = 60.0
"""Seconds an implausible price must at least persist: a feed with a tiny ``maxAge`` is not believed faster."""

Pairs = dict[str, dict[str, tuple[float, float]]]


@dataclass(frozen=True, slots=True)
class ClusterPrice:
    """The price a cluster is judged by."""

    usd_per_million_tokens: float
    source: str
    age: float | None = None
    steers: bool = True
    """Whether it may move traffic; a stale price may not."""
    known: bool = True
    """Whether there is one at all: a cluster without comes after all others where cost decides."""


@dataclass(frozen=True, slots=True)
class Prices:
    """A price for every cluster, and the memory to judge the next ones by."""

    clusters: Mapping[str, ClusterPrice]
    good: Pairs
    doubts: Pairs
    notes: tuple[Note, ...]


def judge_prices(policy: PolicySet, observations: Observations, memory: EngineMemory, now: float) -> Prices:
    """Refuse absurd prices, remember good ones, and give every cluster the best price known for it."""
    notes: list[Note] = []
    good: Pairs = {}
    doubts: Pairs = {}
    for feed in sorted(policy.feeds):
        users = _users(policy, feed)
        good[feed], doubts[feed] = {}, {}
        for key in sorted(users):
            last = memory.prices.get(feed, {}).get(key)
            seen = observations.prices.get(feed, {}).get(key)
            if seen is None:
                accepted, doubt = last, None
            else:
                doubted = memory.doubts.get(feed, {}).get(key)
                patience = max(_LEAST_DOUBT, policy.feeds[feed].spec.max_age)
                declared = [user.spec.cost.usd_per_million_tokens for user in users[key]]
                accepted, doubt, why = _judge(seen, last, doubted, declared=declared, patience=patience, now=now)
                if why:
                    notes.append(refusal("price", why, feed=feed, key=key))
            if accepted is not None:
                good[feed][key] = accepted
            if doubt is not None:
                doubts[feed][key] = doubt
    clusters = {name: _resolve(policy, policy.clusters[name], good, now) for name in sorted(policy.clusters)}
    return Prices(_with_unknown_as_dearest(clusters, notes), good, doubts, tuple(notes))


def _users(policy: PolicySet, feed: str) -> dict[str, list[Cluster]]:
    users: dict[str, list[Cluster]] = {}
    for name in sorted(policy.clusters):
        cost = policy.clusters[name].spec.cost
        if cost.feed == feed and cost.key is not None:
            users.setdefault(cost.key, []).append(policy.clusters[name])
    return users


def _judge(
    seen: Price,
    last: tuple[float, float] | None,
    doubted: tuple[float, float] | None,
    *,
    declared: Sequence[float | None],
    patience: float,
    now: float,
) -> tuple[tuple[float, float] | None, tuple[float, float] | None, str]:
    """Give the last good price after ``seen``, what is doubted from now on, and why ``seen`` was refused."""
    price = seen.usd_per_million_tokens
    why = _fault(seen, now, may_be_free=0 in declared)
    if why:
        return last, None, why
    accepted = (price, min(seen.at, now))
    # The first price of a feed has none before it; a mix-up of units shows against what the policy declares.
    known = [last[0]] if last is not None else [one for one in declared if one is not None]
    if not known or not all(_jumps(one, price) for one in known):
        return (accepted if last is None or accepted[1] > last[1] else last), None, ""
    if doubted is None or _jumps(doubted[0], price):
        doubted = (price, now)
    if now - doubted[1] >= patience:
        return accepted, None, ""
    return last, doubted, f"too far from the {'declared' if last is None else 'last good'} price"


def _fault(seen: Price, now: float, *, may_be_free: bool) -> str:
    price = seen.usd_per_million_tokens
    if not plausible_time(seen.at, now):
        return "time not plausible"
    if not math.isfinite(price):
        return "not a finite number"
    if price < 0:
        return "negative"
    if price == 0 and not may_be_free:
        return "zero, and no policy declares it free"
    if price > _GREATEST_PRICE:
        return "larger than any price"
    return ""


def _jumps(before: float, after: float) -> bool:
    return before > 0 and after > 0 and max(before, after) > _GREATEST_JUMP * min(before, after)


def _resolve(policy: PolicySet, cluster: Cluster, good: Pairs, now: float) -> ClusterPrice | None:
    cost = cluster.spec.cost
    last = good.get(cost.feed, {}).get(cost.key) if cost.feed is not None and cost.key is not None else None
    if last is not None and cost.feed is not None:
        age = max(0.0, now - last[1])
        if age <= policy.feeds[cost.feed].spec.max_age:
            return ClusterPrice(last[0], f"feed {cost.feed}", age)
        if cost.usd_per_million_tokens is None:
            return ClusterPrice(last[0], f"feed {cost.feed} (stale)", age, steers=False)
    if cost.usd_per_million_tokens is not None:
        return ClusterPrice(cost.usd_per_million_tokens, "policy")
    return None


def _with_unknown_as_dearest(clusters: Mapping[str, ClusterPrice | None], notes: list[Note]) -> dict[str, ClusterPrice]:
    known = [price.usd_per_million_tokens for price in clusters.values() if price is not None]
    dearest = ClusterPrice(max(known, default=0.0), "unknown, taken for the dearest", known=False)
    for name, price in clusters.items():
        if price is None:
            notes.append(Note(Stage.SANITISE, "price unknown, taken for the dearest", {"cluster": name}))
    return {name: dearest if price is None else price for name, price in clusters.items()}
