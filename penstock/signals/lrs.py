"""The load reporting service: Envoys stream what they carry, and the board gets its sum per region.

``envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats``, a gRPC handler to be registered on the xDS server's
port (:meth:`LoadReportingService.handler`). The protocol: an Envoy opens one stream and names itself in its first
message; we answer once with what to report and how often; from then on it reports without being asked.

One coroutine per stream keeps that Envoy's latest figures; one task (:meth:`LoadReportingService.run`) sums them up. The
first report after a quiet time is summed at once, a storm of them at most every :data:`SUM_INTERVAL`, so a thousand
Envoys cost four sums a second. A stream that ends takes its figures with it; an Envoy that falls silent loses its own
after three intervals.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
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


@dataclass(slots=True)
class _Reporter:
    """One stream."""

    node_id: str
    node_cluster: str
    at: float
    """When it last reported."""
    clusters: Mapping[str, ClusterLoad] | None = None
    """None until its first report that follows our answer."""


@dataclass(frozen=True, slots=True)
class LoadFacts:
    """How load reporting goes, for metrics and people."""

    streams: int = 0
    silent: int = 0
    """Streams that count for nothing because they have not reported for three intervals."""
    unplaced: int = 0
    """Streams of Envoys that no region is known for."""
    reports: int = 0
    refused: int = 0
    """Absurd figures of single clusters, for which the last good ones of the same Envoy stand."""


@dataclass(slots=True)
class _Counts:
    reports: int = 0
    refused: int = 0
    warned: set[str] = field(default_factory=set)


class LoadReportingService:
    """Load as the Envoys report it.

    ``region_of(node_id, node_cluster)`` tells the region of an Envoy, None when it belongs to none; it is asked at
    every sum, so a change of policy needs no new streams. ``interval`` is in seconds, at least 1 by the protocol's
    users' own rules (gRPC refuses less).
    """

    def __init__(
        self,
        board: ObservationBoard,
        region_of: Callable[[str, str], str | None],
        clock: Callable[[], float],
        notify: Callable[[], None],
        *,
        interval: float = 1.0,
        sleep: Callable[[float], Any] = asyncio.sleep,
    ) -> None:
        self._board = board
        self._region_of = region_of
        self._clock = clock
        self._notify = notify
        self._interval = interval
        self._sleep = sleep
        self._streams: set[_Reporter] = set()
        self._changed = asyncio.Event()
        self._published: Mapping[str, Mapping[str, Load]] = {}
        self._counts = _Counts()
        self._answer = lrs_pb2.LoadStatsResponse(
            send_all_clusters=True,
            load_reporting_interval=Duration(nanos=0, seconds=0),
            report_endpoint_granularity=False,
        )
