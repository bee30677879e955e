"""No storm: 200 clusters of four endpoints are asked evenly, whatever starts, changes, fails and comes back together.

All in a time of its own, with everything Penstock asks endpoints from here: probes, generations, metrics pages. What is
counted is questions begun in a slot of time and questions in flight, never the wall clock.
"""

import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from penstock.signals.board import ObservationBoard
from penstock.signals.engine_metrics import CONCURRENCY as PAGES_AT_ONCE
from penstock.signals.engine_metrics import EngineMetrics
from penstock.signals.engine_pages import EnginePage
from penstock.signals.generation_probe import Generated, GenerationTarget, Verdict
from penstock.signals.generations import CONCURRENCY as GENERATIONS_AT_ONCE
from penstock.signals.generations import Generations
from penstock.signals.http_probe import Target
from penstock.signals.metrics_page import Scrape, ScrapeError
from penstock.signals.probe_book import ProbeBook
from penstock.signals.probe_count import Answer, ProbeResult
from penstock.signals.probes import CONCURRENCY as PROBES_AT_ONCE
from penstock.signals.probes import Prober
from penstock.signals.questions import Layer
from penstock_policies.policyset import PolicySet
from tests.signals.signal_policies import cluster, policy_set
from tests.signals.virtual_time import VirtualTime

CLUSTERS, ENDPOINTS = 200, 4
ALL = CLUSTERS * ENDPOINTS
PROBE, GENERATION, PAGE = "probe", "generation", "page"
PERIOD = {PROBE: 5.0, GENERATION: 60.0 / ENDPOINTS, PAGE: 2.0}
"""Seconds from one question to the next, of an endpoint, a cluster, an endpoint."""
WORTH = {PROBE: ALL, GENERATION: CLUSTERS, PAGE: ALL}
TIMEOUT = {PROBE: 2.0, GENERATION: 15.0, PAGE: 1.5}
SLOT = 0.25


def fleet(**health: Any) -> PolicySet:
    generation = {"tokensPerDay": 10_000_000, "interval": "60s"}
    asked = {"interval": "5s", "timeout": "2s", "generation": generation, **health}
    return policy_set(
        [
            cluster(f"c{number}", *[(f"10.1.{number}.{host}", 8000) for host in range(1, ENDPOINTS + 1)], **asked)
            for number in range(CLUSTERS)
        ]
    )


class Storm:
    """Everything that asks, and what it is asked."""

    def __init__(self) -> None:
        self.time = VirtualTime(grain=0.01)
        self.out = False
        """Nothing answers: every question runs into its time-out."""
        self.begun: dict[str, list[float]] = {PROBE: [], GENERATION: [], PAGE: []}
        self.in_flight: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.board = ObservationBoard()
        self.book = ProbeBook(self.board, self.time.clock)
        own: dict[str, Any] = {"sleep": self.time.sleep, "monotonic": self.time.clock}
        common = (self.board, self.book, self.time.clock, lambda: None)
        self.prober = Prober(*common, probe=self._probe, jitter=random.Random(1), **own)  # noqa: S311 - a test's own
        self.generations = Generations(*common, probe=self._generate, chance=random.Random(2), **own)  # noqa: S311
        self.engines = EngineMetrics(
            self.board,
            self.time.clock,
            fetch=self._page,
            jitter=random.Random(3),  # noqa: S311 - a test's own
            **own,
        )

    async def apply(self, policy: PolicySet) -> None:
        self.board.apply(policy)
        self.book.apply(policy)
        for source in (self.prober, self.generations, self.engines):
            await source.apply(policy)

    async def stop(self) -> None:
        for source in (self.prober, self.generations, self.engines):
            await source.stop()

    def fullest(self, kind: str, since: float, slot: float = SLOT) -> int:
        """Count the questions begun in the fullest slot of time since then."""
        return max(Counter(int(at / slot) for at in self.begun[kind] if at >= since).values(), default=0)

    async def _asked(self, kind: str) -> None:
        self.begun[kind].append(self.time.now)
        self.in_flight[kind] += 1
        self.most[kind] = max(self.most[kind], self.in_flight[kind])
        await self.time.sleep(TIMEOUT[kind] if self.out else 0.005)
        self.in_flight[kind] -= 1

    async def _probe(self, target: Target) -> ProbeResult:
        await self._asked(PROBE)
        return ProbeResult(Answer.FAILED, layer=Layer.TCP) if self.out else ProbeResult(Answer.ALIVE, 0.01)

    async def _generate(self, target: GenerationTarget) -> Generated:
        await self._asked(GENERATION)
        return Generated(Verdict.FAILED, "no answer") if self.out else Generated(Verdict.GOOD, "", 0.1, 20, 4)

    async def _page(self, page: EnginePage) -> str:
        await self._asked(PAGE)
        # What a page says is no matter here, and reading it would take most of the test's time.
        raise ScrapeError(Scrape.UNREACHABLE, "no page")


@pytest.fixture
async def storm() -> AsyncIterator[Storm]:
    made = Storm()
    yield made
    await made.stop()


def assert_even(storm: Storm, since: float) -> None:
    """Assert that no slot has more than half as much again as its even share, and a little for chance."""
    for kind, period in PERIOD.items():
        share = WORTH[kind] * SLOT / period
        fullest = storm.fullest(kind, since)
        assert fullest <= 1.5 * share + 4 * share**0.5, (kind, fullest, share)
        elapsed = storm.time.now - since
        asked = sum(1 for at in storm.begun[kind] if at >= since)
        assert asked >= 0.9 * WORTH[kind] * elapsed / period - WORTH[kind], (kind, asked)


async def test_a_start_and_the_time_after_it_are_even(storm: Storm) -> None:
    await storm.apply(fleet())
    began = storm.time.now
    await storm.time.run(30)
    # First probes come sooner than an interval, so that what is dead is known soon; still in no crowd.
    assert storm.fullest(PROBE, began, 1.0) <= 400
    assert_even(storm, began + 10)
    assert storm.most[PROBE] < 40
    assert storm.most[PAGE] < 40
    assert storm.most[GENERATION] < 20


async def test_a_reload_leaves_what_did_not_change_to_its_beat_and_spreads_what_did(storm: Storm) -> None:
    await storm.apply(fleet())
    await storm.time.run(8)
    before = storm.time.now
    await storm.apply(fleet())
    await storm.time.run(10)
    assert_even(storm, before)
    changed = storm.time.now
    await storm.apply(fleet(path="/ready"))
    await storm.time.run(10)
    assert storm.fullest(PROBE, changed, 1.0) <= 400
    await storm.time.run(8)
    assert_even(storm, changed + 10)


async def test_an_outage_of_all_brings_no_crowd_neither_while_it_lasts_nor_after(storm: Storm) -> None:
    await storm.apply(fleet())
    await storm.time.run(8)
    storm.out = True
    fell = storm.time.now
    await storm.time.run(30)
    assert storm.most[PROBE] <= PROBES_AT_ONCE
    assert storm.most[GENERATION] <= GENERATIONS_AT_ONCE
    assert storm.most[PAGE] <= PAGES_AT_ONCE
    for kind, period in PERIOD.items():
        share = WORTH[kind] / period
        assert storm.fullest(kind, fell + 5, 1.0) <= 1.5 * share + 4 * share**0.5, kind
    storm.out = False
    # What was held up at a gate is let through first, which is as many as are held up and no more.
    await storm.time.run(10)
    back = storm.time.now
    await storm.time.run(20)
    assert_even(storm, back)
