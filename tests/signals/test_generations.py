"""Whom generations are asked of, when, when not, and what they may cost."""

import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from penstock.signals.board import ObservationBoard
from penstock.signals.generation_probe import Generated, GenerationTarget, Verdict, dearest
from penstock.signals.generations import Generations
from penstock.signals.load_endpoints import EndpointLoad
from penstock.signals.probe_book import Key, ProbeBook
from penstock.signals.purse import DAY
from penstock_policies.observations import EndpointProbe, Load
from penstock_policies.policyset import PolicySet
from penstock_policies.probing import Generation
from penstock_policies.schema import Cluster
from tests.signals.signal_policies import cluster, policy_set
from tests.signals.virtual_time import VirtualTime

ONE, TWO, THREE = ("10.0.0.1", 8000), ("10.0.0.2", 8000), ("10.0.0.3", 8000)
PLENTY = {"interval": "60s", "tokensPerDay": 10_000_000}
COST = sum(dearest(Generation()))
GOOD = Generated(Verdict.GOOD, "", 0.2, 20, 4)
FAILED = Generated(Verdict.FAILED, "generation: HTTP 500", None, *dearest(Generation()))


def generating(*endpoints: tuple[str, int], name: str = "onprem", **generation: Any) -> Cluster:
    return cluster(name, *endpoints, interval="5s", generation={**PLENTY, **generation})


class Fleet:
    """Endpoints whose answers the test sets, in a time of its own."""

    def __init__(self, concurrency: int = 64) -> None:
        self.time = VirtualTime()
        self.board = ObservationBoard()
        self.book = ProbeBook(self.board, self.time.clock)
        self.answers: dict[str, Generated] = {}
        self.asked: list[tuple[float, str]] = []
        self.takes = 1.0
        self.in_flight: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.notified = 0
        self.concurrency = concurrency
        self.endpoint_loads: dict[str, dict[str, EndpointLoad]] = {}
        self.generations = self._made()

    def _made(self, failed_before: Mapping[Key, int] | None = None) -> Generations:
        return Generations(
            self.board,
            self.book,
            self.time.clock,
            self._notify,
            endpoint_loads=lambda _: self.endpoint_loads,
            failed_before=failed_before or {},
            probe=self._generate,
            sleep=self.time.sleep,
            monotonic=self.time.clock,
            chance=random.Random(1),  # noqa: S311 - a test's own
            concurrency=self.concurrency,
        )

    async def apply(self, policy: PolicySet) -> None:
        self.board.apply(policy)
        self.book.apply(policy)
        await self.generations.apply(policy)
        await self.time.run(0)

    async def restart(self, policy: PolicySet, failed_before: Mapping[Key, int] | None = None) -> None:
        await self.generations.stop()
        self.book = ProbeBook(self.board, self.time.clock)
        self.generations = self._made(failed_before)
        await self.apply(policy)

    def probes(self, *, failed: int = 0) -> None:
        """Have shallow probes say so much of the first endpoint."""
        self.board.set_probe("onprem", "10.0.0.1:8000", EndpointProbe(self.time.now, 0 if failed else 9, failed))

    def signs(self, endpoint: str = "10.0.0.1:8000") -> EndpointProbe:
        self.board.set_probe("onprem", endpoint, EndpointProbe(self.time.now, 9, 0))
        return self.board.snapshot(self.time.now).probes["onprem"][endpoint]

    def traffic(self, rate: float) -> None:
        self.board.set_load({"eu-west": {"onprem": Load(self.time.now, 5, rate, 0, success_rate=rate)}})

    def held(self) -> float:
        purse = self.generations.purse("onprem")
        assert purse is not None
        return purse.held

    def since(self, at: float) -> Counter[str]:
        return Counter(key for then, key in self.asked if then >= at)

    def _notify(self) -> None:
        self.notified += 1

    async def _generate(self, target: GenerationTarget) -> Generated:
        key = target.endpoint.key
        address = key.rpartition(":")[0]
        for name in (address, ""):
            self.in_flight[name] += 1
            self.most[name] = max(self.most[name], self.in_flight[name])
        self.asked.append((self.time.now, key))
        await self.time.sleep(self.takes)
        for name in (address, ""):
            self.in_flight[name] -= 1
        return self.answers.get(key, GOOD)


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    made = Fleet()
    yield made
    await made.generations.stop()


