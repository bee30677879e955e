"""The load reporting service: Envoys stream what they carry, and the board gets its sum per region.

``envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats``, a gRPC handler to be registered on the xDS
server's port (:meth:`LoadReports.handler`). The protocol: an Envoy, or a gRPC client that finds its servers by xDS,
opens one stream and names itself in its first message; we answer once with what to report and how often; from then on
it reports without being asked.

One coroutine per stream adds its reports to the totals (:mod:`penstock.signals.load_totals`); one task
(:meth:`LoadReports.run`) pins these on the board. The first report after a quiet time is pinned at once, a storm of
them at most every :data:`SUM_INTERVAL`. A stream that ends takes its figures with it; a reporter that falls silent
loses its own after three intervals.
"""

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import fields, replace
from operator import attrgetter
from typing import Final

import grpc
import grpc.aio
from envoy.service.load_stats.v3 import lrs_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError

from penstock.signals.board import ObservationBoard
from penstock.signals.load_endpoints import EndpointLoad, Outcome
from penstock.signals.load_facts import ClusterReport, Doubt, LoadFacts
from penstock.signals.load_orca import engine_load
from penstock.signals.load_reports import MOST_BYTES, Report, ReportError, parse
from penstock.signals.load_totals import LoadTotals, Reporter
from penstock.signals.recent_requests import Measured, with_requests
from penstock_policies.observations import Load
from penstock_policies.policyset import PolicySet

logger = logging.getLogger(__name__)

SERVICE: Final = "envoy.service.load_stats.v3.LoadReportingService"
METHOD: Final = "StreamLoadStats"

SUM_INTERVAL: Final = 0.25
"""Seconds between two sums while reports keep coming in."""

SILENT_INTERVALS: Final = 3
"""Reports an Envoy may miss before it counts for nothing."""

MOST_MOVED: Final = 100
"""Reporters that one sum may take out or put elsewhere: when a network breaks a thousand fall silent at once, and each
costs a tenth of a millisecond. The others follow at the next."""

ENDPOINTS_PER_SECOND: Final = 10_000
"""What is said of single endpoints is read of all reports up to this many; above, of every second one, or fewer. It
costs some two microseconds each, and the picture is the same, a little later."""

_SMOOTHING: Final = 0.3
"""Of each second's number of endpoints, what goes into their mean where it falls: a pace that swung would be none."""

SENDS_ALL: Final = "envoy.lrs.supports_send_all_clusters"
"""The client feature of those that need no list of clusters."""

_Context = grpc.aio.ServicerContext[bytes, bytes]


