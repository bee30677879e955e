"""The store, on a real SQLite file."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from penstock.state import (
    Store,
    StoreCorruptError,
    StoreError,
    StoreSchemaError,
    StoreUnavailableError,
    StoreUrlError,
)
from penstock.state import database as store_database
from penstock_policies.overrides import Drain

NOW = 1_000_000.0


def _clock() -> float:
    return NOW


def _drain(cluster: str = "onprem-fra", *, since: float = NOW, until: float = NOW + 7200, ramp: float = 0.0) -> Drain:
    return Drain(cluster=cluster, since=since, until=until, reason="firmware", owner="sre@example.com", ramp=ramp)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "penstock.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    async with await Store.open(f"sqlite:///{path}", _clock) as opened:
        yield opened


async def _reopened(path: Path) -> Store:
    return await Store.open(f"sqlite:///{path}", _clock)


def _write(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def _content(path: Path) -> bytes:
    return path.read_bytes()


def _overwrite(path: Path, content: bytes) -> None:
    path.write_bytes(content)


async def _kinds(store: Store) -> list[str]:
    return [entry.kind for entry in reversed(await store.audit(100))]


# Drains


async def test_a_drain_outlives_a_restart_exactly(path: Path) -> None:
    drain = _drain(ramp=30.0, until=NOW + 7200.123456789)
    async with await _reopened(path) as store:
        await store.add_drain(drain, "sre")
    async with await _reopened(path) as store:
        assert await store.drains(NOW) == {"onprem-fra": drain}
        assert await store.verify_audit() is None


async def test_a_second_drain_of_a_cluster_replaces_the_first_and_is_audited_with_it(store: Store) -> None:
    first, second = _drain(), _drain(until=NOW + 60)
    assert await store.add_drain(first, "ann") is None
    assert await store.add_drain(second, "bob", {"forced": True}) == first
    assert await store.drains(NOW) == {"onprem-fra": second}
    entry = (await store.audit(1))[0]
    assert (entry.kind, entry.actor, entry.at) == ("drain.replaced", "bob", NOW)
    assert entry.detail["forced"] is True
    assert entry.detail["replaced"] == {
        "cluster": "onprem-fra",
        "since": NOW,
        "until": NOW + 7200,
        "reason": "firmware",
        "owner": "sre@example.com",
        "ramp": 0.0,
    }


async def test_removing_a_drain_gives_it_back_and_says_why_in_the_audit(store: Store) -> None:
    await store.add_drain(_drain(), "ann")
    assert await store.remove_drain("onprem-fra", "bob", "firmware is done") == _drain()
    assert await store.drains(NOW) == {}
    entry = (await store.audit(1))[0]
    assert (entry.kind, entry.actor, entry.detail["reason"]) == ("drain.removed", "bob", "firmware is done")


async def test_removing_a_drain_that_is_not_there_changes_and_audits_nothing(store: Store) -> None:
    assert await store.remove_drain("onprem-fra", "bob", "") is None
    assert await store.audit(10) == []


async def test_a_drain_is_listed_until_its_end_and_not_at_it(store: Store) -> None:
    await store.add_drain(_drain(until=NOW + 60), "ann")
    await store.add_drain(_drain("cloud-eu", since=NOW + 30, until=NOW + 90), "ann")
    assert set(await store.drains(NOW + 59.9)) == {"onprem-fra", "cloud-eu"}
    assert set(await store.drains(NOW + 60)) == {"cloud-eu"}


async def test_drains_that_are_over_expire_once_and_are_audited(store: Store) -> None:
    await store.add_drain(_drain(until=NOW + 60), "ann")
    await store.add_drain(_drain("cloud-eu", until=NOW + 90), "ann")
    assert await store.expire_drains(NOW + 59) == []
    assert [drain.cluster for drain in await store.expire_drains(NOW + 60)] == ["onprem-fra"]
    assert await store.expire_drains(NOW + 60) == []
    assert await _kinds(store) == ["drain.added", "drain.added", "drain.expired"]


# Decisions and policies


async def _record(store: Store, number: int, at: float) -> None:
    await store.record_decision(f"id{number}", at, f"m{number}", f'{{"n":{number}}}', "policy")


async def test_the_latest_decision_outlives_a_restart_byte_for_byte(path: Path) -> None:
    text = '{"reason":"90 % of 160 \u2192 spill","z":0.30000000000000004}'
    async with await _reopened(path) as store:
        assert await store.latest_decision() is None
        await _record(store, 1, NOW)
        await store.record_decision("id2", NOW + 1, "m2", text, "policy")
    async with await _reopened(path) as store:
        assert await store.latest_decision() == text


async def test_decisions_are_read_newest_first_and_page_by_page(store: Store) -> None:
    for number in range(5):
        await _record(store, number, NOW + number)
    first = await store.decisions(2)
    assert [decision.id for decision in first] == ["id4", "id3"]
    assert [decision.id for decision in await store.decisions(10, first[-1].at)] == ["id2", "id1", "id0"]
    found = await store.decision("id3")
    assert found is not None
    assert (found.at, found.json, found.policy_digest, found.material_digest) == (NOW + 3, '{"n":3}', "policy", "m3")
    assert await store.decision("nosuch") is None


async def test_recording_a_decision_again_changes_nothing(store: Store) -> None:
    await _record(store, 1, NOW)
    await _record(store, 1, NOW + 5)
    assert [decision.at for decision in await store.decisions(10)] == [NOW]


async def test_pruning_keeps_what_is_young_and_the_latest_however_old(store: Store) -> None:
    for number, age in enumerate([100, 50, 10]):
        await _record(store, number, NOW - age)
    assert await store.prune(NOW, 20) == 2
    assert [decision.id for decision in await store.decisions(10)] == ["id2"]
    assert await store.prune(NOW + 1000, 20) == 0
    entry = (await store.audit(1))[0]
    assert (entry.kind, entry.detail["count"]) == ("decisions.pruned", 2)
    assert await store.verify_audit() is None


async def test_the_policy_in_force_last_outlives_a_restart(path: Path) -> None:
    one, two = {"a.yaml": "kind: A\n"}, {"a.yaml": "kind: B # \u00fc\n", "sub/b.yaml": ""}
    async with await _reopened(path) as store:
        assert await store.latest_policy() is None
        await store.save_policy("d1", one)
        await store.save_policy("d2", two)
        await store.save_policy("d2", two)
        await store.save_policy("d1", one)
    async with await _reopened(path) as store:
        assert await store.latest_policy() == one
        assert await store.policy("d2") == two
        assert await store.policy("nosuch") is None


# The audit log


async def test_audit_entries_form_one_chain_and_page_by_number(store: Store) -> None:
    written = [await store.append_audit("policy.loaded", "penstock", {"digest": str(n)}) for n in range(5)]
    assert [entry.sequence for entry in written] == [1, 2, 3, 4, 5]
    assert [entry.previous for entry in written[1:]] == [entry.digest for entry in written[:-1]]
    assert await store.audit(2) == [written[4], written[3]]
    assert await store.audit(10, before=3) == [written[1], written[0]]


@pytest.mark.parametrize(
    ("statement", "broken"),
    [
        ("UPDATE audit SET actor = 'mallory' WHERE sequence = 2", 2),
        ("UPDATE audit SET detail = '{}' WHERE sequence = 3", 3),
        ("DELETE FROM audit WHERE sequence = 2", 2),
        ("DELETE FROM audit WHERE sequence = 4", 4),
        ("DELETE FROM audit", 1),
    ],
)
async def test_tampering_in_the_file_is_found(store: Store, path: Path, statement: str, broken: int) -> None:
    for number in range(4):
        await store.append_audit("policy.loaded", "penstock", {"number": number})
    assert await store.verify_audit() is None
    _write(path, statement)
    assert await store.verify_audit() == broken


async def test_a_detail_that_is_not_json_leaves_no_trace(store: Store) -> None:
    with pytest.raises(TypeError):
        await store.append_audit("odd", "penstock", {"what": object()})
    assert await store.audit(10) == []


async def test_many_writers_of_two_processes_make_one_whole_chain(store: Store, path: Path) -> None:
    async with await _reopened(path) as other:
        writers: list[Awaitable[object]] = []
        for number in range(20):
            writers += [one.append_audit("policy.loaded", "penstock", {"number": number}) for one in (store, other)]
            writers.append(store.add_drain(_drain(f"c{number}"), "ann"))
        await asyncio.gather(*writers)
        assert await other.verify_audit() is None
        assert [entry.sequence for entry in await store.audit(100)] == list(range(60, 0, -1))
        assert len(await other.drains(NOW)) == 20


@pytest.mark.parametrize("turns", [1, 3, 10, 30, 100])
async def test_a_write_whose_caller_is_cancelled_is_carried_out_whole(store: Store, turns: int) -> None:
    writing = asyncio.create_task(store.add_drain(_drain(), "ann"))
    for _ in range(turns):
        await asyncio.sleep(0)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    await store.add_drain(_drain("cloud-eu"), "ann")
    assert set(await store.drains(NOW)) == {"onprem-fra", "cloud-eu"}
    assert await _kinds(store) == ["drain.added", "drain.added"]
    assert await store.verify_audit() is None


async def test_closing_waits_for_what_was_asked_before(path: Path) -> None:
    store = await _reopened(path)
    writing = [asyncio.create_task(_record(store, number, NOW)) for number in range(10)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for one in writing:
        one.cancel()
    await store.close()
    async with await _reopened(path) as store:
        assert len(await store.decisions(100)) == 10


async def test_readers_and_writers_of_a_database_in_memory_do_not_meet() -> None:
    async with await Store.open("sqlite://", _clock) as store:
        await asyncio.gather(
            *(work() for _ in range(10) for work in (store.latest_decision, lambda: _record(store, 1, 0)))
        )
        assert await store.latest_decision() == '{"n":1}'


# Failures


async def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    _overwrite(path, b"these are my holiday pictures" * 100)
    before = _content(path)
    with pytest.raises(StoreCorruptError, match=r"penstock\.db.*not a database.*move it away"):
        await _reopened(path)
    assert _content(path) == before


async def test_a_damaged_database_is_told_apart_from_an_unavailable_one(path: Path) -> None:
    async with await _reopened(path) as store:
        for number in range(50):
            await store.record_decision(f"id{number}", NOW, "m", "x" * 3000, "p")
    whole = _content(path)
    _overwrite(path, whole[:4096] + b"\xff" * (len(whole) - 4096))
    with pytest.raises(StoreCorruptError):
        async with await _reopened(path) as store:
            await store.latest_decision()


async def test_a_locked_database_is_unavailable_and_well_again_afterwards(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_database, "BUSY_SECONDS", 0.01)
    async with await _reopened(path) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailableError, match=r"add drain.*locked"):
                await store.add_drain(_drain(), "ann")
            assert await store.drains(NOW) == {}
        await store.add_drain(_drain(), "ann")
        assert set(await store.drains(NOW)) == {"onprem-fra"}


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match=r"nosuch/penstock\.db.*unable to open"):
        await _reopened(tmp_path / "nosuch" / "penstock.db")


async def test_a_database_of_a_newer_penstock_is_refused_unchanged(path: Path) -> None:
    async with await _reopened(path):
        pass
    _write(path, "INSERT INTO schema_version VALUES (99, 0)")
    with pytest.raises(StoreSchemaError, match="schema version 99"):
        await _reopened(path)


@pytest.mark.parametrize("url", ["nonsense", "mysql://ann:secret@db/penstock", "oracle+odd://ann:secret@db/penstock"])
async def test_a_url_of_no_usable_database_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(StoreUrlError) as caught:
        await Store.open(url, _clock)
    assert "secret" not in str(caught.value)


async def test_errors_of_every_method_are_store_errors(store: Store, path: Path) -> None:
    _write(path, "DROP TABLE drains", "DROP TABLE decisions", "DROP TABLE audit", "DROP TABLE policies")
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: store.add_drain(_drain(), "ann"),
        lambda: store.remove_drain("a", "ann", ""),
        lambda: store.drains(NOW),
        lambda: store.expire_drains(NOW),
        lambda: _record(store, 1, NOW),
        store.latest_decision,
        lambda: store.decisions(1),
        lambda: store.decision("id"),
        lambda: store.prune(NOW, 1),
        lambda: store.save_policy("d", {}),
        store.latest_policy,
        lambda: store.append_audit("kind", "ann", {}),
        lambda: store.audit(1),
        store.verify_audit,
    ]
    for call in calls:
        with pytest.raises(StoreError):
            await call()
