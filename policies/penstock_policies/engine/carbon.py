"""First stage, for carbon: which intensity each cluster is judged by, and whether it may move traffic.

As with prices, a feed's figures are believed while they are plausible and fresh, the last good one of each key outlives
the feed, and once older than the feed's ``maxAge`` it is stale: shown to people, moves no traffic. Intensities may be
zero, and move more than prices do: a grid goes from wind to coal within hours.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from penstock_policies.decision import EngineMemory, Note, Stage
from penstock_policies.engine.sanitise import plausible_time, refusal
from penstock_policies.observations import Intensity, Observations
from penstock_policies.policyset import PolicySet
from penstock_policies.schema import Cluster

_GREATEST = 1e7
"""Grams for a million tokens: ten tonnes, thousands of times what the hungriest model emits on coal."""
_GREATEST_JUMP = 100.0
"""A factor no grid moves by while the last figure is still fresh; grams for kilograms is beyond it."""

Pairs = dict[str, dict[str, tuple[float, float]]]


@dataclass(frozen=True, slots=True)
class ClusterCarbon:
    """The intensity a cluster is judged by."""

    grams_per_million_tokens: float
    source: str
    age: float | None = None
    steers: bool = True
    """Whether it may move traffic; a stale one may not."""
    known: bool = True
    """Whether there is one at all: a cluster without comes after all others where carbon decides."""


@dataclass(frozen=True, slots=True)
class Carbon:
    """An intensity for every cluster, and the memory to judge the next ones by."""

    clusters: Mapping[str, ClusterCarbon]
    good: Pairs
    notes: tuple[Note, ...]


def judge_carbon(policy: PolicySet, observations: Observations, memory: EngineMemory, now: float) -> Carbon:
    """Refuse absurd intensities, remember good ones, and give every cluster the best one known for it."""
    notes: list[Note] = []
    good: Pairs = {}
    for feed, key in sorted(_wanted(policy)):
        last = memory.carbon.get(feed, {}).get(key)
        seen = observations.carbon.get(feed, {}).get(key)
        if seen is not None:
            why = _fault(seen, last, policy.feeds[feed].spec.max_age, now)
            if why:
                notes.append(refusal("carbon intensity", why, feed=feed, key=key))
            elif last is None or seen.at > last[1]:
                last = (seen.grams_per_million_tokens, min(seen.at, now))
        if last is not None:
            good.setdefault(feed, {})[key] = last
    clusters = {name: _resolve(policy, policy.clusters[name], good, now) for name in sorted(policy.clusters)}
    return Carbon(_with_unknown_as_worst(clusters, notes), good, tuple(notes))


def _wanted(policy: PolicySet) -> set[tuple[str, str]]:
    return {
        (carbon.feed, carbon.key)
        for carbon in (cluster.spec.carbon for cluster in policy.clusters.values())
        if carbon.feed is not None and carbon.key is not None and carbon.feed in policy.feeds
    }


def _fault(seen: Intensity, last: tuple[float, float] | None, max_age: float, now: float) -> str:
    grams = seen.grams_per_million_tokens
    if not plausible_time(seen.at, now):
        return "time not plausible"
    if not math.isfinite(grams):
        return "not a finite number"
    if grams < 0:
        return "negative"
    if grams > _GREATEST:
        return "larger than any intensity"
    fresh = last is not None and now - last[1] <= max_age
    if last is not None and fresh and min(grams, last[0]) > 0:
        jumps = max(grams, last[0]) > _GREATEST_JUMP * min(grams, last[0])
        return "too far from the last good one" if jumps else ""
    return ""


def _resolve(policy: PolicySet, cluster: Cluster, good: Pairs, now: float) -> ClusterCarbon | None:
    carbon = cluster.spec.carbon
    last = good.get(carbon.feed, {}).get(carbon.key) if carbon.feed is not None and carbon.key is not None else None
    if last is not None and carbon.feed is not None:
        age = max(0.0, now - last[1])
        if age <= policy.feeds[carbon.feed].spec.max_age:
            return ClusterCarbon(last[0], f"feed {carbon.feed}", age)
        if carbon.grams_per_million_tokens is None:
            return ClusterCarbon(last[0], f"feed {carbon.feed} (stale)", age, steers=False)
    if carbon.grams_per_million_tokens is not None:
        return ClusterCarbon(carbon.grams_per_million_tokens, "policy")
    return None


def _with_unknown_as_worst(clusters: Mapping[str, ClusterCarbon | None], notes: list[Note]) -> dict[str, ClusterCarbon]:
    known = [carbon.grams_per_million_tokens for carbon in clusters.values() if carbon is not None]
    worst = ClusterCarbon(max(known, default=0.0), "unknown, taken for the worst", known=False)
    for name, carbon in clusters.items():
        if carbon is None:
            fields = {"cluster": name}
            notes.append(Note(Stage.SANITISE, "carbon intensity unknown, taken for the worst", fields))
    return {name: worst if carbon is None else carbon for name, carbon in clusters.items()}
