"""What engines say of themselves: one task per metrics page of a cluster, reading it and writing the board.

Owned by the composition root, which calls :meth:`EngineMetrics.apply` for every new policy set (after the board's own
``apply``). Endpoints that did not change keep their task and their readings. An endpoint that is out of reach is left
out of its cluster's sums, since it carries nothing; one that answers, but not with its engine's metrics, makes them
unknown, since it may carry much, and so does one whose page has a port of its own and is out of reach. None of it is
ever needed: the engine steers by the edge's load reports where engines are silent.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from penstock.signals.beat import Beat
from penstock.signals.board import ObservationBoard
from penstock.signals.engine_figures import Figures
from penstock.signals.engine_pages import EnginePage, engine_pages
from penstock.signals.engine_readings import Reading, Window, cluster_load
from penstock.signals.engine_shown import EngineShown, shown
from penstock.signals.engine_text import EngineTextError, parse
from penstock.signals.metrics_page import MetricsPages, Scrape, ScrapeError
from penstock.signals.workers import Workers
from penstock_policies.policyset import PolicySet

logger = logging.getLogger(__name__)

INTERVAL: Final = 2.0
"""Seconds between two readings: queues build up over seconds, and a page costs its server a millisecond."""

SILENT: Final = 3 * INTERVAL
"""Seconds after which an endpoint that gives no reading counts for nothing."""

CONCURRENCY: Final = 64
"""Readings in flight at once: parsing them is this process's work, so a fleet's must not come in one beat."""

LARGE: Final = 256 * 1024
"""Characters of a page above which it is read in a thread: some milliseconds of the loop that also serves Envoys."""


@dataclass(slots=True)
class _Watched:
    """One page."""

    page: EnginePage
    window: Window
    blind: bool = False
    """Its place answers, but not with metrics."""
    told: bool = False
    """Its failure is in the log."""

    def fresh(self, now: float) -> bool:
        """Tell whether it was read lately."""
        latest = self.window.latest()
        return latest is not None and now - latest.at <= SILENT


Fetch = Callable[[EnginePage], Awaitable[str]]


class EngineMetrics:
    """Reads every engine that serves metrics.

    ``fetch``, ``sleep``, ``monotonic`` and ``jitter`` are replaced in tests.
    """

    def __init__(
        self,
        board: ObservationBoard,
        clock: Callable[[], float],
        *,
        fetch: Fetch | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic: Callable[[], float] | None = None,
        jitter: random.Random | None = None,
    ) -> None:
        self._board = board
        self._clock = clock
        self._pages = MetricsPages()
        self._fetch: Fetch = fetch or self._pages
        self._sleep = sleep
        self._monotonic = monotonic
        self._jitter = jitter or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._gate = asyncio.Semaphore(CONCURRENCY)
        self._watched: dict[str, dict[str, _Watched]] = {}
        self._shown: dict[str, EngineShown | None] = {}
        self._workers = Workers[tuple[str, str], EnginePage]("engine metrics", self._work)

    async def apply(self, policy_set: PolicySet) -> None:
        """Read the endpoints of this policy set and no others."""
        wanted = {
            (name, key): page
            for name, cluster in policy_set.clusters.items()
            for key, page in engine_pages(cluster.spec).items()
        }
        kept: dict[str, dict[str, _Watched]] = {}
        for (cluster, key), page in wanted.items():
            before = self._watched.get(cluster, {}).get(key)
            same = before is not None and before.page == page
            kept.setdefault(cluster, {})[key] = before if before and same else _Watched(page, Window())
        for cluster in self._watched.keys() - kept.keys():
            self._board.set_engine(cluster, None)
        same_pages = {cluster for cluster, pages in kept.items() if pages == self._watched.get(cluster)}
        self._shown = {cluster: told for cluster, told in self._shown.items() if cluster in same_pages}
        self._watched = kept
        self._workers.apply(wanted)
        await self._workers.settled()

    async def stop(self) -> None:
        """End all reading. It may begin again by :meth:`apply`."""
        await self._workers.stop()
        await self._pages.close()

    def shown(self, cluster: str) -> EngineShown | None:
        """Return what the pages of a cluster, of those that were read lately, say together; None where none was."""
        told = self._shown.get(cluster)
        return told if told is not None and self._clock() - told.at <= SILENT else None

    def pages(self, cluster: str) -> Mapping[str, EngineShown | None]:
        """Return what each page of a cluster says, by its ``address:port``; None of those not read lately."""
        now = self._clock()
        return {
            key: shown([each.window]) if each.fresh(now) else None
            for key, each in self._watched.get(cluster, {}).items()
        }

    async def _work(self, key: tuple[str, str], page: EnginePage) -> None:
        now = self._monotonic or asyncio.get_running_loop().time
        beat = Beat(INTERVAL, self._jitter, now())
        while True:
            await self._sleep(beat.wait(now()))
            await self._read(*key, page)

    async def _read(self, cluster: str, key: str, page: EnginePage) -> None:
        watched = self._watched[cluster][key]
        try:
            async with self._gate:
                figures = await self._figures(page)
        except ScrapeError as error:
            watched.blind = error.kind is Scrape.NOT_METRICS
            if watched.blind:
                watched.window = Window()
            if (watched.blind or page.apart) and not watched.told:
                watched.told = True
                facts = {"cluster": cluster, "endpoint": key, "detail": str(error)}
                logger.warning("endpoint gives no metrics, its cluster's own figures are unknown", extra=facts)
        else:
            watched.blind = watched.told = False
            watched.window.add(Reading(self._clock(), figures))
        self._pin(cluster)

    async def _figures(self, page: EnginePage) -> Figures:
        text = await self._fetch(page)
        try:
            if len(text) > LARGE:
                return await asyncio.to_thread(parse, text, page.engine)
            return parse(text, page.engine)
        except EngineTextError as error:
            raise ScrapeError(Scrape.NOT_METRICS, str(error)) from error

    def _pin(self, cluster: str) -> None:
        now = self._clock()
        pages = self._watched[cluster].values()
        if any(each.blind or (each.page.apart and not each.fresh(now)) for each in pages):
            self._board.set_engine(cluster, None)
            self._shown[cluster] = None
            return
        self._shown[cluster] = shown([each.window for each in pages if each.fresh(now)])
        self._board.set_engine(cluster, cluster_load([each.window for each in pages if each.fresh(now)]))
