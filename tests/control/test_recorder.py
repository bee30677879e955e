"""The recorder: what waits while the store is away stays bounded, oldest given up first, and the rest is written."""

import asyncio
from typing import Any

import pytest

from penstock.control.recorder import Recorder
from penstock.state import Store, StoreUnavailableError
from penstock_policies.decision import Decision, Row, Rung
from penstock_policies.inputs import DecisionInputs
from penstock_policies.observations import Observations
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import RowKey
from penstock_policies.words import DataClass

NOW = 1_000_000.0


def _decision(number: int, rows: int = 1) -> Decision:
    made = {
        key: Row(key, DataClass.PUBLIC, {"a": 10_000}, {"a": ("a",)}, {"a": 1.0}, {}, "because.")
        for key in (RowKey("chat", "eu", f"m{index}") for index in range(rows))
    }
    return Decision(f"id{number}", NOW + number, "digest", Rung.OPTIMUM, "", made, {}, {}, {})


async def written_by(recorder: Recorder) -> None:
    """Let everything be written that waits."""
    writing = asyncio.create_task(recorder.run())
    await recorder.drained(10)
    writing.cancel()


async def test_decisions_are_written_with_their_inputs_in_order() -> None:
    async with await Store.open("sqlite://", lambda: NOW) as store:
        recorder = Recorder(store)
        for number in range(3):
            inputs = DecisionInputs("digest", Observations(), Overrides(), None, NOW + number)
            recorder.record(_decision(number), inputs)
        recorder.audit("policy.loaded", {"digest": "d"})
        await written_by(recorder)
        assert [one.id for one in await store.decisions(10)] == ["id2", "id1", "id0"]
        assert [one.detail["id"] for one in await store.audit(10, kind="decision.recorded")] == ["id2", "id1", "id0"]
        assert [one.kind for one in await store.audit(10)] == ["policy.loaded"]


async def test_large_decisions_that_wait_are_given_up_before_memory_is() -> None:
    async with await Store.open("sqlite://", lambda: NOW) as store:
        recorder = Recorder(store)
        for number in range(10):
            recorder.record(_decision(number, rows=6000))
        assert recorder.lost == 7
        await written_by(recorder)
        assert [one.id for one in await store.decisions(10)] == ["id9", "id8", "id7"]


async def test_even_a_decision_larger_than_the_bound_is_recorded() -> None:
    async with await Store.open("sqlite://", lambda: NOW) as store:
        recorder = Recorder(store)
        recorder.record(_decision(1, rows=20_001))
        await written_by(recorder)
        assert recorder.lost == 0
        assert [one.id for one in await store.decisions(10)] == ["id1"]


async def test_what_could_not_be_written_is_written_when_the_store_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.control.recorder._RETRY_SECONDS", 0.0)
    async with await Store.open("sqlite://", lambda: NOW) as store:
        record, failures = store.record_decision, [3]

        async def away(*given: Any) -> None:
            if failures[0]:
                failures[0] -= 1
                raise StoreUnavailableError("record decision", "sqlite://", "locked")
            await record(*given)

        monkeypatch.setattr(store, "record_decision", away)
        recorder = Recorder(store)
        recorder.record(_decision(1))
        await written_by(recorder)
        assert (failures, recorder.lost) == ([0], 0)
        assert [one.id for one in await store.decisions(10)] == ["id1"]
