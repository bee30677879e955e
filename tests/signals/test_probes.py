"""The prober: whom it asks, how often, and when it tells."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from penstock.signals.board import ObservationBoard
from penstock.signals.http_probe import Target
from penstock.signals.probe_count import Answer, ProbeResult
from penstock.signals.probes import ProbeFacts, Prober
from penstock_policies.policyset import PolicySet
from tests.signals.edge_policies import edge_policy, probed
from tests.signals.signal_policies import cluster, policy_set
from tests.signals.simulated_servers import serving

ONE = ("10.0.0.1", 8000)
TWO = ("10.0.0.2", 8000)


class Fleet:
    """Endpoints whose answers the test sets, and time that passes only when :meth:`rounds` says so."""

    def __init__(self) -> None:
        self.answers: dict[str, ProbeResult] = {}
        self.asked: Counter[str] = Counter()
        self.slept: list[float] = []
        self.notified = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self._sleepers: list[asyncio.Future[None]] = []
        self.board = ObservationBoard()
        self.prober = Prober(
            self.board,
            lambda: 1000.0,
            self._count,
            probe=self._probe,
            sleep=self._sleep,
            jitter=random.Random(1),  # noqa: S311 - spreads load, guards nothing
            concurrency=2,
        )

    async def apply(self, policy: PolicySet) -> None:
        self.board.apply(policy)
        await self.prober.apply(policy)
        await self._settle()

    async def rounds(self, count: int) -> None:
        for _ in range(count):
            sleepers, self._sleepers = self._sleepers, []
            for sleeper in sleepers:
                if not sleeper.done():
                    sleeper.set_result(None)
            await self._settle()

    async def _settle(self) -> None:
        for _ in range(50):
            await asyncio.sleep(0)

    def _count(self) -> None:
        self.notified += 1

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        sleeper = asyncio.get_running_loop().create_future()
        self._sleepers.append(sleeper)
        await sleeper

    async def _probe(self, target: Target) -> ProbeResult:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(0)
        self.in_flight -= 1
        self.asked[target.endpoint.key] += 1
        return self.answers.get(target.endpoint.key, ProbeResult(Answer.ALIVE, 0.01))


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    made = Fleet()
    yield made
    await made.prober.stop()


async def test_every_endpoint_is_asked_and_pinned_on_the_board(fleet: Fleet) -> None:
    await fleet.apply(policy_set([cluster("onprem", ONE, TWO)]))
    fleet.answers["10.0.0.2:8000"] = ProbeResult(Answer.FAILED, detail="HTTP 503")
    await fleet.rounds(3)
    probes = fleet.board.snapshot(1000.0).probes["onprem"]
    assert (probes["10.0.0.1:8000"].consecutive_ok, probes["10.0.0.1:8000"].at) == (3, 1000.0)
    assert (probes["10.0.0.2:8000"].consecutive_failed, probes["10.0.0.2:8000"].detail) == (3, "HTTP 503")


async def test_what_the_edge_probes_is_left_to_it(fleet: Fleet) -> None:
    await fleet.apply(edge_policy([probed("outer", ONE), cluster("onprem", TWO)]))
    await fleet.rounds(2)
    assert set(fleet.asked) == {"10.0.0.2:8000"}


async def test_it_tells_only_when_a_threshold_is_crossed(fleet: Fleet) -> None:
    await fleet.apply(policy_set([cluster("onprem", ONE)]))
    told = []
    for answer in [Answer.ALIVE] * 4 + [Answer.FAILED] * 4 + [Answer.ALIVE] * 4:
        fleet.answers["10.0.0.1:8000"] = ProbeResult(answer)
        await fleet.rounds(1)
        told.append(fleet.notified)
    assert told == [0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3]


async def test_first_probes_are_spread_and_later_ones_jittered(fleet: Fleet) -> None:
    await fleet.apply(policy_set([cluster("onprem", *[("10.0.0.1", port) for port in range(1, 41)])]))
    first, fleet.slept = fleet.slept, []
    assert all(0 <= pause <= 1 for pause in first)
    assert max(first) - min(first) > 0.5
    await fleet.rounds(1)
    assert all(0.85 <= pause <= 1.1 for pause in fleet.slept)
    assert len(set(fleet.slept)) > 30


async def test_probes_in_flight_are_bounded(fleet: Fleet) -> None:
    await fleet.apply(policy_set([cluster("onprem", *[("10.0.0.1", port) for port in range(1, 41)])]))
    await fleet.rounds(2)
    assert fleet.most_in_flight == 2


async def test_a_new_policy_set_leaves_unchanged_endpoints_their_counts(fleet: Fleet) -> None:
    await fleet.apply(policy_set([cluster("onprem", ONE)]))
    await fleet.rounds(5)
    await fleet.apply(policy_set([cluster("onprem", ONE, TWO), cluster("cloud", ("10.1.0.1", 443))]))
    await fleet.rounds(1)
    probes = fleet.board.snapshot(1000.0).probes
    assert probes["onprem"]["10.0.0.1:8000"].consecutive_ok == 6
    assert probes["onprem"]["10.0.0.2:8000"].consecutive_ok == 1
    assert probes["cloud"]["10.1.0.1:443"].consecutive_ok == 1


async def test_an_endpoint_whose_probing_changes_begins_anew(fleet: Fleet) -> None:
    await fleet.apply(policy_set([cluster("onprem", ONE)]))
    await fleet.rounds(5)
    await fleet.apply(policy_set([cluster("onprem", ONE, path="/ready")]))
    await fleet.rounds(1)
    assert fleet.board.snapshot(1000.0).probes["onprem"]["10.0.0.1:8000"].consecutive_ok == 1


async def test_endpoints_that_left_are_asked_no_more(fleet: Fleet) -> None:
    await fleet.apply(policy_set([cluster("onprem", ONE, TWO)]))
    await fleet.rounds(2)
    await fleet.apply(policy_set([cluster("onprem", ONE)]))
    await fleet.rounds(3)
    assert (fleet.asked["10.0.0.1:8000"], fleet.asked["10.0.0.2:8000"]) == (5, 2)
    assert set(fleet.prober.facts()) == {("onprem", "10.0.0.1:8000")}


async def test_facts_count_probes_failures_and_alarms(fleet: Fleet) -> None:
    await fleet.apply(policy_set([cluster("onprem", ONE)]))
    for result in (
        ProbeResult(Answer.FAILED),
        ProbeResult(Answer.UNKNOWN),
        ProbeResult(Answer.ALIVE, 0.1, "HTTP 401", credential_refused=True),
    ):
        fleet.answers["10.0.0.1:8000"] = result
        await fleet.rounds(1)
    assert fleet.prober.facts()["onprem", "10.0.0.1:8000"] == ProbeFacts(
        probes=3, failures=1, unknown=1, credential_refused=True
    )


async def test_after_a_stop_nothing_runs_and_it_can_begin_again(fleet: Fleet) -> None:
    policy = policy_set([cluster("onprem", ONE)])
    await fleet.apply(policy)
    await fleet.prober.stop()
    await fleet.rounds(2)
    assert fleet.asked == {}
    await fleet.apply(policy)
    await fleet.rounds(1)
    assert fleet.asked == {"10.0.0.1:8000": 1}


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
        prober = Prober(board, lambda: 1000.0, told.set)
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
