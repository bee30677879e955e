"""The load reporting service: Envoys stream what they carry, and the board gets its sum per region.

``envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats``, a gRPC handler to be registered on the xDS
server's port (:meth:`LoadReports.handler`). The protocol: an Envoy opens one stream and names itself in its
first message; we answer once with what to report and how often; from then on it reports without being asked.

One coroutine per stream keeps that Envoy's latest figures; one task (:meth:`LoadReports.run`) sums them up.
The first report after a quiet time is summed at once, a storm of them at most every :data:`SUM_INTERVAL`, so a
thousand Envoys cost four sums a second. A stream that ends takes its figures with it; an Envoy that falls silent loses
its own after three intervals.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

import grpc
import grpc.aio
from envoy.service.load_stats.v3 import lrs_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError

from penstock.signals.board import ObservationBoard
from penstock.signals.load_reports import ClusterLoad, parse, total
from penstock_policies.observations import Load

logger = logging.getLogger(__name__)

SERVICE: Final = "envoy.service.load_stats.v3.LoadReportingService"
METHOD: Final = "StreamLoadStats"

SUM_INTERVAL: Final = 0.25
"""Seconds between two sums while reports keep coming in."""

SILENT_INTERVALS: Final = 3
"""Reports an Envoy may miss before it counts for nothing."""

_Context = grpc.aio.ServicerContext[bytes, bytes]


@dataclass(slots=True, eq=False)
class _Reporter:
    """One stream: an Envoy, and what it said last."""

    node_id: str
    node_cluster: str
    at: float
    clusters: Mapping[str, ClusterLoad] | None = None
    """None before its first report."""
    warned: bool = False


@dataclass(frozen=True, slots=True)
class LoadFacts:
    """How load reporting goes, for metrics and people."""

    streams: int = 0
    silent: int = 0
    """Streams that count for nothing, because they have not reported for three intervals."""
    unplaced: int = 0
    """Streams that count for nothing, because no region is known for their Envoy."""
    reports: int = 0
    refused: int = 0
    """Absurd figures of single clusters, taken for unknown."""


class LoadReports:
    """Load as the Envoys report it.

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
    ) -> None:
        self._board = board
        self._region_of = region_of
        self._clock = clock
        self._notify = notify
        self._interval = interval
        self._streams: set[_Reporter] = set()
        self._reported = asyncio.Event()
        self._stopped = asyncio.Event()
        self._published: Mapping[str, Mapping[str, Load]] = {}
        self._facts = LoadFacts()
        self._reports = 0
        self._refused = 0
        every = Duration()
        every.FromNanoseconds(round(interval * 1e9))
        answer = lrs_pb2.LoadStatsResponse(
            send_all_clusters=True, load_reporting_interval=every, report_endpoint_granularity=False
        )
        self._answer: bytes = answer.SerializeToString(deterministic=True)

    def handler(self) -> "grpc.GenericRpcHandler[bytes, bytes]":
        """Return the handler to register on a gRPC server, before it starts."""
        # Bytes both ways: parsing is ours, so that a message that does not parse ends its stream with a reason.
        method = grpc.stream_stream_rpc_method_handler(self._serve)
        return grpc.method_handlers_generic_handler(SERVICE, {METHOD: method})

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
        return replace(self._facts, streams=len(self._streams), reports=self._reports, refused=self._refused)

    def sum_up(self) -> None:
        """Sum what every live Envoy said last, per region, and pin it on the board."""
        now = self._clock()
        silent = unplaced = 0
        regions: dict[str, list[tuple[float, Mapping[str, ClusterLoad]]]] = {}
        for reporter in self._streams:
            if reporter.clusters is None:
                continue
            if now - reporter.at > SILENT_INTERVALS * self._interval:
                silent += 1
                continue
            region = self._region_of(reporter.node_id, reporter.node_cluster)
            if region is None:
                unplaced += 1
                continue
            regions.setdefault(region, []).append((reporter.at, reporter.clusters))
        load = {region: total(reports) for region, reports in regions.items()}
        self._facts = LoadFacts(silent=silent, unplaced=unplaced)
        self._board.set_load(load)
        changed = _figures(load) != _figures(self._published)
        self._published = load
        if changed:
            self._notify()

    async def _serve(self, requests: AsyncIterator[bytes], context: _Context) -> AsyncGenerator[bytes, None]:
        """Serve one stream to its end."""
        first = await anext(requests, None)
        if first is None:
            return
        reporter = await self._introduced(first, context)
        yield self._answer
        self._streams.add(reporter)
        reading = asyncio.create_task(self._read(requests, reporter))
        stopping = asyncio.create_task(self._stopped.wait())
        try:
            await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                await reading
        except DecodeError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not a LoadStatsRequest")
        finally:
            self._streams.discard(reporter)
            self._reported.set()
            reading.cancel()
            stopping.cancel()
            await asyncio.gather(reading, stopping, return_exceptions=True)

    async def _introduced(self, first: bytes, context: _Context) -> _Reporter:
        try:
            report = parse(first, self._interval)
        except DecodeError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not a LoadStatsRequest")
            raise
        if not (report.node_id or report.node_cluster):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first message names no node")
        return _Reporter(report.node_id, report.node_cluster, self._clock())

    async def _read(self, requests: AsyncIterator[bytes], reporter: _Reporter) -> None:
        async for message in requests:
            report = parse(message, self._interval)
            reporter.at = self._clock()
            reporter.clusters = report.clusters
            self._reports += 1
            if report.refused:
                self._refused += len(report.refused)
                self._warn(reporter, report.refused)
            self._reported.set()

    def _warn(self, reporter: _Reporter, refused: tuple[str, ...]) -> None:
        if not reporter.warned:
            reporter.warned = True
            logger.warning(
                "absurd load report refused; further ones of this stream are only counted",
                extra={"node_id": reporter.node_id, "clusters": list(refused)},
            )


def _figures(load: Mapping[str, Mapping[str, Load]]) -> dict[str, dict[str, Load]]:
    """Load without its times: what a decision could depend on."""
    return {region: {name: replace(fact, at=0.0) for name, fact in facts.items()} for region, facts in load.items()}
