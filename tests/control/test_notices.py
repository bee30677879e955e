"""Notices over time: restarts, operators' drains, alarms, the audit log. The clock is the test's own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from penstock.admin.notice_errors import TooManyNoticesError
from penstock.admin.notices import NoticeChange, NoticeEffect, NoticeRequest
from penstock.admin.ports import StoreUnavailableError
from penstock.control import notice_desk
from penstock.control.decider import Decider
from penstock.control.drains import Drains
from penstock.control.history import WeightHistory
from penstock.control.ledger import LedgerKeeper
from penstock.control.notice_desk import NoticeDesk
from penstock.control.noticed_board import NoticedBoard
from penstock.control.notices import Notices
from penstock.control.publisher import Publisher
from penstock.control.recorder import Recorder
from penstock.signals.notices import Announcement, NoticeKind, Report
from penstock.state.errors import StoreError
from penstock.state.notices import NoticeRecord
from penstock.state.store import Store
from penstock_envoy.compiler import Compiler
from penstock_policies.loader import load
from penstock_policies.overrides import Drain
from penstock_policies.policyset import PolicySet
from penstock_xds import SnapshotCache

NOW = 1_700_000_000.0


def document(kind: str, name: str, spec: str) -> str:
    return f"apiVersion: penstock/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"


def serves(name: str, *addresses: str) -> str:
    endpoints = ", ".join(f"{{address: {each}, port: 8000}}" for each in addresses)
    common = "site: cloud, region: eu, engine: vllm, models: [m], capacity: {concurrency: 10}"
    return document("Cluster", name, f"{{{common}, endpoints: [{endpoints}]}}")


POLICY = "---\n".join(
    [
        serves("spot", "10.0.0.1", "10.0.0.2"),
        serves("other", "10.0.1.1"),
        document("Listener", "public", "{address: 0.0.0.0, port: 10000, dataClass: public}"),
        document("NodeGroup", "edge", "{match: {cluster: edge}, region: eu, listeners: [public]}"),
        document("TrafficPolicy", "chat", "{match: {path: /v1/}, dataClass: public, clusters: [spot, other]}"),
        document("TrafficPolicy", "only", "{match: {path: /only/}, dataClass: public, clusters: [spot]}"),
    ]
)


def policy() -> PolicySet:
    loaded = load({"policy.yaml": POLICY})
    assert loaded.policy_set is not None, loaded.problems
    return loaded.policy_set


@dataclass
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class Kept:
    """The parts of a control plane that notices touch."""

    desk: NoticeDesk
    drains: Drains
    decider: Decider
    store: Store
    clock: Clock

    async def announce(self, lead: float = 120.0, **changes: Any) -> list[NoticeChange]:
        told: dict[str, Any] = {
            "source": "plain",
            "kind": NoticeKind.SPOT_INTERRUPTION,
            "identity": "a",
            "event": "a",
            "reason": "spot",
            "at": NOW + lead,
            "cluster": "spot",
            **changes,
        }
        outcome = await self.desk.take(NoticeRequest(Report((Announcement(**told),))))
        return [what for _, what in outcome.taken]

    async def after(self, seconds: float) -> None:
        """Let time pass, and do what is done every second."""
        self.clock.now += seconds
        await self.desk.follow()
        await self.decider.decide_now()

    def drain(self, cluster: str = "spot", seconds: float = 3600.0, ramp: float = 0.0) -> None:
        now = self.clock.now
        self.drains.set({cluster: Drain(cluster, now, now + seconds, "upgrade", "maria", ramp)})

    @property
    def left(self) -> float:
        """Of the share of the spot cluster."""
        assert self.decider.decision is not None
        return self.decider.decision.draining.get("spot", 1.0)

    @property
    def effects(self) -> dict[str, NoticeEffect]:
        return {each.notice.id: each.effect for each in self.desk.listed()}

    @property
    def unhealthy(self) -> tuple[str, ...]:
        assert self.decider.decision is not None
        return self.decider.decision.health["spot"].unhealthy_endpoints


@asynccontextmanager
async def kept(path: Path, clock: Clock) -> AsyncIterator[Kept]:
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(await Store.open(f"sqlite:///{path}", clock))
        notices = Notices(store)
        board = NoticedBoard(notices)
        decider = Decider(
            board=board,
            publisher=Publisher(SnapshotCache(), Compiler()),
            recorder=Recorder(store),
            history=WeightHistory(),
            ledger=LedgerKeeper(store, clock),
            clock=clock,
            published=lambda _: None,
        )
        stack.callback(decider.close)
        drains = Drains(decider, notices, clock)
        await notices.restore(clock())
        drains.set(await store.drains(clock()))
        board.apply(policy())
        drains.refresh()
        await decider.adopt(policy())
        desk = NoticeDesk(
            notices=notices, drains=drains, decider=decider, board=board, clock=clock, commands=asyncio.Lock()
        )
        yield Kept(desk, drains, decider, store, clock)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def it(tmp_path: Path, clock: Clock) -> AsyncIterator[Kept]:
    async with kept(tmp_path / "state.db", clock) as made:
        yield made


async def test_a_cluster_sinks_from_the_moment_it_is_announced_to_nothing_before_the_deadline(it: Kept) -> None:
    assert await it.announce() == [NoticeChange.ADDED]
    await it.after(55)
    assert it.left == pytest.approx(0.5)
    await it.after(55)
    assert it.left == 0
    assert it.effects == {"a": NoticeEffect.CLUSTER_DRAINED}


async def test_a_notice_ends_by_itself_and_the_audit_log_has_its_whole_life_and_no_payload(it: Kept) -> None:
    await it.announce()
    await it.after(1020)
    assert it.effects == {}
    assert it.left == 1.0
    newest = await it.store.audit(2)
    assert [entry.kind for entry in newest] == ["notice.expired", "notice.added"]
    assert newest[1].actor == "plain"
    told = newest[1].detail["notice"]
    assert isinstance(told, dict)
    assert (told["event"], told["cluster"], told["deadline"]) == ("a", "spot", NOW + 120)


async def test_a_repetition_changes_nothing_and_is_not_recorded(it: Kept) -> None:
    await it.announce()
    await it.after(30)
    before = it.left
    assert await it.announce() == [NoticeChange.UNCHANGED]
    assert it.left == before
    assert len(await it.store.audit(10)) == 1


async def test_a_nearer_deadline_speeds_up_what_is_under_way(it: Kept) -> None:
    await it.announce()
    await it.after(22)
    assert await it.announce(60) == [NoticeChange.CHANGED]
    assert it.left == pytest.approx(1 - 22 / 50)
    assert (await it.store.audit(1))[0].kind == "notice.changed"


async def test_a_notice_outlives_a_restart_with_its_ramp_and_its_deadline(tmp_path: Path, clock: Clock) -> None:
    async with kept(tmp_path / "state.db", clock) as before:
        await before.announce()
        await before.after(55)
    async with kept(tmp_path / "state.db", clock) as after:
        assert after.left == pytest.approx(0.5)
        assert await after.announce() == [NoticeChange.UNCHANGED]
        await after.after(55)
        assert after.left == 0


async def test_an_endpoint_is_out_from_the_first_decision_after_a_restart(tmp_path: Path, clock: Clock) -> None:
    async with kept(tmp_path / "state.db", clock) as before:
        await before.announce(endpoint="10.0.0.1:8000")
    async with kept(tmp_path / "state.db", clock) as after:
        assert after.unhealthy == ("10.0.0.1:8000",)
        assert after.effects == {"a": NoticeEffect.ENDPOINT_OUT}
        assert after.left == 1.0


async def test_both_endpoints_of_a_cluster_after_a_restart_are_a_drain_and_no_outage(
    tmp_path: Path, clock: Clock
) -> None:
    async with kept(tmp_path / "state.db", clock) as before:
        for name in ("10.0.0.1:8000", "10.0.0.2:8000"):
            await before.announce(endpoint=name, identity=name, event=name)
    async with kept(tmp_path / "state.db", clock) as after:
        assert after.unhealthy == ()
        await after.after(110)
        assert after.left == 0


async def test_a_notice_that_was_over_by_the_restart_does_nothing(tmp_path: Path, clock: Clock) -> None:
    async with kept(tmp_path / "state.db", clock) as before:
        await before.announce()
    clock.now += 5000
    async with kept(tmp_path / "state.db", clock) as after:
        assert (after.left, after.effects) == (1.0, {})


async def test_an_operators_drain_outranks_a_notice_that_takes_over_when_it_ends(it: Kept) -> None:
    it.drain(seconds=60, ramp=60)
    await it.announce(30)
    await it.after(30)
    assert it.left == pytest.approx(0.5)
    assert it.effects == {"a": NoticeEffect.YIELDS}
    await it.after(31)
    assert it.left == 0
    assert it.effects == {"a": NoticeEffect.CLUSTER_DRAINED}


async def test_a_drain_of_an_operator_replaces_what_a_notice_does(it: Kept) -> None:
    await it.announce(30)
    await it.after(25)
    assert it.left == 0
    it.drain(ramp=1000)
    await it.after(10)
    assert it.left == pytest.approx(0.99)
    it.drains.set({})
    await it.after(0)
    assert it.left == 0


async def test_a_notice_is_ended_before_its_time(it: Kept) -> None:
    await it.announce(30)
    await it.after(25)
    await it.desk.end("a", "maria", "a false alarm")
    assert it.left == 1.0
    assert it.effects == {"a": NoticeEffect.ENDED}
    newest = (await it.store.audit(1))[0]
    assert (newest.kind, newest.actor, newest.detail["reason"]) == ("notice.ended", "maria", "a false alarm")


async def test_a_notice_that_strands_a_policy_is_taken_all_the_same_and_says_so(
    it: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    assert await it.announce() == [NoticeChange.ADDED]
    (listed,) = it.desk.listed()
    assert "Without spot no cluster that is up would be left for only" in listed.notice.overload
    assert "notice overloads the rest" in caplog.text
    assert "overload" in str((await it.store.audit(1))[0].detail)


async def test_a_notice_the_rest_can_bear_raises_no_alarm(it: Kept, caplog: pytest.LogCaptureFixture) -> None:
    await it.announce(cluster="other")
    (listed,) = it.desk.listed()
    assert listed.notice.overload == ""
    assert "overloads" not in caplog.text


async def test_a_notice_that_cannot_be_recorded_is_not_in_force(it: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object) -> None:
        raise StoreError("put notice", "state.db", "database is locked")

    monkeypatch.setattr(it.store, "put_notice", fails)
    with pytest.raises(StoreUnavailableError):
        await it.announce(-5)
    assert it.left == 1.0
    assert it.effects == {}


async def test_there_are_only_so_many_notices(it: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notice_desk, "MOST_NOTICES", 1)
    await it.announce()
    assert await it.announce(60) == [NoticeChange.CHANGED]
    with pytest.raises(TooManyNoticesError):
        await it.announce(event="b")


async def test_a_notice_of_what_the_policy_has_no_more_is_said_to_be_so(it: Kept) -> None:
    await it.announce(endpoint="10.0.0.1:8000")
    smaller = load({"policy.yaml": POLICY.replace("{address: 10.0.0.1, port: 8000}, ", "")}).policy_set
    assert smaller is not None
    it.desk._notices.apply(smaller)
    assert it.effects == {"a": NoticeEffect.UNKNOWN}


async def test_what_cannot_be_read_is_left_out_of_a_start(tmp_path: Path, clock: Clock) -> None:
    async with await Store.open(f"sqlite:///{tmp_path / 'state.db'}", clock) as store:
        for text in ("{", "[]", '{"kind": "odd"}', '{"kind": "maintenance"}'):
            await store.put_notice(NoticeRecord(text, text), "notice.added", "plain", {})
    async with kept(tmp_path / "state.db", clock) as after:
        assert after.effects == {}
