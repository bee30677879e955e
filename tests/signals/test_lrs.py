"""The load reporting service over a real gRPC channel."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest
from envoy.service.load_stats.v3 import lrs_pb2

from penstock.signals.board import ObservationBoard
from penstock.signals.lrs import METHOD, SERVICE, LoadReports
from penstock_policies.observations import Load
from tests.signals.lrs_messages import SENDS_ALL, At, introduction, report, stats
from tests.signals.signal_policies import cluster, policy_set

REGIONS = {"edge-eu": "eu-west", "edge-us": "us-east"}


class Control:
    """The service on a port, with a clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.notified = 0
        self.regions = dict(REGIONS)
        self.board = ObservationBoard()
        policy = policy_set([cluster("onprem", ("10.0.0.1", 1)), cluster("cloud", ("10.1.0.1", 1))])
        self.board.apply(policy)
        self.service = LoadReports(
            self.board, lambda _, node_cluster: self.regions.get(node_cluster), lambda: self.now, self._count
        )
        self.service.apply(policy)
        self.server = grpc.aio.server()
        self.server.add_generic_rpc_handlers((self.service.handler(),))
        self.port = self.server.add_insecure_port("127.0.0.1:0")

    def _count(self) -> None:
        self.notified += 1

    def load(self) -> dict[str, dict[str, Load]]:
        self.service.sum_up()
        return {region: dict(facts) for region, facts in self.board.snapshot(self.now).load.items()}

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - what is awaited happens in the service, which has no event for it
                await asyncio.sleep(0.002)


class Envoy:
    """One stream."""

    def __init__(self, call: "grpc.aio.StreamStreamCall[bytes, bytes]", control: Control) -> None:
        self.call = call
        self._control = control

    async def introduce(
        self, node_id: str, node_cluster: str, agent: str = "envoy", features: Sequence[str] = (SENDS_ALL,)
    ) -> lrs_pb2.LoadStatsResponse:
        await self.call.write(introduction(node_id, node_cluster, agent, features))
        answer = await self.call.read()
        assert isinstance(answer, bytes)
        return lrs_pb2.LoadStatsResponse.FromString(answer)

    async def rest(self) -> list[bytes]:
        """Read to the end of the stream."""
        rest: list[bytes] = []
        while isinstance(message := await self.call.read(), bytes):
            rest.append(message)
        return rest

    async def report(self, **clusters: tuple[int, int, int]) -> None:
        """Send in flight, issued and failed requests by cluster, and wait until they are in."""
        await self.send(report(*(stats(name, At(*counts)) for name, counts in clusters.items())))

    async def send(self, message: bytes) -> None:
        """Send a report and wait until it is in."""
        before = self._control.service.facts().reports
        await self.call.write(message)
        await self._control.until(lambda: self._control.service.facts().reports > before)


@pytest.fixture
async def control() -> AsyncIterator[Control]:
    made = Control()
    await made.server.start()
    yield made
    made.service.stop()
    await made.server.stop(5)


def _as_it_is(message: bytes) -> bytes:
    return message


@asynccontextmanager
async def _stream(control: Control) -> AsyncIterator[Envoy]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{control.port}") as channel:
        call = channel.stream_stream(f"/{SERVICE}/{METHOD}", _as_it_is, _as_it_is)(None)
        yield Envoy(call, control)
        call.cancel()


async def test_an_envoy_is_told_once_to_report_every_cluster_each_second(control: Control) -> None:
    async with _stream(control) as envoy:
        answer = await envoy.introduce("e1", "edge-eu")
    assert answer.send_all_clusters
    assert answer.load_reporting_interval.ToNanoseconds() == 1_000_000_000
    assert answer.report_endpoint_granularity


async def test_a_client_that_must_be_told_clusters_by_name_is_told_them(control: Control) -> None:
    async with _stream(control) as client:
        answer = await client.introduce("c1", "edge-eu", agent="gRPC", features=())
    assert not answer.send_all_clusters
    assert list(answer.clusters) == ["cloud", "onprem"]


async def test_the_latest_report_of_each_envoy_is_summed_per_region(control: Control) -> None:
    async with _stream(control) as one, _stream(control) as two, _stream(control) as far:
        await one.introduce("e1", "edge-eu")
        await two.introduce("e2", "edge-eu")
        await far.introduce("u1", "edge-us")
        assert control.load() == {}
        await one.report(onprem=(9, 9, 9))
        await one.report(onprem=(5, 10, 1), cloud=(0, 0, 0))
        await two.report(onprem=(2, 4, 0))
        await far.report(cloud=(7, 7, 0))
        load = control.load()
        onprem = load["eu-west"]["onprem"]
        assert (onprem.in_flight, onprem.request_rate, onprem.error_rate, onprem.reporters) == (7, 14.0, 1.0, 2)
        assert load["eu-west"]["cloud"].in_flight == 0
        assert load["us-east"]["cloud"].in_flight == 7


