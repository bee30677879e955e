"""Workers that follow a changing list."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from penstock.signals import workers as workers_module
from penstock.signals.workers import Workers


class Recorder:
    def __init__(self) -> None:
        self.events: list[str] = []
        self.failing = 0
        self.started = asyncio.Event()
        self.workers = Workers[str, int]("test", self.work)

    async def work(self, key: str, specification: int) -> None:
        self.events.append(f"start {key}{specification}")
        self.started.set()
        if self.failing:
            self.failing -= 1
            raise LookupError("unforeseen")
        try:
            await asyncio.Event().wait()
        finally:
            self.events.append(f"end {key}{specification}")


@pytest.fixture
async def recorder() -> AsyncIterator[Recorder]:
    made = Recorder()
    yield made
    await made.workers.stop()


async def _apply(recorder: Recorder, **wanted: int) -> list[str]:
    recorder.events.clear()
    recorder.workers.apply(wanted)
    await recorder.workers.settled()
    await asyncio.sleep(0)
    return sorted(recorder.events)


async def test_only_what_changed_is_started_and_ended(recorder: Recorder) -> None:
    assert await _apply(recorder, a=1, b=1) == ["start a1", "start b1"]
    assert await _apply(recorder, a=1, b=2, c=1) == ["end b1", "start b2", "start c1"]
    assert await _apply(recorder, a=1) == ["end b2", "end c1"]
    assert len(recorder.workers) == 1


async def test_stopping_leaves_no_task_behind(recorder: Recorder) -> None:
    await _apply(recorder, a=1, b=1)
    await recorder.workers.stop()
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("test ")] == []


async def test_a_worker_that_fails_is_logged_and_started_again(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(workers_module, "RESTART_DELAY", 0)
    recorder.failing = 1
    recorder.workers.apply({"a": 1})
    await recorder.started.wait()
    recorder.started.clear()
    async with asyncio.timeout(20):
        await recorder.started.wait()
    assert recorder.events == ["start a1", "start a1"]
    assert [record.exc_info is not None for record in caplog.records] == [True]
