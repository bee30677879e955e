"""Decisions with what they were made of, on a real SQLite file."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from penstock.state import PackedInputs, Store, StoredInputs, figures

NOW = 1_000_000.0
INPUTS = PackedInputs("d" * 64, b"\x00packed\xff")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "penstock.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    async with await Store.open(f"sqlite:///{path}", lambda: NOW) as opened:
        yield opened


async def _record(store: Store, number: int, at: float, inputs: PackedInputs | None = INPUTS) -> None:
    await store.record_decision(f"id{number}", at, f"m{number}", f'{{"n":{number}}}', "policy", inputs)


async def test_a_decision_is_stored_with_its_inputs_and_an_audit_entry_that_vouches_for_both(store: Store) -> None:
    await _record(store, 1, NOW)
    assert await store.decision_inputs("id1") == StoredInputs("id1", INPUTS.digest, 1, INPUTS.data)
    entry = await store.audit_entry(1)
    assert entry is not None
    assert (entry.kind, entry.detail["id"], entry.detail["inputs"]) == ("decision.recorded", "id1", INPUTS.digest)
    assert len(str(entry.detail["decision"])) == 64
    assert await store.verify_audit() is None
    assert await store.decision_inputs("other") is None
    assert await store.audit_entry(2) is None


async def test_recording_a_decision_again_adds_nothing(store: Store) -> None:
    for _ in range(2):
        await _record(store, 1, NOW)
    assert len(await store.audit(10, kind="decision.recorded")) == 1


async def test_decisions_do_not_bury_what_operators_did_in_the_audit_log(store: Store) -> None:
    await store.append_audit("drain.added", "ann", {})
    for number in range(5):
        await _record(store, number, NOW + number)
    assert [entry.kind for entry in await store.audit(3)] == ["drain.added"]
    assert [entry.sequence for entry in await store.audit(3, kind="decision.recorded")] == [6, 5, 4]
    assert [entry.sequence for entry in await store.audit(3, before=4, kind="decision.recorded")] == [3, 2]


async def test_the_decision_in_force_at_a_time_is_the_last_one_recorded_by_then(store: Store) -> None:
    for number in range(3):
        await _record(store, number, NOW + 10 * number)
    found = [await store.decision_at(at) for at in (NOW - 1, NOW, NOW + 9.9, NOW + 10, NOW + 1e6)]
    assert [None if one is None else one.id for one in found] == [None, "id0", "id0", "id1", "id2"]
    assert [await store.next_decision_at(at) for at in (NOW - 1, NOW, NOW + 20)] == [NOW, NOW + 10, None]


async def test_pruning_takes_the_inputs_along_and_leaves_the_audit_entries(store: Store) -> None:
    for number in range(3):
        await _record(store, number, NOW + 10 * number)
    assert await store.prune(NOW + 100, 85) == 2
    assert [await store.decision_inputs(f"id{number}") is None for number in range(3)] == [True, True, False]
    assert len(await store.audit(10, kind="decision.recorded")) == 3
    assert await store.verify_audit() is None


async def _figures(store: Store, number: int, at: float) -> None:
    text = figures.packed(f'{{"figures":{number}}}')
    await store.record_figures(f"fig{number}", at, "policy", text, PackedInputs("f" * 64, b"inputs"))


async def test_a_moments_decision_may_be_one_recorded_for_its_figures_alone(store: Store) -> None:
    await _record(store, 1, NOW)
    await _figures(store, 1, NOW + 60)
    await _record(store, 2, NOW + 100)
    found = [await store.decision_at(NOW + seconds) for seconds in (59, 60, 99, 100, 500)]
    assert [None if one is None else one.id for one in found] == ["id1", "fig1", "fig1", "id2", "id2"]
    kept = await store.decision("fig1")
    assert kept is not None
    assert (kept.json, kept.figures_alone) == ('{"figures":1}', True)
    assert await store.decision_inputs("fig1") == StoredInputs("fig1", "f" * 64, 0, b"inputs")


async def test_figures_alone_fill_neither_the_listing_nor_the_audit_log(store: Store) -> None:
    await _record(store, 1, NOW)
    for number in range(3):
        await _figures(store, number, NOW + number)
    await _figures(store, 1, NOW + 1)
    assert [one.id for one in await store.decisions(10)] == ["id1"]
    assert await store.latest_decision() == '{"n":1}'
    assert [entry.sequence for entry in await store.audit(10, kind="decision.recorded")] == [1]
    assert await store.next_decision_at(NOW) is None


async def test_old_figures_are_thinned_to_one_an_hour_and_removed_with_the_decisions(store: Store) -> None:
    start = NOW - NOW % 3600
    for minute in range(180):
        await _figures(store, minute, start + 60.0 * minute)
    await _record(store, 1, start + 200 * 60)
    assert await store.thin_figures(start + 7200) == 118
    left = [await store.decision_at(start + minute * 60.0) for minute in (59, 119, 150)]
    assert [one.id for one in left if one is not None] == ["fig0", "fig60", "fig150"]
    await store.prune(start + 7200, 3600)
    assert await store.decision_at(start + 59 * 60) is None


async def test_a_store_of_the_first_version_goes_on_with_all_it_holds(path: Path) -> None:
    async with await Store.open(f"sqlite:///{path}", lambda: NOW) as store:
        await _record(store, 1, NOW, inputs=None)
    with closing(sqlite3.connect(path)) as connection:
        for table in ("ledger", "accrual", "quarters", "decision_inputs", "figures", "notices"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("DELETE FROM schema_version WHERE version > 1")
        connection.commit()
    async with await Store.open(f"sqlite:///{path}", lambda: NOW) as store:
        await _record(store, 2, NOW + 1)
        assert await store.decision_inputs("id1") is None
        assert await store.decision_inputs("id2") is not None
        assert [decision.id for decision in await store.decisions(5)] == ["id2", "id1"]


async def test_a_chain_longer_than_a_page_is_followed_to_its_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.state.store._PAGE", 3)
    for number in range(7):
        await store.append_audit("kind", "ann", {"n": number})
    assert await store.verify_audit() is None


@pytest.mark.parametrize("number", range(1, 8))
async def test_a_break_on_any_page_is_found(
    store: Store, path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.state.store._PAGE", 3)
    for n in range(7):
        await store.append_audit("kind", "ann", {"n": n})
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE audit SET actor = 'mallory' WHERE sequence = ?", (number,))
        connection.commit()
    assert await store.verify_audit() == number