async def test_a_stream_that_ends_takes_its_load_with_it(control: Control) -> None:
    async with _stream(control) as one:
        await one.introduce("e1", "edge-eu")
        await one.report(onprem=(5, 10, 1))
        async with _stream(control) as two:
            await two.introduce("e2", "edge-eu")
            await two.report(onprem=(2, 4, 0))
            assert control.load()["eu-west"]["onprem"].in_flight == 7
        await control.until(lambda: control.service.facts().streams == 1)
        assert control.load()["eu-west"]["onprem"].in_flight == 5


async def test_an_envoy_that_falls_silent_counts_for_nothing_until_it_speaks(control: Control) -> None:
    async with _stream(control) as one, _stream(control) as two:
        await one.introduce("e1", "edge-eu")
        await two.introduce("e2", "edge-eu")
        await one.report(onprem=(5, 10, 1))
        control.now += 3.0
        await two.report(onprem=(2, 4, 0))
        assert control.load()["eu-west"]["onprem"].in_flight == 7
        control.now += 0.1
        assert control.load()["eu-west"]["onprem"].in_flight == 2
        assert control.service.facts().silent == 1
        await one.report(onprem=(6, 10, 1))
        assert control.load()["eu-west"]["onprem"].in_flight == 8


async def test_a_change_of_policy_moves_an_envoy_to_its_new_region_at_once(control: Control) -> None:
    async with _stream(control) as envoy:
        await envoy.introduce("e1", "edge-new")
        await envoy.report(onprem=(5, 10, 1))
        assert control.load() == {}
        assert control.service.facts().unplaced == 1
        control.regions["edge-new"] = "ap-south"
        assert control.load()["ap-south"]["onprem"].in_flight == 5


async def test_absurd_figures_are_unknown_and_not_zero_and_harm_no_other_cluster(control: Control) -> None:
    async with _stream(control) as envoy:
        await envoy.introduce("e1", "edge-eu")
        await envoy.report(onprem=(2**64 - 1, 10, 1), cloud=(3, 3, 0))
        assert set(control.load()["eu-west"]) == {"cloud"}
        assert control.service.facts().refused == 1


async def test_it_tells_when_load_changed_and_not_when_it_was_only_renewed(control: Control) -> None:
    async with _stream(control) as envoy:
        await envoy.introduce("e1", "edge-eu")
        await envoy.report(onprem=(5, 10, 1))
        control.load()
        assert control.notified == 1
        control.now += 1
        await envoy.report(onprem=(5, 10, 1))
        assert control.load()["eu-west"]["onprem"].at == 1001.0
        assert control.notified == 1
        await envoy.report(onprem=(6, 10, 1))
        control.load()
        assert control.notified == 2


async def test_a_running_service_pins_a_report_without_being_asked(control: Control) -> None:
    running = asyncio.create_task(control.service.run())
    try:
        async with _stream(control) as envoy:
            await envoy.introduce("e1", "edge-eu")
            await envoy.report(onprem=(5, 10, 1))
            await control.until(lambda: bool(control.board.snapshot(control.now).load))
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("message", [b"", b"\xff\xff\xff"], ids=["no node", "not a message"])
async def test_a_stream_that_does_not_name_its_envoy_is_refused(control: Control, message: bytes) -> None:
    async with _stream(control) as envoy:
        await envoy.call.write(message)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await envoy.call.read()
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_garbage_later_on_ends_that_stream_with_a_reason_and_forgets_it(control: Control) -> None:
    async with _stream(control) as envoy:
        await envoy.introduce("e1", "edge-eu")
        await envoy.report(onprem=(5, 10, 1))
        await envoy.call.write(b"\xff\xff\xff")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await envoy.call.read()
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert control.load() == {}


async def test_an_envoy_that_leaves_without_a_word_is_no_matter(control: Control) -> None:
    async with _stream(control) as envoy:
        await envoy.call.done_writing()
        assert await envoy.rest() == []
    assert control.service.facts().streams == 0


async def test_stopping_ends_open_streams_in_good_order(control: Control) -> None:
    async with _stream(control) as envoy:
        await envoy.introduce("e1", "edge-eu")
        await envoy.report(onprem=(5, 10, 1))
        control.service.stop()
        assert await envoy.rest() == []
        assert await envoy.call.code() is grpc.StatusCode.OK
        assert control.service.facts().streams == 0
