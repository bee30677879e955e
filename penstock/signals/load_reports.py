"""What load reports say, as plain numbers. Pure: bytes in, figures out.

Envoys and gRPC clients count, for each cluster and locality, requests issued, succeeded and failed since their last
report, and how many are in progress now (``envoy.config.endpoint.v3.ClusterStats``); Envoys do so for each endpoint as
well. Requests through a composite cluster are counted under the member that was tried, each attempt for itself, but
what is turned away before any member is tried, under the composite.

Everything is counted in integers, rates in millionths of a request a second: sums of integers are exact, so they can be
kept up to date by adding and taking away for ever, and come out the same in any order.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError

from penstock.signals.lrs_view import LeanRequest

LEG_PREFIX: Final = "leg/"
"""How composite legs are named in the generated configuration. What they carry is reported under their members."""
_OURS: Final = "/"
"""No cluster of a policy has one in its name; legs and the control plane do."""

MILLIONTHS: Final = 1_000_000
"""Units of a rate in a request a second."""
_SECOND_MILLIONTHS: Final = 1_000_000_000 * MILLIONTHS

MOST_IN_FLIGHT: Final = 1_000_000
MOST_PER_SECOND: Final = 1_000_000 * MILLIONTHS
"""No Envoy has so many requests; a gauge that was decremented once too often reads 2**64 - 1."""

LEAST_INTERVAL: Final = 50_000_000
"""Nanoseconds. A report about less than this (the first after a reconnect) would turn one request into a huge rate."""
MOST_INTERVAL: Final = 3_600 * 1_000_000_000
"""Nanoseconds. A report about more than an hour says nothing about now."""

MOST_BYTES: Final = 4 * 1024 * 1024
"""Of one report. 200 clusters with 20 busy endpoints each, and Envoy's own description, take a tenth of it."""
MOST_CLUSTERS: Final = 20_000
"""Entries of one report: clusters and the legs made of them. A million take the parser seconds that Envoys wait for."""
MOST_ENDPOINTS: Final = 1_024
"""Endpoints told of in one report of a cluster."""
MOST_CATEGORIES: Final = 8
"""Kinds of drops told of in one report of a cluster; Envoy has one, gRPC as many as the drop policy names."""

METRICS: Final = frozenset(
    {
        "num_requests_waiting",
        "kv_cache_usage_perc",
        "kv_cache_utilization",
        "cpu_utilization",
        "mem_utilization",
        "application_utilization",
    }
)
"""Figures of an engine (ORCA) that are read: vLLM's two, Triton's, and those that ORCA itself names."""
_NAMED: Final = "named_metrics."
_UNNAMED: Final = ("cpu_utilization", "mem_utilization", "application_utilization")
_MOST_METRIC: Final = 1e9
"""Greatest mean: a queue of a thousand million requests is none."""

_Counts = tuple[int, int, int, int]
"""In flight, issued, failed, succeeded."""


class Figures(NamedTuple):
    """Requests in flight, and per second, in :data:`MILLIONTHS`, issued, failed and succeeded."""

    in_flight: int
    issued: int
    errors: int
    successes: int


class Place(NamedTuple):
    """A cluster's locality, by its name and the locality's serialized form."""

    cluster: str
    locality: bytes


class EndpointCount(NamedTuple):
    """What happened at one endpoint since the last report: counts, not rates."""

    cluster: str
    address: bytes
    """Serialized ``envoy.config.core.v3.Address``; empty for the sum of endpoints that are not told one by one."""
    in_flight: int
    issued: int
    errors: int
    successes: int
    metrics: tuple[tuple[str, int, float], ...]
    """Name, how many requests told it, the sum of what they told."""


class Drop(NamedTuple):
    """Requests of a cluster, or of a leg, that were turned away at the edge."""

    cluster: str
    """For a leg, the cluster it tries first."""
    category: str
    requests: int


