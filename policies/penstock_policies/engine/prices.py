"""First stage, for prices: which price each cluster is judged by, and whether it may move traffic.

A feed's prices are believed while they are plausible and fresh. The last good one of each key is remembered, with its
time, and outlives the feed; once older than the feed's ``maxAge`` it is stale: shown to people, moves no traffic. A
price of machines' time or of electricity is judged as it comes, and only then turned into one of tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from penstock_policies.decision import EngineMemory, Note, Stage
from penstock_policies.engine.conversion import of_tokens, usd_per_million
from penstock_policies.engine.plausible import fault, jumps, patience
from penstock_policies.engine.sanitise import plausible_time, refusal
from penstock_policies.feeds import Basis
from penstock_policies.observations import Observations
from penstock_policies.policyset import PolicySet
from penstock_policies.schema import Cluster

_GREATEST_RATIO = 10.0
"""Times a generated token that a prompt token costs: no model is sold like that."""

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
    prompt_ratio: float | None = None
    """What a prompt token costs of it, where not the policy tells."""
    usd_per_hour: float | None = None
    """What the whole cluster costs an hour, where the price is one of machines' time."""


@dataclass(frozen=True, slots=True)
class Prices:
    """A price for every cluster, and the memory to judge the next ones by."""

    clusters: Mapping[str, ClusterPrice]
    good: Pairs
    doubts: Pairs
    notes: tuple[Note, ...]
    ratios: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Feed, key to what a prompt token costs of the last good price, where the feed tells."""


class Seen(NamedTuple):
    """A figure as a feed tells it: USD for its basis."""

    at: float
    usd: float
    prompt_ratio: float | None = None


def remembered_as(basis: Basis, key: str) -> str:
    """Name what a figure is remembered by: a price by the hour says nothing of one by the GPU-hour."""
    return key if basis is Basis.TOKENS else f"{key} per {basis}"


def judge_prices(policy: PolicySet, observations: Observations, memory: EngineMemory, now: float) -> Prices:
    """Refuse absurd prices, remember good ones, and give every cluster the best price known for it."""
    notes: list[Note] = []
    good: Pairs = {}
    doubts: Pairs = {}
    ratios: dict[str, dict[str, float]] = {}
    bases = {name: feed.spec.bases() for name, feed in policy.feeds.items()}
    for feed in sorted(policy.feeds):
        users, spec = _users(policy, feed), policy.feeds[feed].spec
        good[feed], doubts[feed] = {}, {}
        for key in sorted(users):
            basis = bases[feed].get(key, Basis.TOKENS)
            slot = remembered_as(basis, key)
            last, ratio = memory.prices.get(feed, {}).get(slot), memory.prompt_ratios.get(feed, {}).get(key)
            seen = _seen(observations, feed, key, basis)
            if seen is None:
                accepted, doubt = last, None
            else:
                doubted = memory.doubts.get(feed, {}).get(slot)
                declared = _declared(users[key], basis)
                accepted, doubt, why = _judge(
                    basis, seen, last, doubted, declared=declared, enough=patience(basis, spec.max_age), now=now
                )
                if why:
                    notes.append(refusal("price", why, feed=feed, key=key))
                elif accepted == (seen.usd, min(seen.at, now)):
                    ratio = _plausible_ratio(seen.prompt_ratio)
            if accepted is not None:
                good[feed][slot] = accepted
                if ratio is not None:
                    ratios.setdefault(feed, {})[key] = ratio
            if doubt is not None:
                doubts[feed][slot] = doubt
    clusters = {
        name: _resolve(policy, policy.clusters[name], bases, good, ratios, pace=memory.paces.get(name), now=now)
        for name in sorted(policy.clusters)
    }
    return Prices(_with_unknown_as_dearest(clusters, notes), good, doubts, tuple(notes), ratios)


def _users(policy: PolicySet, feed: str) -> dict[str, list[Cluster]]:
    users: dict[str, list[Cluster]] = {}
    for name in sorted(policy.clusters):
        cost = policy.clusters[name].spec.cost
        if cost.feed == feed and cost.key is not None:
            users.setdefault(cost.key, []).append(policy.clusters[name])
    return users


def _seen(observations: Observations, feed: str, key: str, basis: Basis) -> Seen | None:
    if basis is Basis.TOKENS:
        price = observations.prices.get(feed, {}).get(key)
        return None if price is None else Seen(price.at, price.usd_per_million_tokens, price.prompt_ratio)
    rate = observations.rates.get(feed, {}).get(key)
    return None if rate is None or rate.per != basis else Seen(rate.at, rate.usd)


def _declared(users: Sequence[Cluster], basis: Basis) -> list[float]:
    """Give what the figure would be by what clusters declare; of electricity nobody declares what it costs."""
    declared: list[float] = []
    for user in users:
        usd = user.spec.cost.usd_per_million_tokens
        per_million = 1.0 if basis is Basis.TOKENS else usd_per_million(user, basis)
        if usd is not None and per_million and basis is not Basis.KWH:
            declared.append(usd / per_million)
    return declared


def _judge(
    basis: Basis,
    seen: Seen,
    last: tuple[float, float] | None,
    doubted: tuple[float, float] | None,
    *,
    declared: Sequence[float],
    enough: float,
    now: float,
) -> tuple[tuple[float, float] | None, tuple[float, float] | None, str]:
    """Give the last good price after ``seen``, what is doubted from now on, and why ``seen`` was refused."""
    price = seen.usd
    may_be_free = 0 in declared
    why = fault(basis, price, may_be_free=may_be_free) if plausible_time(seen.at, now) else "time not plausible"
    if why:
        return last, None, why
    accepted = (price, min(seen.at, now))
    # The first price of a feed has none before it; a mix-up of units shows against what the policy declares.
    known = [last[0]] if last is not None else declared
    if not known or not all(jumps(basis, one, price) for one in known):
        return (accepted if last is None or accepted[1] > last[1] else last), None, ""
    if doubted is None or jumps(basis, doubted[0], price):
        doubted = (price, now)
    if now - doubted[1] >= enough:
        return accepted, None, ""
    return last, doubted, f"too far from the {'declared' if last is None else 'last good'} price"


def _plausible_ratio(ratio: float | None) -> float | None:
    """Give what a feed tells of prompt tokens, None where that cannot be: the price may be right all the same."""
    return ratio if ratio is not None and 0 <= ratio <= _GREATEST_RATIO else None


def _resolve(
    policy: PolicySet,
    cluster: Cluster,
    bases: Mapping[str, Mapping[str, Basis]],
    good: Pairs,
    ratios: Mapping[str, Mapping[str, float]],
    *,
    pace: tuple[float, float] | None,
    now: float,
) -> ClusterPrice | None:
    cost = cluster.spec.cost
    if cost.feed is not None and cost.key is not None and cost.feed in policy.feeds:
        basis = bases[cost.feed].get(cost.key, Basis.TOKENS)
        last = good.get(cost.feed, {}).get(remembered_as(basis, cost.key))
        if last is not None:
            age = max(0.0, now - last[1])
            stale = age > policy.feeds[cost.feed].spec.max_age
            ratio = ratios.get(cost.feed, {}).get(cost.key) if cost.declared_prompt_ratio is None else None
            fed = _fed(cluster, basis, last[0], ratio, pace)
            if fed is not None and (not stale or cost.usd_per_million_tokens is None):
                source = f"feed {cost.feed}{' (stale)' if stale else ''}"
                told = f": {fed.told}" if fed.told else ""
                return ClusterPrice(
                    fed.usd,
                    f"{source}{told}",
                    age,
                    steers=not stale,
                    prompt_ratio=fed.prompt_ratio,
                    usd_per_hour=fed.usd_per_hour,
                )
    if cost.usd_per_million_tokens is not None:
        return ClusterPrice(cost.usd_per_million_tokens, "policy")
    return None


class _Fed(NamedTuple):
    usd: float
    prompt_ratio: float | None
    told: str
    usd_per_hour: float | None = None


def _fed(
    cluster: Cluster, basis: Basis, figure: float, ratio: float | None, pace: tuple[float, float] | None
) -> _Fed | None:
    if basis is Basis.TOKENS:
        return _Fed(figure, ratio, "")
    turned = of_tokens(cluster, basis, figure, pace)
    return (
        None
        if turned is None
        else _Fed(turned.usd_per_million_tokens, turned.prompt_ratio, turned.told, turned.usd_per_hour)
    )


def _with_unknown_as_dearest(clusters: Mapping[str, ClusterPrice | None], notes: list[Note]) -> dict[str, ClusterPrice]:
    known = [price.usd_per_million_tokens for price in clusters.values() if price is not None]
    dearest = ClusterPrice(max(known, default=0.0), "unknown, taken for the dearest", known=False)
    for name, price in clusters.items():
        if price is None:
            notes.append(Note(Stage.SANITISE, "price unknown, taken for the dearest", {"cluster": name}))
    return {name: dearest if price is None else price for name, price in clusters.items()}
