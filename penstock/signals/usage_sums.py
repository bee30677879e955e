"""Adding up requests that have ended, under names of the policy set. Pure but for its own state; one thread.

Two things come of it: what ended since the last time asked, for the ledger, and what requests were like lately, for the
load on the board. It also keeps what people's metrics need, as plain numbers that are made into metrics when scraped.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from penstock.signals.access_log_entries import Ended
from penstock.signals.recent_requests import Measured, RecentRequests
from penstock.signals.usage import Usage, UsageKey
from penstock_envoy import names
from penstock_policies.policyset import ANY_MODEL, PolicySet

BOUNDS: Final = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Seconds: histogram buckets of first tokens and of whole requests. A short prompt's first token on an idle GPU takes
some 50 ms, a long answer minutes."""

METERED_FOR: Final = 300.0
"""Seconds for which a region counts as metered after an entry: longer than pauses in traffic by day."""


@dataclass(slots=True)
class Seconds:
    """A histogram of seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    """By :data:`BOUNDS`, the last for all above."""
    total: float = 0.0

    def add(self, seconds: float) -> None:
        """Count a value."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


@dataclass(slots=True)
class ClusterTimes:
    """How long requests to one cluster took since the start."""

    first_token: Seconds = field(default_factory=Seconds)
    duration: Seconds = field(default_factory=Seconds)


class _Count:
    """What ended of one kind of request since the last time asked."""

    __slots__ = ("cached", "failed", "key", "output", "prompt", "recent", "requests", "seconds", "times", "unmetered")

    def __init__(self, key: UsageKey, recent: RecentRequests | None, times: ClusterTimes | None) -> None:
        self.key = key
        self.recent = recent
        self.times = times
        self.clear()

    def clear(self) -> None:
        self.requests = self.failed = self.unmetered = 0
        self.prompt = self.cached = self.output = 0
        self.seconds = 0.0

    def usage(self) -> Usage:
        return Usage(self.requests, self.failed, self.unmetered, self.prompt, self.cached, self.output, self.seconds)


@dataclass(frozen=True, slots=True)
class _Route:
    """What a route's name stands for."""

    policy: str
    data_class: str
    model: str
    clusters: frozenset[str]


class UsageSums:
    """Sums by region, policy, class, model and cluster; bounded by what policies name, whatever Envoys say."""

    def __init__(self) -> None:
        self._routes: dict[str, _Route] = {}
        self._of_policy: dict[str, _Route] = {}
        """The routes of the policy set in force alone."""
        self._counts: dict[tuple[str, str, str], _Count] = {}
        """By region, route and cluster."""
        self._ended: dict[UsageKey, Usage] = {}
        """What was counted before the policy set in force and not taken yet."""
        self._recent: dict[tuple[str, str], RecentRequests] = {}
        self._heard: dict[str, float] = {}
        """Region to when an entry last arrived."""
        self.totals: dict[tuple[str, str], Usage] = {}
        """Since the start, by policy and cluster."""
        self.times: dict[str, ClusterTimes] = {}
        """By cluster."""

    def apply(self, policy: PolicySet) -> None:
        """Count by the names of this policy set, and by those of the last: logs lag behind an edit."""
        routes = _routes(policy)
        self._routes = {**self._of_policy, **routes}
        self._of_policy = routes
        self._ended, self._counts = self.take(), {}
        regions = set(policy.regions())
        self._recent = {
            (region, name): recent
            for (region, name), recent in self._recent.items()
            if region in regions and name in policy.clusters
        }
        self.times = {name: times for name, times in self.times.items() if name in policy.clusters}
        self.totals = {key: of for key, of in self.totals.items() if key[0] in policy.policies}

    def add(self, region: str, ended: Ended, now: float) -> bool:
        """Count a request; False when its route or cluster is in no policy set."""
        kind = (region, ended.route, ended.cluster)
        count = self._counts.get(kind)
        if count is None:
            found = self._count(*kind)
            if found is None:
                return False
            count = self._counts[kind] = found
        self._heard[region] = now
        count.requests += 1
        count.failed += ended.failed
        count.unmetered += ended.unmetered
        count.prompt += ended.prompt_tokens
        count.cached += ended.cached_tokens
        count.output += ended.output_tokens
        count.seconds += ended.seconds
        if count.times is not None and count.recent is not None:
            count.times.duration.add(ended.seconds)
            if ended.metered or ended.unmetered:
                count.recent.answered(now, ended.prompt_tokens, ended.output_tokens, metered=ended.metered)
            if ended.first_token is not None:
                count.times.first_token.add(ended.first_token)
                count.recent.first_token(now, ended.first_token)
        return True

    def take(self) -> dict[UsageKey, Usage]:
        """Everything that ended since the last call."""
        taken, self._ended = self._ended, {}
        for count in self._counts.values():
            if count.requests:
                usage = count.usage()
                count.clear()
                taken[count.key] = taken[count.key] + usage if count.key in taken else usage
                total = (count.key.policy, count.key.cluster)
                self.totals[total] = self.totals.get(total, Usage()) + usage
        return taken

    def metered_regions(self, now: float) -> frozenset[str]:
        """Return the regions whose Envoys' logs have arrived in the last five minutes."""
        # Where the clock was set back, "heard in the future" says nothing of now.
        return frozenset(region for region, at in self._heard.items() if abs(now - at) <= METERED_FOR)

    def measured(self, now: float) -> Mapping[str, Mapping[str, Measured]]:
        """What requests were like lately, by region and cluster."""
        found: dict[str, dict[str, Measured]] = {}
        for (region, cluster), recent in self._recent.items():
            found.setdefault(region, {})[cluster] = recent.measured(now)
        return found

    def _count(self, region: str, route_name: str, cluster: str) -> _Count | None:
        route = self._known(route_name, cluster)
        if route is None:
            return None
        key = UsageKey(region, route.policy, route.data_class, route.model, cluster)
        if not cluster:
            return _Count(key, None, None)
        recent = self._recent.setdefault((region, cluster), RecentRequests())
        return _Count(key, recent, self.times.setdefault(cluster, ClusterTimes()))

    def _known(self, route_name: str, cluster: str) -> _Route | None:
        route = self._routes.get(route_name)
        return route if route is not None and (not cluster or cluster in route.clusters) else None


def _routes(policy: PolicySet) -> dict[str, _Route]:
    return {
        names.route(each.spec.data_class, each.name, model): _Route(
            each.name,
            each.spec.data_class.value,
            "" if model == ANY_MODEL else model,
            frozenset(each.spec.clusters),
        )
        for each in policy.policies.values()
        for model in policy.models_of(each)
    }
