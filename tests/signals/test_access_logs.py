"""The access log service over a real gRPC channel."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest

from penstock.signals import access_logs
from penstock.signals.access_logs import METHOD, SERVICE, AccessLogs
from penstock.signals.usage import Usage, UsageKey
from penstock.signals.usage_sums import UsageSums
from tests.envoy.fleet import fleet
from tests.signals.log_entries import message

METERED = {"prompt": 100.0, "output": 20.0}


class Control:
    """The service on a port, with a clock that the test sets; its sums are asked for, not waited for."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0
        self.taken: dict[UsageKey, Usage] = {}
        self.sums = UsageSums()
        self.sums.apply(fleet())
        self.service = AccessLogs(self.sums, self._region, lambda: self.now, self._take)
        self.server = grpc.aio.server()
        self.server.add_generic_rpc_handlers((self.service.handler(),))
        self.port = self.server.add_insecure_port("127.0.0.1:0")

    @staticmethod
    def _region(_: str, node_cluster: str) -> str | None:
        return {"edge-eu": "eu-west", "edge-us": "us-east"}.get(node_cluster)

    def _take(self, now: float, usage: Mapping[UsageKey, Usage]) -> None:
        assert now == self.now
        for key, of in usage.items():
            self.taken[key] = self.taken.get(key, Usage()) + of

    def requests(self) -> dict[str, int]:
        """Requests counted, by region."""
        self.service.deliver()
        counted: dict[str, int] = {}
        for key, of in self.taken.items():
            counted[key.region] = counted.get(key.region, 0) + of.requests
        return counted

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - what is awaited happens in the service, which has no event for it
                await asyncio.sleep(0.002)


Call = grpc.aio.StreamUnaryCall[bytes, bytes]
Opener = Callable[[], Call]


@asynccontextmanager
async def serving(*, reading: bool = True) -> AsyncIterator[tuple[Control, Opener]]:
    """A service, and what opens streams to it. Not ``reading``: nothing leaves its queue until it is run."""
    control = Control()
    await control.server.start()
    running = asyncio.create_task(control.service.run()) if reading else None
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{control.port}") as channel:
            method = channel.stream_unary(f"/{SERVICE}/{METHOD}", None, None)
            yield control, lambda: method(None)
    finally:
        control.service.stop()
        if running is not None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        await control.server.stop(5)


def hello(*entries: dict[str, float], group: str = "edge-eu") -> bytes:
    return message(*entries, node_id="edge-1", node_cluster=group)


async def test_requests_of_two_regions_come_together_under_their_own() -> None:
    async with serving() as (control, opened):
        one, other = opened(), opened()
        await one.write(hello(METERED, METERED))
        await other.write(hello(METERED, group="edge-us"))
        await one.write(message(METERED))
        await control.until(lambda: control.requests() == {"eu-west": 3, "us-east": 1})
        assert control.service.facts().streams == 2
        assert control.sums.metered_regions(control.now) == {"eu-west", "us-east"}
        await one.done_writing()
        assert await one == b""
        await control.until(lambda: control.service.facts().streams == 1)


async def test_the_sums_are_handed_on_without_being_asked_and_once_more_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(access_logs, "_DELIVER_EVERY", 0.01)
    async with serving() as (control, opened):
        call = opened()
        await call.write(hello(METERED))
        await control.until(lambda: len(control.taken) == 1)
        monkeypatch.setattr(access_logs, "_DELIVER_EVERY", 3600.0)
        await asyncio.sleep(0.05)
        await call.write(message(METERED))
        await control.until(lambda: control.service.facts().entries == 2)
    assert sum(of.requests for of in control.taken.values()) == 2


async def test_an_envoy_of_no_region_and_names_of_no_policy_are_counted_apart() -> None:
    async with serving() as (control, opened):
        lost, wild = opened(), opened()
        await lost.write(hello(METERED, METERED, group="nowhere"))
        await wild.write(message({"route": "public/other/x"}, {"cluster": "other"}, node_cluster="edge-eu"))
        await control.until(lambda: (control.service.facts().unplaced, control.service.facts().unknown) == (2, 2))
        assert control.requests() == {}
        assert control.service.facts().entries == 0


async def test_absurd_figures_are_counted_and_the_request_all_the_same() -> None:
    async with serving() as (control, opened):
        call = opened()
        await call.write(hello({"prompt": -1.0, "seconds": -3.0}))
        await control.until(lambda: control.service.facts().refused == 2)
        assert control.requests() == {"eu-west": 1}


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff", b"\x0a\x80\x80\x80\x80\x80\x80", b"\x12\x02\x0a"])
async def test_garbage_ends_the_stream_and_no_other(garbage: bytes) -> None:
    async with serving() as (control, opened):
        good, first, later = opened(), opened(), opened()
        await good.write(hello(METERED))
        await first.write(garbage)
        await later.write(hello(METERED))
        await later.write(garbage)
        for bad in (first, later):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await bad
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        await good.write(message(METERED))
        await control.until(lambda: control.requests() == {"eu-west": 3})
        assert control.service.facts().garbage == 2


async def test_a_stream_that_does_not_say_whose_it_is_is_ended() -> None:
    async with serving() as (_, opened):
        call = opened()
        await call.write(message(METERED))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "names no node" in (caught.value.details() or "")