async def test_each_endpoint_generates_once_an_interval_and_never_two_of_a_cluster_at_once(fleet: Fleet) -> None:
    fleet.takes = 15.0
    await fleet.apply(policy_set([generating(ONE, TWO, THREE)]))
    await fleet.time.run(1200)
    counts = fleet.since(0)
    assert set(counts) == {"10.0.0.1:8000", "10.0.0.2:8000", "10.0.0.3:8000"}
    assert all(18 <= count <= 21 for count in counts.values())
    assert fleet.most[""] == 1
    assert fleet.book.of(("onprem", "10.0.0.1:8000")).generation.ttft == 0.2


async def test_a_small_budget_lasts_the_day_and_is_not_exceeded(fleet: Fleet) -> None:
    fleet.answers = {"10.0.0.1:8000": Generated(Verdict.GOOD, "", 0.2, *dearest(Generation()))}
    await fleet.apply(policy_set([generating(ONE, tokensPerDay=2000, interval="10s")]))
    await fleet.time.run(2 * DAY)
    first, second = (sum(1 for at, _ in fleet.asked if day <= (at - 1000) / DAY < day + 1) for day in (0, 1))
    for count in (first, second):
        assert 0.8 * 2000 <= count * COST <= 2000
    gaps = [after[0] - before[0] for before, after in zip(fleet.asked, fleet.asked[1:], strict=False)]
    assert max(gaps) < 3 * DAY * COST / 2000
    facts = fleet.book.of(("onprem", "10.0.0.1:8000")).generation
    assert facts.prompt_tokens + facts.output_tokens == (first + second) * COST


async def test_restarts_give_no_token_that_was_not_due(fleet: Fleet) -> None:
    policy = policy_set([generating(ONE, tokensPerDay=2000, interval="10s")])
    fleet.answers = {"10.0.0.1:8000": FAILED}
    for _ in range(50):
        await fleet.restart(policy)
        await fleet.time.run(5000)
    assert 10 * COST < len(fleet.asked) * COST <= 2000 * (fleet.time.now - 1000) / DAY


async def test_a_restart_lets_nobody_back_who_did_not_generate_before_it(fleet: Fleet) -> None:
    policy = policy_set([generating(ONE, TWO)])
    fleet.answers["10.0.0.1:8000"] = FAILED
    await fleet.restart(policy, {("onprem", "10.0.0.1:8000"): 3, ("gone", "10.0.0.1:8000"): 3})
    assert (fleet.signs().generation_failed, fleet.signs("10.0.0.2:8000").generation_failed) == (3, 0)
    await fleet.time.run(150)
    assert fleet.signs().generation_failed > 3
    fleet.answers.clear()
    await fleet.time.run(150)
    assert fleet.signs().generation_failed == 0
    await fleet.apply(policy_set([generating(ONE, TWO, prompt="Say no.")]))
    assert fleet.signs().generation_failed == 0


async def test_an_edit_of_the_policy_leaves_the_purse_as_it_was(fleet: Fleet) -> None:
    await fleet.apply(policy_set([generating(ONE, tokensPerDay=20_000)]))
    await fleet.time.run(700)
    held = fleet.held()
    await fleet.apply(policy_set([generating(ONE, TWO, tokensPerDay=20_000)]))
    assert fleet.held() == held > 0
    await fleet.apply(policy_set([generating(ONE, TWO, tokensPerDay=40_000)]))
    assert fleet.held() == 0


async def test_while_requests_prove_that_it_generates_nothing_is_spent(fleet: Fleet) -> None:
    await fleet.apply(policy_set([generating(ONE)]))
    for _ in range(600):
        fleet.traffic(20)
        await fleet.time.run(1)
    assert fleet.asked == []
    assert fleet.book.of(("onprem", "10.0.0.1:8000")).generation.paused
    quiet = fleet.time.now
    await fleet.time.run(130)
    assert 1 <= fleet.since(quiet).total() <= 3
    assert not fleet.book.of(("onprem", "10.0.0.1:8000")).generation.paused


async def test_of_several_endpoints_those_whose_own_requests_prove_it_are_left_alone(fleet: Fleet) -> None:
    await fleet.apply(policy_set([generating(ONE, TWO, THREE)]))
    for _ in range(300):
        # The second answers nothing of what it gets, the third gets nothing.
        at = fleet.time.now
        fleet.endpoint_loads = {
            "eu-west": {"10.0.0.1:8000": EndpointLoad(at, 5, 50.0, 20.0, 0.5, 19.5)},
            "us-east": {"10.0.0.2:8000": EndpointLoad(at, 90, 50.0, 20.0, 0.0, 0.0)},
        }
        fleet.traffic(20)
        await fleet.time.run(1)
    assert set(fleet.since(0)) == {"10.0.0.2:8000", "10.0.0.3:8000"}


