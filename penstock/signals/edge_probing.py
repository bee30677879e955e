"""Probing by the Envoys: who is asked to check what, what they say, and what comes of it. No I/O, no clock.

One value a process, told of everything as it happens: a policy, Envoys that come and go, their reports. Asked every now
and then (:meth:`EdgeProbing.settle`), it says which checkers are to be told something else, and what most votes of each
region now say of each endpoint that was voted on. Both are put off that long on purpose: a thousand Envoys that
reconnect at once are told once what to check, and not a thousand times.

A checker may speak of what it was asked and of nothing else. One that falls silent loses its votes after three reports,
its tasks to others soon after, and is not asked again for a minute. Whoever a checker is new to is not called ill
before it has had the time that an old one would have taken: Envoy begins by calling everything unhealthy.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from penstock.signals.checkers import Roster
from penstock.signals.edge_checks import Check, Place, report_interval
from penstock.signals.health_reports import HealthReport
from penstock.signals.votes import LIVE_INTERVALS, Tally, Vote, as_probe, tally
from penstock_policies.observations import EndpointProbe

QUIET: Final = 0.5
"""Seconds that a region's checkers must not have changed before they are told; ten times that at most."""

LINGER: Final = 5.0
"""Seconds an Envoy that hung up keeps its tasks: most come back at once."""

BENCH: Final = 60.0
"""Seconds a checker that fell silent is not asked again."""

REPORT_EVERY: Final = (1.0, 10.0)
"""Bounds in seconds of how often a checker reports; between them, as often as it probes what it probes most often."""

HELD_UP: Final = 1.0
"""Seconds between two looks from which it is this process that was away, and nobody fell silent meanwhile."""

_PATIENCE: Final = 10.0
"""Times :data:`QUIET`."""
_IDLE: Final = 3600.0
"""Seconds between reports of a checker that has nothing to check any more: a report about nothing says nothing."""


@dataclass(slots=True, eq=False)
class Checker:
    """An Envoy that offers to probe."""

    node: str
    node_cluster: str
    place: Place | None = None
    gone_at: float | None = None
    """Since when it has no stream."""
    heard_at: float = 0.0
    """When it last reported, was told what to check, or came."""
    benched_until: float = 0.0
    every: float = _IDLE
    asked: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """What it was told to check: cluster to address to endpoint key."""
    before: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The same, before that: reports that were under way then are no offence."""
    since: dict[str, float] = field(default_factory=dict)
    """Cluster to when it was first told to check it."""
    reached: set[tuple[str, str]] = field(default_factory=set)
    """Cluster and endpoint it has found well since."""
    told: bytes = b""
    """The last ``HealthCheckSpecifier`` meant for it; empty for none."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What most checkers of a region say of an endpoint now."""

    region: str
    cluster: str
    endpoint: str
    probe: EndpointProbe


@dataclass(frozen=True, slots=True)
class Settled:
    """What came of it since it was asked last."""

    tell: tuple[Checker, ...]
    """Checkers whose ``told`` has changed."""
    verdicts: tuple[Verdict, ...]
    turned: bool
    """Whether any endpoint is called otherwise than before."""


@dataclass(slots=True)
class _Region:
    roster: Roster = field(default_factory=Roster)
    votes: dict[tuple[str, str], dict[str, Vote]] = field(default_factory=dict)
    """Cluster and endpoint to the votes, by node."""
    voted: set[tuple[str, str]] = field(default_factory=set)
    """Those to be counted anew."""
    verdicts: dict[tuple[str, str], bool | None] = field(default_factory=dict)


