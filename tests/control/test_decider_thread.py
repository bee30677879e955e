"""Deciding leaves the event loop alone, one decision at a time, and an operator's word waits for nothing else."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from penstock.control import decider as decider_module
from penstock.control.decider import Decider
from penstock.control.history import WeightHistory
from penstock.control.ledger import LedgerKeeper
from penstock.control.publisher import Publisher
from penstock.control.recorder import Recorder
from penstock.signals.board import ObservationBoard
from penstock.state.store import Store
from penstock_envoy.compiler import Compiler
from penstock_policies.decision import Decision
from penstock_policies.engine import decide
from penstock_policies.inputs import DecisionInputs
from penstock_policies.loader import load
from penstock_policies.observations import Observations
from penstock_policies.overrides import Drain, Overrides
from penstock_policies.policyset import PolicySet
from penstock_xds import SnapshotCache

EXAMPLE = (Path(__file__).parents[2] / "policies/examples/hybrid/policy.yaml").read_text()
NOW = 1_000_000.0
PATIENCE = 20.0


def example() -> PolicySet:
    loaded = load({"policy.yaml": EXAMPLE})
    assert loaded.policy_set is not None
    return loaded.policy_set


@dataclass
class Held:
    """The engine, held up until the test lets it go on."""

    began: asyncio.Event = field(default_factory=asyncio.Event)
    let_go: threading.Event = field(default_factory=threading.Event)
    calls: list[Overrides] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)
    under_way: int = 0
    most_at_once: int = 0


class RecordingRecorder(Recorder):
    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.made: list[tuple[Decision, DecisionInputs | None]] = []

    def record(self, decision: Decision, inputs: DecisionInputs | None = None) -> None:
        self.made.append((decision, inputs))


@dataclass
class World:
    decider: Decider
    recorder: RecordingRecorder
    cache: SnapshotCache
    told: list[tuple[Decision, float]]


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    async with await Store.open("sqlite://", lambda: NOW) as store:
        cache, recorder, told = SnapshotCache(), RecordingRecorder(store), list[tuple[Decision, float]]()
        board = ObservationBoard()
        decider = Decider(
            board=board,
            publisher=Publisher(cache, Compiler()),
            recorder=recorder,
            history=WeightHistory(),
            ledger=LedgerKeeper(store, lambda: NOW),
            clock=lambda: NOW,
            published=lambda _: None,
            decided=lambda decision, seconds: told.append((decision, seconds)),
        )
        board.apply(example())
        try:
            yield World(decider, recorder, cache, told)
        finally:
            decider.close()


def drain(cluster: str) -> dict[str, Drain]:
    return {cluster: Drain(cluster, NOW, NOW + 3600, "firmware", "sre")}


def hold(monkeypatch: pytest.MonkeyPatch, held: Held) -> None:
    loop = asyncio.get_running_loop()

    def held_up(
        policy: PolicySet, observations: Observations, overrides: Overrides, previous: Decision | None, now: float
    ) -> Decision:
        held.under_way += 1
        held.most_at_once = max(held.most_at_once, held.under_way)
        held.calls.append(overrides)
        held.threads.add(threading.get_ident())
        loop.call_soon_threadsafe(held.began.set)
        assert held.let_go.wait(PATIENCE)
        held.under_way -= 1
        return decide(policy, observations, overrides, previous, now)

    monkeypatch.setattr(decider_module, "decide", held_up)


async def soon(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110 - a failed decision tells nobody; only the state says so
            await asyncio.sleep(0.001)


async def test_the_event_loop_goes_on_while_a_decision_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as it:
        await it.decider.adopt(example())
        in_force, held = it.decider.decision, Held()
        hold(monkeypatch, held)
        deciding = asyncio.create_task(it.decider.decide_now())
        async with asyncio.timeout(PATIENCE):
            await held.began.wait()
        assert threading.get_ident() not in held.threads
        assert it.decider.decision is in_force
        held.let_go.set()
        await deciding
        assert it.decider.decision is not in_force


async def test_two_decisions_are_never_made_at_once_and_the_later_one_knows_the_drain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world() as it:
        await it.decider.adopt(example())
        held = Held()
        hold(monkeypatch, held)
        ticking = asyncio.create_task(it.decider.decide_now())
        async with asyncio.timeout(PATIENCE):
            await held.began.wait()
        it.decider.set_drains(drain("onprem-fra"))
        draining = asyncio.create_task(it.decider.decide_now())
        await asyncio.sleep(0)
        held.let_go.set()
        await asyncio.gather(ticking, draining)
        assert held.most_at_once == 1
        assert [sorted(each.drains) for each in held.calls] == [[], ["onprem-fra"]]
        assert it.decider.decision is not None
        chat = [row for key, row in it.decider.decision.rows.items() if key.policy == "chat"]
        assert chat
        assert all(row.weights.get("onprem-fra", 0) == 0 for row in chat)


async def test_a_decision_nobody_waits_for_any_more_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as it:
        await it.decider.adopt(example())
        in_force, held = it.decider.decision, Held()
        hold(monkeypatch, held)
        deciding = asyncio.create_task(it.decider.decide_now())
        async with asyncio.timeout(PATIENCE):
            await held.began.wait()
        deciding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await deciding
        held.let_go.set()
        await it.decider.aside(lambda: None)
        assert it.decider.decision is in_force


async def test_a_defect_of_the_engine_keeps_the_last_decision_in_force_and_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> Decision:
        raise ZeroDivisionError("a defect")

    async with world() as it:
        await it.decider.adopt(example())
        in_force = it.decider.decision
        monkeypatch.setattr(decider_module, "decide", broken)
        running = asyncio.create_task(it.decider.run())
        it.decider.notify()
        await soon(lambda: "a defect" in it.decider.withheld)
        assert it.decider.decision is in_force
        monkeypatch.undo()
        it.decider.notify()
        await soon(lambda: it.decider.withheld == "")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_what_is_recorded_can_be_decided_again_bit_for_bit() -> None:
    async with world() as it:
        policy = example()
        await it.decider.adopt(policy)
        it.decider.set_drains(drain("onprem-fra"))
        await it.decider.decide_now()
        assert len(it.recorder.made) == 2
        for decision, inputs in it.recorder.made:
            assert inputs is not None
            assert inputs.policy_digest == policy.digest
            again = decide(policy, inputs.observations, inputs.overrides, inputs.previous, inputs.now)
            assert again == decision


async def test_every_decision_is_timed_and_only_those_that_change_something_are_recorded() -> None:
    async with world() as it:
        await it.decider.adopt(example())
        for _ in range(3):
            await it.decider.decide_now()
        assert len(it.told) == 4
        assert all(seconds > 0 for _, seconds in it.told)
        assert len(it.recorder.made) == 1