class Report(NamedTuple):
    """One message."""

    names: frozenset[str]
    """Known clusters it tells of, idle ones as well."""
    carried: dict[Place, Figures]
    """What is carried where; idle clusters are not in it."""
    endpoints: list[EndpointCount]
    drops: list[Drop]
    refused: tuple[str, ...]
    """Clusters whose figures, or those of their endpoints, are absurd."""
    unknown: int
    """Entries about clusters that are none of ours."""
    told: int
    """Endpoints that were read."""
    covers: float
    """Seconds that its figures are about; 0 where nothing is carried."""


class ReportError(Exception):
    """These bytes are no report, or none that could be true."""


def parse(message: bytes, known: frozenset[str], interval: float, *, endpoints: bool = True) -> Report:
    """Read a ``LoadStatsRequest``.

    Args:
        message: its bytes.
        known: names of clusters; what is said of others is only counted.
        interval: seconds, in place of a cluster's own where that is missing.
        endpoints: read what is said of each endpoint, too.

    Raises:
        ReportError: these are not the bytes of one, or too many of them.

    """
    if len(message) > MOST_BYTES:
        raise ReportError(f"larger than {MOST_BYTES} bytes")
    try:
        told = LeanRequest.FromString(message).cluster_stats
    except DecodeError as error:
        raise ReportError("not a LoadStatsRequest") from error
    if len(told) > MOST_CLUSTERS:
        raise ReportError(f"more than {MOST_CLUSTERS} clusters")
    reading = _Reading(known, round(interval * 1e9), endpoints=endpoints)
    for stats in told:
        reading.take(stats)
    return reading.report()


class _Reading:
    """One report being read."""

    def __init__(self, known: frozenset[str], interval: int, *, endpoints: bool) -> None:
        self._known = known
        self._interval = interval
        self._wants_endpoints = endpoints
        self._names: list[str] = []
        self._carried: dict[Place, Figures] = {}
        self._endpoints: list[EndpointCount] = []
        self._drops: list[Drop] = []
        self._refused: dict[str, None] = {}
        self._unknown = 0
        self._told = 0
        self._intervals: dict[bytes, int] = {}

    def report(self) -> Report:
        refused = self._refused
        if refused:
            self._carried = {place: each for place, each in self._carried.items() if place.cluster not in refused}
            self._endpoints = [each for each in self._endpoints if each.cluster not in refused]
        names = frozenset(self._names)
        return Report(
            names.difference(refused) if refused else names,
            self._carried,
            self._endpoints,
            self._drops,
            tuple(refused),
            self._unknown,
            self._told,
            max(self._intervals.values(), default=0) / 1e9,
        )

    def take(self, stats: Any) -> None:  # noqa: ANN401 - made at run time, as all below
        name = stats.cluster_name
        if name not in self._known:
            if _OURS not in name:
                self._unknown += 1
            elif name.startswith(LEG_PREFIX) and stats.total_dropped_requests:
                first = name.rpartition("/")[2].partition(">")[0]
                if first in self._known:
                    self._drop(first, stats)
            return
        self._names.append(name)
        if localities := stats.upstream_locality_stats:
            self._carry(name, stats, localities)
        if stats.total_dropped_requests:
            self._drop(name, stats)

    def _carry(self, name: str, stats: Any, localities: Any) -> None:  # noqa: ANN401
        covered = stats.load_report_interval
        nanoseconds = self._intervals.get(covered)
        if nanoseconds is None:
            nanoseconds = self._intervals[covered] = _nanoseconds(covered, self._interval)
        if not nanoseconds:
            self._refused[name] = None
            return
        for locality in localities:
            counts = in_flight, issued, errors, successes = _counts(locality)
            most = max(issued, errors, successes) * _SECOND_MILLIONTHS
            if in_flight > MOST_IN_FLIGHT or most > MOST_PER_SECOND * nanoseconds:
                self._refused[name] = None
                return
            place = Place(name, locality.locality)
            figures = Figures(
                in_flight,
                issued * _SECOND_MILLIONTHS // nanoseconds,
                errors * _SECOND_MILLIONTHS // nanoseconds,
                successes * _SECOND_MILLIONTHS // nanoseconds,
            )
            before = self._carried.get(place)
            # A gRPC client tells of a cluster twice while its endpoints come from two services.
            self._carried[place] = figures if before is None else Figures(*map(sum, zip(before, figures, strict=True)))
            if self._wants_endpoints:
                told = locality.upstream_endpoint_stats
                self._told += len(told)
                if told:
                    self._take_endpoints(name, told, counts, spoken=bool(locality.load_metric_stats))
                else:
                    self._endpoints.append(EndpointCount(name, b"", *counts, tuple(_locality_metrics(locality))))

    def _take_endpoints(self, name: str, told: Any, counts: _Counts, *, spoken: bool) -> None:  # noqa: ANN401
        # Those of a locality are its endpoints' added up, so where it has none there is nothing to look for.
        if len(told) > MOST_ENDPOINTS:
            self._refused[name] = None
            return
        left = counts
        for each in told:
            at_it = _counts(each)
            left = (left[0] - at_it[0], left[1] - at_it[1], left[2] - at_it[2], left[3] - at_it[3])
            metrics = tuple(_metrics(each.load_metric_stats)) if spoken else ()
            self._endpoints.append(EndpointCount(name, each.address, *at_it, metrics))
        if min(left) < 0:
            # More happened at the endpoints than in the whole of the locality.
            self._refused[name] = None

    def _drop(self, name: str, stats: Any) -> None:  # noqa: ANN401
        total = stats.total_dropped_requests
        drops = [(each.category, each.dropped_count) for each in stats.dropped_requests[:MOST_CATEGORIES]]
        named = sum(count for _, count in drops)
        if max(total, named) > MOST_IN_FLIGHT:
            self._refused[name] = None
            return
        self._drops.extend(Drop(name, _category(category), count) for category, count in drops if count)
        if total > named:
            self._drops.append(Drop(name, "overflow", total - named))