class EdgeProbing:
    """Who checks what, and what they say."""

    def __init__(self) -> None:
        self._checks: Mapping[str, Check] = {}
        self._places: Mapping[str, Place] = {}
        self._regions: dict[str, _Region] = {}
        self._checkers: dict[str, Checker] = {}
        self._restless: set[str] = set()
        self._moved_at = self._restless_since = 0.0
        self._looked_at: float | None = None
        self.expired = 0
        """Votes that ended with nobody renewing them."""

    def apply(self, checks: Mapping[str, Check], places: Mapping[str, Place], now: float) -> None:
        """Check these clusters from now on, by Envoys of these node clusters."""
        changed = {name for name, check in checks.items() if self._checks.get(name) != check}
        self._checks, self._places = checks, places
        for name in {place.region for place in places.values()} - self._regions.keys():
            self._regions[name] = _Region()
        for region in self._regions.values():
            self._move(region.roster.set_clusters({name: one.health.checkers for name, one in checks.items()}), now)
            for name in changed:
                self._move(region.roster.checkers(name), now)
            known = {(name, key) for name, one in checks.items() for key in one.keys.values()}
            region.votes = {about: votes for about, votes in region.votes.items() if about in known}
            # Thresholds may be others, and the board has forgotten what was not known before.
            region.voted = set(region.votes)
            region.verdicts.clear()
        for checker in self._checkers.values():
            for name in changed:
                checker.since.pop(name, None)
            self._put(checker, now)
        for name in self._regions.keys() - {place.region for place in places.values()}:
            del self._regions[name]

    def came(self, node: str, node_cluster: str, now: float) -> Checker:
        """Take in an Envoy with a new stream; of an earlier one of the same name this takes the place."""
        earlier = self._checkers.get(node)
        checker = Checker(node, node_cluster, heard_at=now)
        if earlier is not None:
            checker.place = earlier.place
            checker.benched_until = earlier.benched_until
        self._checkers[node] = checker
        self._put(checker, now)
        self._move({node}, now)
        return checker

    def went(self, checker: Checker, now: float) -> None:
        """Let an Envoy's stream end."""
        if self._checkers.get(checker.node) is checker:
            checker.gone_at = now

    def current(self, checker: Checker) -> bool:
        """Tell whether no other stream has come in the name of the same Envoy."""
        return self._checkers.get(checker.node) is checker

    def questions(self, checker: Checker) -> Mapping[str, Mapping[str, str]]:
        """Give what a checker may speak of."""
        before, asked = checker.before, checker.asked
        return {name: {**before.get(name, {}), **asked.get(name, {})} for name in before.keys() | asked.keys()}

    def heard(self, checker: Checker, report: HealthReport, now: float) -> None:
        """Count what a checker reports. What it is no longer asked about is passed over."""
        checker.heard_at = now
        region = self._regions.get(checker.place.region) if checker.place is not None else None
        if region is None or not self.current(checker) or checker.benched_until > now:
            return
        until = now + LIVE_INTERVALS * checker.every
        for cluster, endpoints in report.healthy.items():
            check = self._checks.get(cluster)
            if cluster not in checker.asked or check is None:
                continue
            early = now < self._ripe(checker, cluster)
            for key in check.keys.values() & endpoints.keys():
                about, healthy = (cluster, key), endpoints[key]
                if healthy:
                    checker.reached.add(about)
                elif early and about not in checker.reached:
                    continue
                region.votes.setdefault(about, {})[checker.node] = Vote(healthy, now, until)
                region.voted.add(about)

    def settle(self, now: float) -> Settled:
        """Bring everything up to ``now``."""
        self._let_go(now)
        turned, verdicts = False, []
        for name, region in self._regions.items():
            for about in sorted(region.voted):
                counted = self._count(region, about, now)
                probe = as_probe(counted, self._checks[about[0]].health)
                if probe is not None:
                    turned = turned or region.verdicts.get(about) is not counted.healthy
                    region.verdicts[about] = counted.healthy
                    verdicts.append(Verdict(name, *about, probe))
            region.voted.clear()
        return Settled(self._tell(now), tuple(verdicts), turned)

    def tallies(self, region: str, cluster: str, now: float) -> dict[str, Tally]:
        """Give the live votes of a region on every endpoint of a cluster."""
        held, check = self._regions.get(region), self._checks.get(cluster)
        if held is None or check is None:
            return {}
        return {key: tally(held.votes.get((cluster, key), {}), now) for key in check.keys.values()}

    def checkers(self, region: str, cluster: str) -> int:
        """Count the Envoys of a region that are asked to check a cluster."""
        held = self._regions.get(region)
        return len(held.roster.checkers(cluster)) if held is not None else 0

    def watched(self) -> dict[str, frozenset[str]]:
        """Give, by region, the clusters that its Envoys are to check, whether there are any or not."""
        may: dict[str, frozenset[str]] = {}
        for place in self._places.values():
            may[place.region] = may.get(place.region, frozenset()) | (place.may & self._checks.keys())
        return {region: clusters for region, clusters in sorted(may.items()) if clusters}

    def busy(self) -> dict[str, int]:
        """Give, by region, how many Envoys have something to check."""
        busy = dict.fromkeys(self._regions, 0)
        for checker in self._checkers.values():
            if checker.asked and checker.place is not None and checker.place.region in busy:
                busy[checker.place.region] += 1
        return dict(sorted(busy.items()))

    def benched(self, now: float) -> int:
        """Count the Envoys that are not asked now, as they fell silent."""
        return sum(checker.benched_until > now for checker in self._checkers.values())

    def unplaced(self) -> int:
        """Count the Envoys of no known group."""
        return sum(checker.place is None for checker in self._checkers.values())

    def _put(self, checker: Checker, now: float) -> None:
        """Put a checker where it belongs by the policy in force."""
        before, place = checker.place, self._places.get(checker.node_cluster)
        if before is not None and (place is None or place.region != before.region):
            self._leave(checker.node, before.region, now)
        checker.place = place
        if place is not None and checker.benched_until <= now:
            self._move(self._regions[place.region].roster.join(checker.node, place.may), now)

    def _leave(self, node: str, region: str, now: float) -> None:
        if region in self._regions:
            self._move(self._regions[region].roster.leave(node), now)

    def _let_go(self, now: float) -> None:
        """Part with those who went for good or fell silent, and ask those again who did long ago."""
        away = now - self._looked_at if self._looked_at is not None else 0.0
        self._looked_at = now
        if away > HELD_UP:
            # What they said meanwhile is yet to be read.
            for checker in self._checkers.values():
                checker.heard_at += away
        for checker in tuple(self._checkers.values()):
            region = checker.place.region if checker.place is not None else ""
            if checker.gone_at is not None and now - checker.gone_at >= LINGER:
                del self._checkers[checker.node]
                self._restless.discard(checker.node)
                self._leave(checker.node, region, now)
            elif checker.benched_until > 0 and checker.benched_until <= now:
                checker.benched_until, checker.heard_at = 0.0, now
                self._put(checker, now)
            elif (
                checker.asked
                and checker.benched_until <= 0
                and checker.gone_at is None
                and now - checker.heard_at > LIVE_INTERVALS * checker.every
            ):
                checker.benched_until = now + BENCH
                self._leave(checker.node, region, now)

    def _move(self, nodes: Iterable[str], now: float) -> None:
        before = len(self._restless)
        self._restless.update(nodes)
        if len(self._restless) > before:
            self._moved_at = now
            if not before:
                self._restless_since = now

    def _tell(self, now: float) -> tuple[Checker, ...]:
        if not self._restless:
            return ()
        if now - self._moved_at < QUIET and now - self._restless_since < QUIET * _PATIENCE:
            return ()
        found = (self._checkers.get(node) for node in sorted(self._restless))
        tell = tuple(checker for checker in found if checker is not None and self._instructed(checker, now))
        self._restless.clear()
        return tell

    def _instructed(self, checker: Checker, now: float) -> bool:
        """Make up what a checker is to be told; tell whether it is anything new."""
        region = self._regions.get(checker.place.region) if checker.place is not None else None
        wanted = sorted(region.roster.of(checker.node)) if region is not None else []
        if wanted:
            least, most = REPORT_EVERY
            every = min(most, max(least, min(self._checks[name].health.interval for name in wanted)))
        else:
            every = _IDLE
        told = b"".join(self._checks[name].told for name in wanted) + report_interval(every)
        if told == checker.told or (not wanted and not checker.told):
            return False
        asked = {name: self._checks[name].keys for name in wanted}
        if region is not None:
            self._withdraw(region, checker, checker.asked.keys() - asked.keys())
        checker.before, checker.asked, checker.told, checker.every = checker.asked, asked, told, every
        checker.since = {name: checker.since.get(name, now) for name in wanted}
        checker.reached = {about for about in checker.reached if about[0] in asked}
        checker.heard_at = now
        return True

    def _withdraw(self, region: _Region, checker: Checker, clusters: Iterable[str]) -> None:
        """Take back the votes of one who is no longer asked."""
        for name in clusters:
            for key in checker.asked[name].values():
                if region.votes.get((name, key), {}).pop(checker.node, None) is not None and name in self._checks:
                    region.voted.add((name, key))

    def _ripe(self, checker: Checker, cluster: str) -> float:
        """Give from when on a checker's word that a cluster is ill counts, if it never found it well."""
        health = self._checks[cluster].health
        return checker.since.get(cluster, 0.0) + health.unhealthy_threshold * health.interval + health.timeout

    def _count(self, region: _Region, about: tuple[str, str], now: float) -> Tally:
        votes = region.votes.get(about, {})
        for node in [node for node, vote in votes.items() if now > vote.until]:
            del votes[node]
            self.expired += 1
        return tally(votes, now)