class LoadReports:
    """Load as Envoys and gRPC clients report it, with what access logs say of requests (``measured``).

    ``region_of(node_id, node_cluster)`` tells the region of an Envoy, None when it is of none; it is asked at every
    sum, so a change of policy needs no new streams. ``interval`` is in seconds.
    """

    def __init__(
        self,
        board: ObservationBoard,
        region_of: Callable[[str, str], str | None],
        clock: Callable[[], float],
        notify: Callable[[], None],
        *,
        interval: float = 1.0,
        measured: Callable[[float], Mapping[str, Mapping[str, Measured]]] = lambda _: {},
    ) -> None:
        self._board = board
        self._region_of = region_of
        self._clock = clock
        self._notify = notify
        self._interval = interval
        self._clusters: frozenset[str] = frozenset()
        self._streams: set[Reporter] = set()
        self._totals = LoadTotals(clock)
        self._measured = measured
        self._reported = asyncio.Event()
        self._stopped = asyncio.Event()
        self._published: Mapping[str, Mapping[str, object]] = {}
        self._facts = LoadFacts()
        self._reports = self._refused = self._unknown = 0
        self._warned: set[int] = set()
        self._told = 0
        self._told_since = clock()
        self._told_rate = 0.0
        self._stride = 1

    def handler(self) -> "grpc.GenericRpcHandler[bytes, bytes]":
        """Return the handler to register on a gRPC server, before it starts."""
        # Bytes both ways: parsing is ours, so that a message that does not parse ends its stream with a reason.
        method = grpc.stream_stream_rpc_method_handler(self._serve)
        return grpc.method_handlers_generic_handler(SERVICE, {METHOD: method})

    def apply(self, policy_set: PolicySet) -> None:
        """Take in what is said of the clusters of this policy set, and of no others."""
        self._clusters = frozenset(policy_set.clusters)

    async def run(self) -> None:
        """Keep the board's load current until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._reported.wait()
            self._reported.clear()
            self.sum_up()
            await asyncio.sleep(SUM_INTERVAL)

    def stop(self) -> None:
        """End every stream, now and from now on, so that the gRPC server's own stop has nothing to wait for."""
        self._stopped.set()

    def facts(self) -> LoadFacts:
        """Return how load reporting goes."""
        doubts = tuple(
            Doubt(each.node_id, each.region or "", cluster)
            for each in sorted(self._streams, key=lambda each: each.node_id)
            for cluster in sorted(each.doubted)
        )
        return replace(
            self._facts,
            streams=len(self._streams),
            reports=self._reports,
            refused=self._refused,
            unknown=self._unknown,
            doubts=doubts,
        )

    def cluster_report(self, cluster: str) -> ClusterReport:
        """Return what is reported of a cluster, by region, locality and endpoint."""
        return ClusterReport(
            localities=self._totals.localities(cluster),
            endpoints=self._totals.endpoints(cluster),
            drops={category: count for (name, category), count in self._totals.drops.items() if name == cluster},
        )

    def outcomes(self) -> Mapping[tuple[str, str], Outcome]:
        """Return how requests at every endpoint went lately, by cluster and ``address:port``."""
        return self._totals.outcomes()

    def drops(self) -> Mapping[tuple[str, str], int]:
        """Return the requests turned away at edges since the start, by cluster and category."""
        return dict(self._totals.drops)

    def endpoints(self, cluster: str) -> Mapping[str, Mapping[str, EndpointLoad]]:
        """Return what is known of a cluster's endpoints, by region and ``address:port``."""
        return self._totals.endpoints(cluster)

    def sum_up(self) -> None:
        """Pin on the board what every live reporter said last, per region."""
        now = self._clock()
        silent = unplaced = moved = 0
        for reporter in self._streams:
            if not reporter.reported:
                continue
            region = None
            if now - reporter.at > SILENT_INTERVALS * max(self._interval, reporter.every):
                silent += 1
            else:
                region = self._region_of(reporter.node_id, reporter.node_cluster)
                unplaced += region is None
            if region != reporter.region:
                moved += 1
                if moved > MOST_MOVED:
                    self._reported.set()
                    continue
                self._totals.place(reporter, region)
        measured = self._measured(now)
        sums = self._totals.sums(self._streams)
        load = {region: with_requests(facts, measured.get(region, {})) for region, facts in sums.items()}
        self._facts = LoadFacts(silent=silent, unplaced=unplaced)
        self._board.set_load(load)
        for cluster in self._totals.speaking():
            self._board.set_spoken(cluster, engine_load(self._totals.endpoints(cluster).values(), now))
        self._pace(now)
        figures = _figures(load)
        if figures != self._published:
            self._published = figures
            self._notify()

    def _pace(self, now: float) -> None:
        """Choose of how many reports the endpoints are read."""
        elapsed = now - self._told_since
        if elapsed < self._interval:
            return
        rate = self._told / elapsed
        self._told_rate = max(rate, self._told_rate + (rate - self._told_rate) * _SMOOTHING)
        self._stride = max(1, math.ceil(self._told_rate / ENDPOINTS_PER_SECOND))
        self._told, self._told_since = 0, now

    async def _serve(self, requests: AsyncIterator[bytes], context: _Context) -> AsyncGenerator[bytes, None]:
        """Serve one stream to its end."""
        first = await anext(requests, None)
        if first is None:
            return
        reporter, answer = await self._introduced(first, context)
        yield answer
        self._streams.add(reporter)
        # At once, so that the first report counts in full.
        self._totals.place(reporter, self._region_of(reporter.node_id, reporter.node_cluster))
        reading = asyncio.create_task(self._read(requests, reporter))
        stopping = asyncio.create_task(self._stopped.wait())
        try:
            await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                await reading
        except ReportError as error:
            self._refused += 1
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        finally:
            self._totals.place(reporter, None)
            self._streams.discard(reporter)
            self._warned.discard(reporter.number)
            self._reported.set()
            reading.cancel()
            stopping.cancel()
            await asyncio.gather(reading, stopping, return_exceptions=True)

    async def _introduced(self, first: bytes, context: _Context) -> tuple[Reporter, bytes]:
        try:
            node = lrs_pb2.LoadStatsRequest.FromString(first[:MOST_BYTES]).node
        except DecodeError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not a LoadStatsRequest")
            raise
        if not (node.id or node.cluster):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first message names no node")
        return Reporter(node.id, node.cluster, self._clock()), self._answer(node.client_features)

    def _answer(self, features: "list[str]") -> bytes:
        every = Duration()
        every.FromNanoseconds(round(self._interval * 1e9))
        answer = lrs_pb2.LoadStatsResponse(load_reporting_interval=every, report_endpoint_granularity=True)
        if SENDS_ALL in features:
            answer.send_all_clusters = True
        else:
            answer.clusters.extend(sorted(self._clusters))
        return bytes(answer.SerializeToString(deterministic=True))

    async def _read(self, requests: AsyncIterator[bytes], reporter: Reporter) -> None:
        # Reporters take turns, and one whose endpoints are read speaks for its reports since the last time.
        turn, unread = reporter.number, 0
        async for message in requests:
            turn, unread = turn + 1, unread + 1
            times = 0 if turn % self._stride else unread
            unread -= times
            report = parse(message, self._clusters, self._interval, endpoints=times > 0)
            self._totals.take(reporter, report, times)
            self._told += report.told * times
            self._count(reporter, report)
            self._reported.set()

    def _count(self, reporter: Reporter, report: Report) -> None:
        self._reports += 1
        self._unknown += report.unknown
        if not (report.refused or reporter.doubted):
            return
        self._refused += len(report.refused)
        if reporter.number not in self._warned:
            self._warned.add(reporter.number)
            logger.warning(
                "load report not believed; further ones of this stream are only counted",
                extra={
                    "node_id": reporter.node_id,
                    "absurd": list(report.refused[:20]),
                    "leaps": sorted(reporter.doubted)[:20],
                },
            )


_without_time: Final = attrgetter(*(each.name for each in fields(Load) if each.name != "at"))


def _figures(load: Mapping[str, Mapping[str, Load]]) -> dict[str, dict[str, object]]:
    """Load without its times: what a decision could depend on."""
    return {region: {name: _without_time(fact) for name, fact in facts.items()} for region, facts in load.items()}
