"""What engines say of themselves: one task per endpoint of a vLLM cluster, reading ``/metrics`` and writing the board.

Owned by the composition root, which calls :meth:`EngineMetrics.apply` for every new policy set (after the board's own
``apply``). Endpoints that did not change keep their task and their readings. An endpoint that is out of reach is left
out of its cluster's sums, since it carries nothing; one that answers, but not with a vLLM server's metrics, makes them
unknown, since it may carry much. None of it is ever needed: the engine steers by the edge's load reports where engines
are silent.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from penstock.signals.board import ObservationBoard
from penstock.signals.engine_readings import Reading, Window, cluster_load
from penstock.signals.metrics_page import MetricsPages, Scrape, ScrapeError
from penstock.signals.vllm_text import MetricsTextError, VllmFigures, parse
from penstock.signals.workers import Workers
from penstock_policies.policyset import PolicySet
from penstock_policies.schema import Endpoint
from penstock_policies.words import Engine

logger = logging.getLogger(__name__)

INTERVAL: Final = 2.0
"""Seconds between two readings: queues build up over seconds, and a page costs its server a millisecond."""

JITTER: Final = 0.1
"""Share of the interval by which it varies either way."""

SILENT: Final = 3 * INTERVAL
"""Seconds after which an endpoint that gives no reading counts for nothing."""

CONCURRENCY: Final = 64
"""Readings in flight at once: parsing them is this process's work, so a fleet's must not come in one beat."""


@dataclass(slots=True)
class _Watched:
    """One endpoint."""

    window: Window
    blind: bool = False
    """It answers, but not with metrics."""


Fetch = Callable[[Endpoint], Awaitable[str]]


class EngineMetrics:
    """Reads every vLLM endpoint there is. ``fetch``, ``sleep`` and ``jitter`` are replaced in tests."""

    def __init__(
        self,
        board: ObservationBoard,
        clock: Callable[[], float],
        *,
        fetch: Fetch | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: random.Random | None = None,
    ) -> None:
        self._board = board
        self._clock = clock
        self._pages = MetricsPages()
        self._fetch: Fetch = fetch or self._pages
        self._sleep = sleep
        self._jitter = jitter or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._gate = asyncio.Semaphore(CONCURRENCY)
        self._watched: dict[str, dict[str, _Watched]] = {}
        self._workers = Workers[tuple[str, str], Endpoint]("engine metrics", self._work)

    async def apply(self, policy_set: PolicySet) -> None:
        """Read the endpoints of this policy set and no others."""
        wanted = {
            (name, endpoint.key): endpoint
            for name, cluster in policy_set.clusters.items()
            if cluster.spec.engine is Engine.VLLM
            for endpoint in cluster.spec.endpoints
        }
        kept: dict[str, dict[str, _Watched]] = {}
        for cluster, key in wanted:
            before = self._watched.get(cluster, {}).get(key)
            kept.setdefault(cluster, {})[key] = before or _Watched(Window())
        for cluster in self._watched.keys() - kept.keys():
            self._board.set_engine(cluster, None)
        self._watched = kept
        self._workers.apply(wanted)
        await self._workers.settled()

    async def stop(self) -> None:
        """End all reading. It may begin again by :meth:`apply`."""
        await self._workers.stop()
        await self._pages.close()

    async def _work(self, key: tuple[str, str], endpoint: Endpoint) -> None:
        await self._sleep(self._jitter.uniform(0, INTERVAL))
        while True:
            await self._read(*key, endpoint)
            await self._sleep(INTERVAL * self._jitter.uniform(1 - JITTER, 1 + JITTER))

    async def _read(self, cluster: str, key: str, endpoint: Endpoint) -> None:
        watched = self._watched[cluster][key]
        try:
            async with self._gate:
                figures = await self._figures(endpoint)
        except ScrapeError as error:
            blind = error.kind is Scrape.NOT_METRICS
            if blind and not watched.blind:
                facts = {"cluster": cluster, "endpoint": key, "detail": str(error)}
                logger.warning("endpoint gives no metrics, its cluster's own figures are unknown", extra=facts)
            watched.blind = blind
            if blind:
                watched.window = Window()
        else:
            watched.blind = False
            watched.window.add(Reading(self._clock(), figures))
        self._pin(cluster)

    async def _figures(self, endpoint: Endpoint) -> VllmFigures:
        text = await self._fetch(endpoint)
        try:
            return parse(text)
        except MetricsTextError as error:
            raise ScrapeError(Scrape.NOT_METRICS, str(error)) from error

    def _pin(self, cluster: str) -> None:
        now = self._clock()
        endpoints = self._watched[cluster].values()
        if any(each.blind for each in endpoints):
            self._board.set_engine(cluster, None)
            return
        heard = [
            each.window
            for each in endpoints
            if (latest := each.window.latest()) is not None and now - latest.at <= SILENT
        ]
        self._board.set_engine(cluster, cluster_load(heard))
