"""The prober: whom it asks, how often, and when it tells."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from penstock.signals.board import ObservationBoard
from penstock.signals.http_probe import Target
from penstock.signals.probe_book import ProbeBook, ProbeFacts
from penstock.signals.probe_count import Answer, ProbeResult
from penstock.signals.probes import Prober
from penstock.signals.questions import Layer
from penstock_policies.policyset import PolicySet
from tests.signals.edge_policies import edge_policy, probed
from tests.signals.signal_policies import cluster, policy_set
from tests.signals.simulated_servers import serving
from tests.signals.virtual_time import VirtualTime

ONE = ("10.0.0.1", 8000)
TWO = ("10.0.0.2", 8000)


class Fleet:
    """Endpoints whose answers the test sets, and time that passes only when :meth:`rounds` says so."""

    def __init__(self) -> None:
        self.time = VirtualTime()
        self.answers: dict[str, ProbeResult] = {}
        self.asked: Counter[str] = Counter()
        self.deep: Counter[str] = Counter()
        self.notified = 0
        self.takes = 0.0
        """Seconds an answer takes."""
        self.in_flight = 0
        self.most_in_flight = 0
        self.board = ObservationBoard()
        self.book = ProbeBook(self.board, self.time.clock)
        self.prober = Prober(
            self.board,
            self.book,
            self.time.clock,
            self._count,
            probe=self._probe,
            sleep=self.time.sleep,
            monotonic=self.time.clock,
            jitter=random.Random(1),  # noqa: S311 - spreads load, guards nothing
            concurrency=2,
        )

    async def apply(self, policy: PolicySet) -> None:
        self.board.apply(policy)
        self.book.apply(policy)
        await self.prober.apply(policy)
        await self.time.run(0)

    async def rounds(self, count: int, of: str = "10.0.0.1:8000") -> None:
        """Let time pass until an endpoint was asked so many times more."""
        wanted = self.asked[of] + count
        for _ in range(10_000):
            if self.asked[of] >= wanted:
                return
            await self.time.run(0.01)
        raise AssertionError("not asked")

    def _count(self) -> None:
        self.notified += 1

    async def _probe(self, target: Target) -> ProbeResult:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        if self.takes:
            await self.time.sleep(self.takes)
        self.in_flight -= 1
        self.asked[target.endpoint.key] += 1
        self.deep[target.endpoint.key] += bool(target.models)
        return self.answers.get(target.endpoint.key, ProbeResult(Answer.ALIVE, 0.01))


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    made = Fleet()
    yield made
    await made.prober.stop()


async def test_every_endpoint_is_asked_and_pinned_on_the_board(fleet: Fleet) -> None:
    await fleet.apply(policy_set([cluster("onprem", ONE, TWO)]))
    fleet.answers["10.0.0.2:8000"] = ProbeResult(Answer.FAILED, detail="health: HTTP 503")
    await fleet.time.run(10)
    probes = fleet.board.snapshot(fleet.time.now).probes["onprem"]
    one, two = probes["10.0.0.1:8000"], probes["10.0.0.2:8000"]
    assert 9 <= one.consecutive_ok <= 11
    assert fleet.time.now - one.at <= 1.1
    assert (two.consecutive_ok, two.detail) == (0, "health: HTTP 503")
    assert 9 <= two.consecutive_failed <= 11


async def test_what_the_edge_probes_is_left_to_it(fleet: Fleet) -> None:
    await fleet.apply(edge_policy([probed("onprem", ONE), cluster("cloud", TWO)]))
    await fleet.rounds(3, of="10.0.0.2:8000")
    assert set(fleet.asked) == {"10.0.0.2:8000"}


async def test_it_tells_only_when_a_threshold_is_crossed(fleet: Fleet) -> None:
    await fleet.apply(policy_set([cluster("onprem", ONE)]))
    told = []
    for answer in [Answer.ALIVE] * 4 + [Answer.FAILED] * 4 + [Answer.ALIVE] * 4:
        fleet.answers["10.0.0.1:8000"] = ProbeResult(answer)
        await fleet.rounds(1)
        told.append(fleet.notified)
    assert told == [0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3]


async def test_probes_in_flight_are_bounded(fleet: Fleet) -> None:
    await fleet.apply(policy_set([cluster("onprem", *[("10.0.0.1", port) for port in range(1, 41)])]))
    fleet.takes = 0.1
    await fleet.time.run(5)
    assert fleet.most_in_flight == 2


async def test_a_new_policy_set_leaves_unchanged_endpoints_their_counts(fleet: Fleet) -> None:
    await fleet.apply(policy_set([cluster("onprem", ONE)]))
    await fleet.rounds(5)
    await fleet.apply(policy_set([cluster("onprem", ONE, TWO), cluster("cloud", ("10.1.0.1", 443))]))
    await fleet.time.run(1.1)
    probes = fleet.board.snapshot(fleet.time.now).probes
    assert 6 <= probes["onprem"]["10.0.0.1:8000"].consecutive_ok <= 7
    assert 1 <= probes["onprem"]["10.0.0.2:8000"].consecutive_ok <= 2
    assert 1 <= probes["cloud"]["10.1.0.1:443"].consecutive_ok <= 2


async def test_an_endpoint_whose_probing_changes_begins_anew(fleet: Fleet) -> None:
    await fleet.apply(policy_set([cluster("onprem", ONE)]))
    await fleet.rounds(5)
    await fleet.apply(policy_set([cluster("onprem", ONE, path="/ready")]))
    await fleet.rounds(1)
    assert fleet.board.snapshot(fleet.time.now).probes["onprem"]["10.0.0.1:8000"].consecutive_ok == 1


async def test_endpoints_that_left_are_asked_no_more(fleet: Fleet) -> None:
    await fleet.apply(policy_set([cluster("onprem", ONE, TWO)]))
    await fleet.time.run(2)
    await fleet.apply(policy_set([cluster("onprem", ONE)]))
    asked = fleet.asked["10.0.0.2:8000"]
    await fleet.rounds(3)
    assert fleet.asked["10.0.0.2:8000"] == asked > 0
    assert set(fleet.book.facts()) == {("onprem", "10.0.0.1:8000")}


async def test_facts_count_probes_failures_and_alarms(fleet: Fleet) -> None:
    await fleet.apply(policy_set([cluster("onprem", ONE)]))
    refused = "health: HTTP 401, the key is refused"
    for result in (
        ProbeResult(Answer.FAILED, layer=Layer.TLS),
        ProbeResult(Answer.UNKNOWN),
        ProbeResult(Answer.ALIVE, 0.1, refused, credential=refused),
    ):
        fleet.answers["10.0.0.1:8000"] = result
        await fleet.rounds(1)
    assert fleet.book.facts()["onprem", "10.0.0.1:8000"] == ProbeFacts(
        probes=3, failures=1, unknown=1, credential=refused
    )


async def test_after_a_stop_nothing_runs_and_it_can_begin_again(fleet: Fleet) -> None:
    policy = policy_set([cluster("onprem", ONE)])
    await fleet.apply(policy)
    await fleet.prober.stop()
    await fleet.time.run(5)
    assert fleet.asked == {}
    await fleet.apply(policy)
    await fleet.time.run(1)
    assert fleet.asked["10.0.0.1:8000"] >= 1


async def test_lists_of_models_are_looked_at_once_a_minute(fleet: Fleet) -> None:
    await fleet.apply(policy_set([cluster("onprem", ONE, models=True), cluster("plain", TWO)]))
    fleet.answers["10.0.0.1:8000"] = ProbeResult(Answer.ALIVE, 0.01, layer=Layer.MODELS, missing=())
    await fleet.time.run(600)
    assert 9 <= fleet.deep["10.0.0.1:8000"] <= 11
    assert fleet.deep["10.0.0.2:8000"] == 0


async def test_while_none_of_its_models_is_listed_an_endpoint_goes_on_failing(fleet: Fleet) -> None:
    await fleet.apply(policy_set([cluster("onprem", ONE, models=True)]))
    missing = ("llama-3-70b",)
    fleet.answers["10.0.0.1:8000"] = ProbeResult(Answer.FAILED, 0.01, "models: none", Layer.MODELS, missing=missing)
    await fleet.rounds(4)
    assert fleet.deep["10.0.0.1:8000"] == 4
    assert fleet.board.snapshot(fleet.time.now).probes["onprem"]["10.0.0.1:8000"].consecutive_failed == 4
    assert fleet.book.facts()["onprem", "10.0.0.1:8000"].missing == missing


async def test_a_real_server_going_down_and_coming_back_is_told_each_time() -> None:
    status = 200
    told = asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=status)

    async def next_telling() -> None:
        async with asyncio.timeout(20):
            await told.wait()
        told.clear()

    async with serving(handler) as port:
        board = ObservationBoard()
        policy = policy_set([cluster("onprem", ("127.0.0.1", port), interval="100ms", timeout="10s")])
        board.apply(policy)
        prober = Prober(board, ProbeBook(board, lambda: 1000.0), lambda: 1000.0, told.set)
        try:
            await prober.apply(policy)
            seen = []
            for status in (200, 503, 200):  # noqa: B007 - the handler reads it
                await next_telling()
                probe = board.snapshot(1000.0).probes["onprem"][f"127.0.0.1:{port}"]
                seen.append((probe.consecutive_ok >= 2, probe.consecutive_failed >= 2))
            assert seen == [(True, False), (False, True), (True, False)]
        finally:
            await prober.stop()