async def test_requests_that_fail_pause_nothing(fleet: Fleet) -> None:
    await fleet.apply(policy_set([generating(ONE)]))
    for _ in range(300):
        failing = Load(fleet.time.now, 5, 20, 10, success_rate=10)
        fleet.board.set_load({"eu-west": {"onprem": failing}})
        await fleet.time.run(1)
    assert len(fleet.asked) >= 4


async def test_an_endpoint_whose_generations_fail_is_asked_whatever_others_prove(fleet: Fleet) -> None:
    fleet.answers["10.0.0.2:8000"] = FAILED
    await fleet.apply(policy_set([generating(ONE, TWO)]))
    await fleet.time.run(300)
    busy = fleet.time.now
    for _ in range(300):
        fleet.traffic(20)
        await fleet.time.run(1)
    assert set(fleet.since(busy + 5)) == {"10.0.0.2:8000"}


async def test_a_gray_failure_is_confirmed_at_the_pace_of_health_and_told_to_the_engine(fleet: Fleet) -> None:
    await fleet.apply(policy_set([generating(ONE)]))
    await fleet.time.run(300)
    fleet.answers["10.0.0.1:8000"] = FAILED
    before = len(fleet.asked)
    while len(fleet.asked) == before:
        await fleet.time.run(1)
    began = fleet.time.now
    await fleet.time.run(10)
    assert fleet.signs().generation_failed == 2
    assert fleet.notified == 1
    assert fleet.since(began - 2).total() == 2, "once it is settled, it is asked at its own interval again"
    fleet.answers.clear()
    await fleet.time.run(90)
    assert fleet.signs().generation_failed == 0
    assert fleet.notified == 2


async def test_refusals_and_limits_are_no_failures(fleet: Fleet) -> None:
    await fleet.apply(policy_set([generating(ONE)]))
    for verdict in (Verdict.REFUSED, Verdict.UNFIT, Verdict.UNKNOWN, Verdict.UNREACHED, Verdict.LIMITED):
        fleet.answers["10.0.0.1:8000"] = Generated(verdict, "told")
        asked = len(fleet.asked)
        await fleet.time.run(300)
        assert 4 <= len(fleet.asked) - asked <= 6, "no faster than by the interval"
        assert fleet.signs().generation_failed == 0
    limited = fleet.signs().limited_at
    assert limited is not None
    assert fleet.time.now - limited < 70
    assert fleet.notified == 0


async def test_nobody_is_asked_to_generate_who_fails_shallower_probes(fleet: Fleet) -> None:
    await fleet.apply(policy_set([generating(ONE, TWO)]))
    fleet.probes(failed=1)
    await fleet.time.run(600)
    assert set(fleet.since(0)) == {"10.0.0.2:8000"}
    fleet.probes()
    later = fleet.time.now
    await fleet.time.run(200)
    assert set(fleet.since(later)) == {"10.0.0.1:8000", "10.0.0.2:8000"}


async def test_what_is_asked_anew_is_not_held_against_an_endpoint(fleet: Fleet) -> None:
    fleet.answers["10.0.0.1:8000"] = FAILED
    await fleet.apply(policy_set([generating(ONE)]))
    await fleet.time.run(300)
    assert fleet.signs().generation_failed >= 2
    await fleet.apply(policy_set([generating(ONE, prompt="Say no.")]))
    assert fleet.signs().generation_failed == 0


async def test_without_generation_in_the_policy_nothing_is_held_against_anybody(fleet: Fleet) -> None:
    fleet.answers["10.0.0.1:8000"] = FAILED
    await fleet.apply(policy_set([generating(ONE)]))
    await fleet.time.run(300)
    await fleet.apply(policy_set([cluster("onprem", ONE)]))
    asked = len(fleet.asked)
    await fleet.time.run(300)
    assert fleet.signs().generation_failed == 0
    assert len(fleet.asked) == asked


async def test_slow_first_tokens_are_marked_for_people(fleet: Fleet) -> None:
    await fleet.apply(policy_set([generating(ONE, ttftWarn="100ms")]))
    await fleet.time.run(200)
    assert fleet.book.of(("onprem", "10.0.0.1:8000")).generation.slow
    assert fleet.signs().generation_failed == 0


async def test_generations_in_flight_are_bounded_over_all_clusters() -> None:
    fleet = Fleet(concurrency=3)
    fleet.takes = 50.0
    await fleet.apply(policy_set([generating(("10.0.1.1", port), name=f"c{port}") for port in range(1, 21)]))
    await fleet.time.run(600)
    assert fleet.most[""] == 3
    assert len(fleet.asked) >= 3 * 9
    await fleet.generations.stop()