async def test_a_message_longer_than_any_envoy_sends_ends_the_stream_unread() -> None:
    async with serving() as (control, opened):
        call = opened()
        await call.write(hello(METERED))
        await call.write(message({"model": "m" * access_logs.LONGEST_MESSAGE}))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        await control.until(lambda: control.requests() == {"eu-west": 1})


async def test_a_flood_is_shed_and_counted_and_leaves_room_for_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    batch = message(*[METERED] * 10)
    monkeypatch.setattr(access_logs, "_PAUSE", 0.0)
    monkeypatch.setattr(access_logs, "MOST_WAITING_OF_ONE", 4 * len(batch))
    monkeypatch.setattr(access_logs, "MOST_WAITING", 6 * len(batch))
    caplog.set_level(logging.WARNING)
    async with serving(reading=False) as (control, opened):
        flood, calm, late = opened(), opened(), opened()
        await flood.write(hello())
        for _ in range(50):
            await flood.write(batch)
        # Four of the flood's wait, less what its greeting takes.
        await control.until(lambda: control.service.facts().shed == 47 * 10)
        assert control.service.facts().waiting_bytes <= 4 * len(batch)
        await calm.write(hello(METERED, group="edge-us"))
        await late.write(message(*[METERED] * 40, node_id="edge-3", node_cluster="edge-eu"))
        await control.until(lambda: control.service.facts().shed == 51 * 10)
        assert control.service.facts().waiting_bytes <= 6 * len(batch)
        assert len([record for record in caplog.records if "thrown away" in record.message]) == 2

        running = asyncio.create_task(control.service.run())
        await control.until(lambda: control.requests() == {"eu-west": 30, "us-east": 1})
        assert control.service.facts().waiting_bytes == 0
        await flood.write(batch)
        await control.until(lambda: control.requests() == {"eu-west": 40, "us-east": 1})
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_others_get_their_turn_while_a_long_message_is_read() -> None:
    async with serving() as (control, opened):
        call = opened()
        turns = 0
        await call.write(hello())
        await control.until(lambda: control.service.facts().streams == 1)
        await call.write(message(*[METERED] * 1000))
        await control.until(lambda: control.service.facts().entries > 0)
        while control.service.facts().entries < 1000:
            await asyncio.sleep(0)
            turns += 1
        assert turns >= 10


async def test_stopping_ends_streams_at_once() -> None:
    async with serving() as (control, opened):
        call = opened()
        await call.write(hello(METERED))
        await control.until(lambda: control.service.facts().streams == 1)
        control.service.stop()
        assert await call == b""


async def test_a_stream_that_never_says_whose_it_is_holds_up_no_stop() -> None:
    async with serving() as (control, opened):
        control.service.stop()
        async with asyncio.timeout(20):
            assert await opened() == b""


async def test_a_stream_that_does_not_say_in_time_whose_it_is_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_logs, "_FIRST_MESSAGE_SECONDS", 0.01)
    async with serving() as (_, opened), asyncio.timeout(20):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await opened()
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("names", [{"node_id": "e" * 5000}, {"node_id": "edge-1", "node_cluster": "g" * 5000}])
async def test_a_name_that_no_node_has_ends_the_stream(names: dict[str, str]) -> None:
    async with serving() as (_, opened):
        call = opened()
        await call.write(message(METERED, **names))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "longer than 1024" in (caught.value.details() or "")


async def test_a_flood_of_empty_messages_is_bounded_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_logs, "_PAUSE", 0.0)
    monkeypatch.setattr(access_logs, "MOST_WAITING_OF_ONE", 20_000)
    async with serving(reading=False) as (control, opened):
        flood = opened()
        await flood.write(hello())
        for _ in range(200):
            await flood.write(b"")
        await flood.write(message(METERED))
        await control.until(lambda: control.service.facts().shed == 1)
        assert control.service.facts().waiting_bytes <= 20_000


@pytest.mark.parametrize("group", ["edge-eu", "nowhere"])
async def test_others_get_their_turn_while_messages_without_a_count_are_read(group: str) -> None:
    async with serving(reading=False) as (control, opened):
        call = opened()
        await call.write(hello(group=group))
        await control.until(lambda: control.service.facts().waiting_bytes > 0)
        for _ in range(100):
            await call.write(b"" if group == "edge-eu" else message(METERED))
        # What comes at last is thrown away, which tells that all before it has come.
        await call.write(message({"model": "m" * access_logs.LONGEST_MESSAGE}))
        with pytest.raises(grpc.aio.AioRpcError):
            await call
        running = asyncio.create_task(control.service.run())
        turns = 0
        while control.service.facts().waiting_bytes:
            await asyncio.sleep(0)
            turns += 1
        assert turns >= 100
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_stream_that_was_too_much_is_not_received_from_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = message(*[METERED] * 10)
    monkeypatch.setattr(access_logs, "_PAUSE", 3600.0)
    monkeypatch.setattr(access_logs, "MOST_WAITING_OF_ONE", len(batch))
    async with serving(reading=False) as (control, opened):
        flood, calm = opened(), opened()
        await flood.write(hello())
        for _ in range(5):
            await flood.write(batch)
        await control.until(lambda: control.service.facts().shed > 0)
        before = control.service.facts().waiting_bytes
        await calm.write(hello())
        await control.until(lambda: control.service.facts().waiting_bytes > before)
        assert control.service.facts().shed == 10
