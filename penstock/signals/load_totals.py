"""The sums of what reporters say, by region: kept up to date report by report. Pure, but for what it remembers.

A thousand Envoys that report each second, summed up anew four times a second, would cost more than all else. So every
report is added as it comes, and what the same reporter said before is taken away: the figures are integers, so nothing
is lost by it. Owned by :class:`penstock.signals.lrs.LoadReports`; on the event loop's thread.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from penstock.signals.load_doubt import LARGE, Claims, peak
from penstock.signals.load_endpoints import EndpointLoad, Endpoints, Outcome
from penstock.signals.load_reports import MILLIONTHS, EndpointCount, Figures, Place, Report
from penstock_policies.observations import Load

_NONE: Final = Figures(0, 0, 0, 0)
_LARGE_RATE: Final = LARGE * MILLIONTHS
RECENT_HALF_LIFE: Final = 30.0
"""Seconds in which the memory of what a region carried fades by half."""
SLOWEST: Final = 60.0
"""Seconds. Who reports more rarely is taken to do so this often, and is silent in between."""
GRACE: Final = 30.0
"""Seconds after the first report from a region in which all is believed: there is nothing to measure claims by yet."""
MOST_DROPS: Final = 4_096
"""Cluster and category pairs that are counted by name."""

_numbers = count(1)


@dataclass(slots=True, eq=False)
class Reporter:
    """One stream: an Envoy or a gRPC client, and what it said last."""

    node_id: str
    node_cluster: str
    at: float
    """When it last reported."""
    number: int = field(default_factory=lambda: next(_numbers))
    every: float = 0.0
    """Seconds between its reports, as far as they tell."""
    region: str | None = None
    """Where what it says counts; None while it counts for nothing."""
    reported: bool = False
    names: frozenset[str] = frozenset()
    carried: Mapping[Place, Figures] = field(default_factory=dict)
    in_flight: Mapping[tuple[str, bytes], int] = field(default_factory=dict)
    """Cluster and endpoint to requests in flight, where there are any."""
    tells_issued: bool = False
    """It has ever told of requests issued. One that never does is taken to issue what ends."""
    doubted: frozenset[str] = frozenset()
    """Clusters about which it is not believed."""


@dataclass(slots=True)
class _Region:
    endpoints: Endpoints
    began: float
    sums: dict[Place, list[int]] = field(default_factory=dict)
    """In the order of :class:`Figures`."""
    by_cluster: dict[str, set[Place]] = field(default_factory=dict)
    recent: dict[str, float] = field(default_factory=dict)
    """Cluster to the size of what was lately carried there."""
    recent_at: float = 0.0
    claims: dict[str, Claims] = field(default_factory=dict)
    reporters: int = 0


class LoadTotals:
    """Sums by region, cluster, locality and endpoint."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._regions: dict[str, _Region] = {}
        self._names: dict[frozenset[str], frozenset[str]] = {}
        self.drops: Counter[tuple[str, str]] = Counter()
        """Cluster and category to requests turned away at edges, since the start."""

    def place(self, reporter: Reporter, region: str | None) -> None:
        """Let what a reporter says count in a region, or nowhere."""
        if reporter.region == region:
            return
        if reporter.region is not None:
            old = self._regions[reporter.region]
            self._add(old, reporter.carried, -1)
            self._carry(old, reporter.in_flight, -1)
            for claims in old.claims.values():
                claims.forget(reporter.number)
            reporter.doubted = frozenset()
            old.reporters -= 1
        reporter.region = region
        if region is not None:
            new = self._regions.get(region)
            if new is None:
                new = self._regions[region] = _Region(Endpoints(self._clock()), self._clock())
            self._add(new, reporter.carried, 1)
            self._carry(new, reporter.in_flight, 1)
            new.reporters += 1

    def take(self, reporter: Reporter, report: Report, times: int = 1) -> None:
        """Take a report in.

        ``times`` says for how many of the reporter's reports this one's endpoints stand; 0 if they were not read.
        """
        now = self._clock()
        # Thousands of reporters tell of the same clusters: one set for all, which is quickly compared.
        reporter.names = self._names.setdefault(report.names, report.names)
        reporter.at, reporter.reported = now, True
        reporter.every = min(report.covers, SLOWEST) or reporter.every
        carried = self._with_issued(reporter, report.carried)
        region = None if reporter.region is None else self._regions[reporter.region]
        if region is not None:
            carried = self._believed(region, reporter, carried, now)
            self._change(region, reporter.carried, carried)
        reporter.carried = carried
        if times:
            self._take_endpoints(region, reporter, report.endpoints, times)
        for drop in report.drops:
            key = drop.cluster, drop.category
            if key not in self.drops and len(self.drops) >= MOST_DROPS:
                key = drop.cluster, "other"
            self.drops[key] += drop.requests

    def sums(self, reporters: Iterable[Reporter]) -> dict[str, dict[str, Load]]:
        """Give the load of every region by cluster, of what counts somewhere of these reporters.

        A sum is as old as the newest of its parts.
        """
        now = self._clock()
        parts: dict[tuple[str, frozenset[str]], tuple[int, float]] = {}
        for reporter in reporters:
            if reporter.region is not None:
                key = reporter.region, reporter.names
                many, at = parts.get(key, (0, 0.0))
                parts[key] = many + 1, max(at, reporter.at)
        told: dict[str, dict[str, tuple[int, float]]] = {}
        for (region, names), (many, at) in parts.items():
            of = told.setdefault(region, {})
            for name in names:
                before, newest = of.get(name, (0, 0.0))
                of[name] = before + many, max(at, newest)
        self._names = {names: names for _, names in parts}
        load = {region: self._loads(self._regions[region], of) for region, of in told.items()}
        for name, each in list(self._regions.items()):
            each.endpoints.tidy(now)
            self._remember(each, load.get(name, {}), now)
            if each.reporters == 0 and not each.endpoints.clusters():
                del self._regions[name]
        return load

    def localities(self, cluster: str) -> dict[str, dict[bytes, Figures]]:
        """Give what each region carries at a cluster, by locality."""
        return {
            name: {place.locality: Figures(*region.sums[place]) for place in sorted(region.by_cluster[cluster])}
            for name, region in self._regions.items()
            if region.by_cluster.get(cluster)
        }

    def endpoints(self, cluster: str) -> dict[str, dict[str, EndpointLoad]]:
        """Give what is known of a cluster's endpoints, by region and ``address:port``."""
        now = self._clock()
        found = {name: region.endpoints.of(cluster, now) for name, region in self._regions.items()}
        return {name: of for name, of in found.items() if of}

    def outcomes(self) -> dict[tuple[str, str], Outcome]:
        """Tell how requests at every endpoint went lately, by cluster and ``address:port``."""
        found: dict[tuple[str, str], Outcome] = {}
        for region in self._regions.values():
            region.endpoints.add_to(found, self._clock())
        return found

    def speaking(self) -> frozenset[str]:
        """Name the clusters whose engines have told figures in their answers lately."""
        return frozenset[str]().union(*(region.endpoints.speaking for region in self._regions.values()))

    @staticmethod
    def _with_issued(reporter: Reporter, carried: dict[Place, Figures]) -> dict[Place, Figures]:
        if not reporter.tells_issued:
            reporter.tells_issued = any(each.issued for each in carried.values())
        if reporter.tells_issued:
            return carried
        return {place: each._replace(issued=each.errors + each.successes) for place, each in carried.items()}

    @staticmethod
    def _believed(
        region: _Region, reporter: Reporter, carried: dict[Place, Figures], now: float
    ) -> dict[Place, Figures]:
        doubted: set[str] = set()
        for place, figures in carried.items():
            claims = region.claims.get(place.cluster)
            if claims is None:
                # Nearly all reports end here.
                if figures.in_flight <= LARGE and figures.issued <= _LARGE_RATE and figures.errors <= _LARGE_RATE:
                    continue
                claims = region.claims[place.cluster] = Claims()
            believed = claims.believed(
                reporter.number,
                peak(figures),
                before=peak(reporter.carried.get(place, _NONE)),
                region=round(region.recent.get(place.cluster, 0.0)),
                others=region.reporters - 1,
                now=now,
            )
            if not believed and now - region.began > GRACE:
                doubted.add(place.cluster)
        reporter.doubted = frozenset(doubted)
        if not doubted:
            return carried
        kept = {place: figures for place, figures in carried.items() if place.cluster not in doubted}
        return kept | {place: figures for place, figures in reporter.carried.items() if place.cluster in doubted}

    @staticmethod
    def _add(region: _Region, carried: Mapping[Place, Figures], sign: int) -> None:
        sums = region.sums
        for place, (in_flight, issued, errors, successes) in carried.items():
            total = sums.get(place)
            if total is None:
                total = sums[place] = [0, 0, 0, 0]
                region.by_cluster.setdefault(place.cluster, set()).add(place)
            total[0] += sign * in_flight
            total[1] += sign * issued
            total[2] += sign * errors
            total[3] += sign * successes

    def _change(self, region: _Region, before: Mapping[Place, Figures], after: Mapping[Place, Figures]) -> None:
        if before.keys() != after.keys():
            self._add(region, before, -1)
            self._add(region, after, 1)
            return
        sums = region.sums
        for place, (in_flight, issued, errors, successes) in after.items():
            total, old = sums[place], before[place]
            total[0] += in_flight - old[0]
            total[1] += issued - old[1]
            total[2] += errors - old[2]
            total[3] += successes - old[3]

    def _take_endpoints(
        self, region: _Region | None, reporter: Reporter, told: list[EndpointCount], times: int
    ) -> None:
        now = self._clock()
        in_flight: dict[tuple[str, bytes], int] = {}
        for each in told:
            if each.cluster in reporter.doubted:
                continue
            if region is not None:
                region.endpoints.add(each, now, times)
            if each.in_flight:
                key = each.cluster, each.address
                in_flight[key] = in_flight.get(key, 0) + each.in_flight
        if region is not None:
            before = reporter.in_flight
            changed = {key: in_flight.get(key, 0) - before.get(key, 0) for key in before.keys() | in_flight.keys()}
            self._carry(region, {key: more for key, more in changed.items() if more}, 1)
        reporter.in_flight = in_flight

    def _carry(self, region: _Region, in_flight: Mapping[tuple[str, bytes], int], sign: int) -> None:
        now = self._clock()
        for (cluster, address), carried in in_flight.items():
            region.endpoints.carry(cluster, address, sign * carried, now)

    @staticmethod
    def _loads(region: _Region, told: Mapping[str, tuple[int, float]]) -> dict[str, Load]:
        loads = {}
        for name, (reporters, at) in told.items():
            places = [region.sums[place] for place in region.by_cluster.get(name, ())]
            in_flight, issued, errors, successes = (
                (sum(each) for each in zip(*places, strict=True)) if places else _NONE
            )
            loads[name] = Load(
                at=at,
                in_flight=float(in_flight),
                request_rate=issued / MILLIONTHS,
                error_rate=errors / MILLIONTHS,
                reporters=reporters,
                success_rate=successes / MILLIONTHS,
            )
        return loads

    @staticmethod
    def _remember(region: _Region, load: Mapping[str, Load], now: float) -> None:
        fading = 0.5 ** max(0.0, (now - region.recent_at) / RECENT_HALF_LIFE)
        region.recent_at = now
        sizes = {name: max(each.in_flight, each.request_rate) for name, each in load.items()}
        faded = {name: size * fading for name, size in region.recent.items() if size * fading > 1}
        region.recent = {name: max(sizes.get(name, 0.0), faded.get(name, 0.0)) for name in {*sizes, *faded}}
        for place in [place for place, total in region.sums.items() if not any(total)]:
            del region.sums[place]
            region.by_cluster[place.cluster].discard(place)
        region.by_cluster = {name: places for name, places in region.by_cluster.items() if places}
        region.claims = {name: each for name, each in region.claims.items() if each.since}
