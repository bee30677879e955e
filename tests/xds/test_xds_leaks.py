"""Thousands of streams come and go in every way they can, and nothing of them stays behind."""

import asyncio
import contextlib
import gc
import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grpc import aio

from penstock_xds import Snapshot
from penstock_xds.core.stream import StreamCore
from penstock_xds.protos import DeltaDiscoveryRequest, DiscoveryRequest, NodeProto
from penstock_xds.session import Session
from penstock_xds.types import CLUSTER, ENDPOINT, ROUTE
from tests.xds.shell_setting import Setting, Stream, eventually
from tests.xds.transcript import cluster, endpoints, route

STREAMS = 2_000
CHANNELS = 20
AT_ONCE = 200


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def alive(*kinds: type) -> dict[str, int]:
    gc.collect()
    found = gc.get_objects()
    return {kind.__name__: sum(1 for each in found if type(each) is kind) for kind in kinds}


def snapshot(round_: int) -> Snapshot:
    names = ("a", "b")
    resources = [
        *(cluster(name, str(round_)) for name in names),
        *(endpoints(name, str(round_)) for name in names),
        route("r", *names, content=str(round_)),
        # Large enough to be caught in the middle.
        route("large", content="x" * 100_000),
    ]
    return Snapshot.of(resources)


EARLY = ("unheard", "unasked", "garbage")
LATE = ("mid-response", "cancelled", "polite")
LASTING = "left to the server"
ENDINGS = (*EARLY, *LATE, *LATE, LASTING)


class Visitor:
    """A client of one stream that ends at some point or another, or never by itself."""

    def __init__(self, channel: Any, number: int, chance: random.Random) -> None:
        self.ending = chance.choice(ENDINGS)
        self._delta = chance.random() < 0.7
        self._type_url = chance.choice([CLUSTER, ENDPOINT, ROUTE])
        self._names = {CLUSTER: [], ENDPOINT: ["a", "b"], ROUTE: ["r", "large"]}[self._type_url]
        self._answers = chance.randrange(3)
        self._node = NodeProto(id=f"n{number % 50}", cluster="edge")
        self._stream = Stream(channel, "DeltaAggregatedResources" if self._delta else "StreamAggregatedResources")

    async def come_and_go(self) -> None:
        with contextlib.suppress(aio.AioRpcError, asyncio.CancelledError, asyncio.InvalidStateError, AssertionError):
            if self.ending in EARLY:
                await self._leave_early()
            else:
                await self._ask()
                await self._leave()

    async def _leave_early(self) -> None:
        call = self._stream.call
        if self.ending == "garbage":
            await call.write((DeltaDiscoveryRequest if self._delta else DiscoveryRequest)(node=self._node))
            await self._stream.end()
            return
        if self.ending == "unasked":
            await call.wait_for_connection()
        call.cancel()

    async def _ask(self) -> None:
        if self._delta:
            request: Any = DeltaDiscoveryRequest(resource_names_subscribe=self._names)
        else:
            request = DiscoveryRequest(resource_names=self._names)
        request.type_url = self._type_url
        request.node.CopyFrom(self._node)
        await self._stream.say(request)

    async def _leave(self) -> None:
        call = self._stream.call
        if self.ending != "mid-response":
            for _ in range(self._answers):
                request: Any = DeltaDiscoveryRequest() if self._delta else DiscoveryRequest(resource_names=self._names)
                request.type_url, request.response_nonce = self._type_url, (await self._stream.hear()).nonce
                await self._stream.say(request)
        if self.ending == "polite":
            await call.done_writing()
        if self.ending in {"polite", LASTING}:
            while await call.read():
                pass
        else:
            call.cancel()


async def wave(setting: Setting, channels: list[Any], chance: random.Random, rounds: Iterator[int]) -> None:
    """Many at once; those left to the server are cut off when the others have gone."""
    visitors = [Visitor(channels[i % len(channels)], i, chance) for i in range(AT_ONCE)]
    tasks = {asyncio.create_task(visitor.come_and_go()): visitor.ending for visitor in visitors}
    pending = {task for task, ending in tasks.items() if ending != LASTING}
    while pending:
        # Always something new, so that nobody waits for an answer in vain.
        setting.cache.publish("edge", snapshot(next(rounds)))
        _, pending = await asyncio.wait(pending, timeout=0.05)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def serve_and_stop(waves: int, *, channels: int) -> Setting:
    """Serves waves of streams, and stops in the midst of the last one."""
    setting = Setting(write_timeout=5.0, first_request_timeout=5.0, max_concurrent_builds=8)
    await setting.open()
    chance = random.Random(7)  # noqa: S311  # chance that repeats itself, not secrets
    rounds = itertools.count()
    lines = [setting.new_channel() for _ in range(channels)]
    for _ in range(1, waves):
        await wave(setting, lines, chance, rounds)
    last = asyncio.create_task(wave(setting, lines, chance, rounds))
    await asyncio.sleep(0)
    await setting.server.stop(2.0, drain_window=0.1)
    await last
    for line in (*lines, setting.channel):
        await line.close()
    return setting


@pytest.mark.timeout(60)
async def test_streams_that_come_and_go_leave_nothing_behind() -> None:
    # What gRPC makes once for a process.
    await serve_and_stop(2, channels=2)
    kinds = (Session, StreamCore, Snapshot)
    before, files_before, tasks_before = alive(*kinds), open_files(), asyncio.all_tasks()

    setting = await serve_and_stop(STREAMS // AT_ONCE, channels=CHANNELS)
    opened = len(setting.recorder.connected)
    assert opened > STREAMS / 4
    assert len(setting.recorder.disconnected) == opened
    assert setting.server.streams() == []
    assert setting.server.first_answers == (0, 0)
    assert all(not group.rollout.members for group in setting.cache._groups.values())
    # gRPC keeps what it has open for the process as long as there is a server or channel.
    del setting

    await eventually(lambda: asyncio.all_tasks() <= tasks_before)
    await eventually(lambda: all(count <= before[kind] for kind, count in alive(*kinds).items()))
    await eventually(lambda: open_files() <= files_before)
