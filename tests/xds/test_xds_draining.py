"""A server that stops sends its clients away little by little, and lets nobody in meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import grpc
from grpc_health.v1 import health_pb2

from penstock_xds.draining import drain
from penstock_xds.session import Ending, Session
from penstock_xds.types import CLUSTER
from tests.xds.shell_setting import Hands, Setting, Start
from tests.xds.transcript import cluster

Left = list[tuple[str, float, grpc.StatusCode]]


class Leaving:
    def __init__(self, name: str, clock: Hands, left: Left, *, answered: bool) -> None:
        self._name, self._clock, self._left = name, clock, left
        self.answered = answered

    def end(self, ending: Ending) -> None:
        self._left.append((self._name, self._clock.now, ending.code))


async def drained(streams: list[tuple[str, bool]], window: float, *, delay: float = 0.0) -> Any:
    clock, left = Hands(), Left()

    async def sleep(seconds: float) -> None:
        # The event loop wakes late, as they do.
        clock.now += seconds + (delay if seconds else 0.0)

    sessions = [Leaving(name, clock, left, answered=answered) for name, answered in streams]
    waits = cast("Callable[[float], Awaitable[None]]", sleep)
    await drain([cast("Session", session) for session in sessions], window, clock=clock, sleep=waits)
    return left, clock.now - 1_000.0


async def test_streams_end_evenly_over_the_window() -> None:
    left, took = await drained([("a", True), ("b", True), ("c", True), ("d", True)], 8.0)
    assert [(name, at - 1_000.0) for name, at, _ in left] == [("a", 0.0), ("b", 2.0), ("c", 4.0), ("d", 6.0)]
    assert took == 8.0


async def test_late_wake_ups_do_not_stretch_the_window() -> None:
    left, took = await drained([(str(i), True) for i in range(100)], 10.0, delay=0.05)
    assert len(left) == 100
    assert took < 10.2


async def test_streams_not_answered_yet_go_last_and_hear_that_they_failed() -> None:
    left, _ = await drained([("new", False), ("old", True)], 2.0)
    assert [(name, code) for name, _, code in left] == [
        ("old", grpc.StatusCode.OK),
        ("new", grpc.StatusCode.UNAVAILABLE),
    ]


async def test_nobody_there_is_nothing_to_wait_for() -> None:
    assert await drained([], 60.0) == ([], 0.0)


def health_check(setting: Setting) -> Any:
    return setting.channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )


async def test_a_draining_server_is_not_serving_refuses_new_streams_and_still_serves_those_it_has(start: Start) -> None:
    setting = await start()
    setting.publish(cluster("a"))
    streams = [setting.stream() for _ in range(3)]
    for stream in streams:
        await stream.accept(await stream.ask(CLUSTER))
    # The first goes at once; the others would have to wait for very long.
    stopping = asyncio.create_task(setting.server.stop(5, drain_window=10_000))
    await setting.recorder.until(lambda: len(setting.recorder.disconnected) == 1)
    assert await streams[0].end() == (grpc.StatusCode.OK, "")
    answer = await health_check(setting)(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert await setting.stream().end() == (grpc.StatusCode.UNAVAILABLE, "the server is shutting down")
    setting.publish(cluster("b"))
    for stream in streams[1:]:
        assert [r.name for r in (await stream.hear()).resources] == ["b"]
    # Somebody gets impatient.
    stopping.cancel()
    await asyncio.wait([stopping])
    await setting.server.stop(5)
    for stream in streams[1:]:
        assert await stream.end() == (grpc.StatusCode.OK, "")


async def test_all_streams_have_left_when_the_window_is_over(start: Start) -> None:
    setting = await start()
    setting.publish(cluster("a"))
    streams = [setting.stream() for _ in range(5)]
    for stream in streams:
        await stream.ask(CLUSTER)
    await setting.server.stop(5, drain_window=0.05)
    for stream in streams:
        assert await stream.end() == (grpc.StatusCode.OK, "")
    assert setting.server.streams() == []


async def test_a_stream_that_has_not_said_who_it_is_does_not_hold_up_the_end(start: Start) -> None:
    setting = await start()
    setting.publish(cluster("a"))
    mute = setting.stream()
    # On the same connection and answered, so the mute one has arrived.
    await setting.stream().ask(CLUSTER)
    async with asyncio.timeout(10):
        await setting.server.stop(3_600)
    assert await mute.end() == (grpc.StatusCode.UNAVAILABLE, "the server is shutting down")