def _nanoseconds(covered: bytes, otherwise: int) -> int:
    """How long a report is about; 0 where that cannot be."""
    try:
        told = Duration.FromString(covered)
    except DecodeError:
        return 0
    length = told.seconds * 1_000_000_000 + told.nanos
    if length > MOST_INTERVAL:
        return 0
    return max(length, LEAST_INTERVAL) if length > 0 else otherwise


def _counts(stats: Any) -> _Counts:  # noqa: ANN401
    errors, successes = stats.total_error_requests, stats.total_successful_requests
    return stats.total_requests_in_progress, stats.total_issued_requests, errors, successes


def _category(category: str) -> str:
    """A short name in place of what may be anything."""
    return category if 0 < len(category) <= 40 and category.isprintable() else "other"


def _locality_metrics(locality: Any) -> Iterator[tuple[str, int, float]]:  # noqa: ANN401
    yield from _metrics(locality.load_metric_stats)
    for name in _UNNAMED:
        if locality.HasField(name):
            each = getattr(locality, name)
            yield from _true(name, each.num_requests_finished_with_metric, each.total_metric_value)


def _metrics(told: Any) -> Iterator[tuple[str, int, float]]:  # noqa: ANN401
    for each in told:
        name = each.metric_name.removeprefix(_NAMED)
        if name in METRICS:
            yield from _true(name, each.num_requests_finished_with_metric, each.total_metric_value)


def _true(name: str, requests: int, total: float) -> Iterator[tuple[str, int, float]]:
    """Yield a metric if it can be true: of some requests, no NaN, nothing negative."""
    if 0 < requests <= MOST_IN_FLIGHT and 0 <= total <= requests * _MOST_METRIC:
        yield name, requests, total
