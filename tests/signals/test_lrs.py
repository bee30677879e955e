"""The load reporting service over a real gRPC channel."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import grpc
import grpc.aio
import pytest
from envoy.service.load_stats.v3 import lrs_pb2

from penstock.signals.board import ObservationBoard
from penstock.signals.load_facts import Doubt
from penstock.signals.load_reports import MOST_CLUSTERS
from penstock.signals.lrs import METHOD, SERVICE, LoadReports
from penstock_policies.observations import EngineLoad, Load
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


async def test_a_client_that_reports_at_an_interval_of_its_own_is_not_silent_between(control: Control) -> None:
    async with _stream(control) as client:
        await client.introduce("c1", "edge-eu", agent="gRPC")
        await client.send(report(stats("onprem", At(5, 50, 0, 50), seconds=5)))
        control.now += 9
        assert control.load()["eu-west"]["onprem"].request_rate == 10
        control.now += 7
        assert control.load() == {}


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


async def test_the_first_report_tells_of_endpoints_already(control: Control) -> None:
    async with _stream(control) as envoy:
        await envoy.introduce("e1", "edge-eu")
        await envoy.send(report(stats("onprem", At(5, 10, 1, 4), endpoints={"10.0.0.1:1": At(5, 10, 1, 4)})))
        assert control.service.endpoints("onprem")["eu-west"]["10.0.0.1:1"].in_flight == 5
        assert control.service.outcomes()["onprem", "10.0.0.1:1"].error_share == pytest.approx(0.2)
        await envoy.send(report(stats("onprem", drops={"overflow": 3})))
        assert control.service.cluster_report("onprem").drops == {"overflow": 3}
        assert control.service.drops() == {("onprem", "overflow"): 3}


async def test_what_engines_say_in_answers_is_pinned_for_where_their_pages_are_silent(control: Control) -> None:
    spoken = At(1, 4, 0, 4, {"named_metrics.num_requests_waiting": (4, 12.0)})
    async with _stream(control) as envoy:
        await envoy.introduce("e1", "edge-eu")
        await envoy.send(report(stats("onprem", spoken, endpoints={"10.0.0.1:1": spoken})))
        control.load()
        assert control.board.snapshot(control.now).engines["onprem"].waiting == pytest.approx(3.0)
        control.board.set_engine("onprem", EngineLoad(control.now, waiting=9.0))
        assert control.board.snapshot(control.now).engines["onprem"].waiting == 9.0


async def test_a_monstrous_report_ends_its_stream_and_is_counted(control: Control) -> None:
    async with _stream(control) as envoy:
        await envoy.introduce("e1", "edge-eu")
        await envoy.report(onprem=(5, 10, 1))
        await envoy.call.write(b"\x12\x00" * (MOST_CLUSTERS + 1))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await envoy.call.read()
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert control.service.facts().refused == 1
        assert control.load() == {}


async def test_clusters_of_nobody_take_no_memory(control: Control) -> None:
    async with _stream(control) as envoy:
        await envoy.introduce("e1", "edge-eu")
        await envoy.send(report(*(stats(f"made-up-{number}", At(1, 1, 1, 1)) for number in range(1000))))
        assert control.load() == {}
        assert control.service.facts().unknown == 1000


async def test_one_liar_among_many_is_named_and_does_not_count(
    control: Control, caplog: pytest.LogCaptureFixture
) -> None:
    async with AsyncExitStack() as stack:
        envoys = [await stack.enter_async_context(_stream(control)) for _ in range(4)]
        for number, envoy in enumerate(envoys):
            await envoy.introduce(f"e{number}", "edge-eu")
            await envoy.report(onprem=(20, 20, 0))
        control.load()
        control.now += 60
        for envoy in envoys[1:]:
            await envoy.report(onprem=(20, 20, 0))
        with caplog.at_level(logging.WARNING):
            await envoys[0].report(onprem=(20_000, 20_000, 0))
            await envoys[0].report(onprem=(20_000, 20_000, 0))
        assert control.load()["eu-west"]["onprem"].in_flight == 80
        assert control.service.facts().doubts == (Doubt("e0", "eu-west", "onprem"),)
        assert len(caplog.records) == 1


async def test_where_there_is_too_much_to_read_endpoints_are_sampled_and_told_alike(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.signals.lrs.ENDPOINTS_PER_SECOND", 0.5)
    at = At(5, 8, 2, 6)
    async with _stream(control) as envoy:
        await envoy.introduce("e1", "edge-eu")
        for _ in range(60):
            control.now += 1
            await envoy.send(report(stats("onprem", at, endpoints={"10.0.0.1:1": at})))
            control.load()
        seen = control.service.endpoints("onprem")["eu-west"]["10.0.0.1:1"]
        assert seen.in_flight == 5
        assert seen.request_rate == pytest.approx(8, rel=0.3)


async def test_many_that_fall_silent_at_once_are_taken_out_few_at_a_time(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.signals.lrs.MOST_MOVED", 1)
    async with _stream(control) as one, _stream(control) as two:
        for envoy in (one, two):
            await envoy.introduce("e", "edge-eu")
            await envoy.report(onprem=(5, 10, 1))
        control.now += 4
        assert control.load()["eu-west"]["onprem"].in_flight == 5
        assert control.service.facts().silent == 2
        assert control.load() == {}
