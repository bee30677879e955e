"""The health discovery service over a real gRPC channel."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import grpc
import grpc.aio
import pytest
from envoy.service.health.v3 import hds_pb2

from penstock.signals.board import ObservationBoard
from penstock.signals.hds import METHOD, SERVICE, EdgeHealthFacts, HealthDiscovery
from penstock_policies.observations import EndpointProbe
from penstock_xds import Node, Peer, RefusedError
from tests.signals.edge_policies import CLOUD, FAR, ILL, ONE, ONPREM, TWO, WELL, edge_policy, report

EU, US = "eu-west", "us-east"


async def refusing(peer: Peer, claimed: Node) -> Node:
    """Believe nobody but ``a``."""
    if claimed.id != "a":
        raise RefusedError("the client certificate does not prove the node id")
    return claimed


class Control:
    """The service on a port, with a clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.notified = 0
        self.board = ObservationBoard()
        self.service = HealthDiscovery(self.board, lambda: self.now, self._count, steady=lambda: self.now - 400)

    def _count(self) -> None:
        self.notified += 1

    async def start(self) -> None:
        policy = edge_policy()
        self.board.apply(policy)
        await self.service.apply(policy)
        # As the xDS port, which this is served on.
        self.server = grpc.aio.server(options=[("grpc.max_receive_message_length", 64 * 1024 * 1024)])
        self.server.add_generic_rpc_handlers((self.service.handler(),))
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        await self.server.start()

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.25)):
            self.now += 0.25
            self.service.settle()

    def probe(self, region: str, cluster: str, endpoint: str) -> EndpointProbe | None:
        return self.board.snapshot(self.now).edge_probes.get(region, {}).get(cluster, {}).get(endpoint)

    async def until(self, condition: Callable[[EdgeHealthFacts], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition(self.service.facts()):  # noqa: ASYNC110 - it happens in the service, without an event
                await asyncio.sleep(0.002)


class Envoy:
    """One stream."""

    def __init__(self, call: "grpc.aio.StreamStreamCall[bytes, bytes]", control: Control) -> None:
        self.call = call
        self.control = control

    async def introduce(self, node: str, region: str = EU) -> None:
        request = hds_pb2.HealthCheckRequestOrEndpointHealthResponse()
        request.health_check_request.node.id = node
        request.health_check_request.node.cluster = f"edge-{region}"
        before = self.control.service.facts().streams
        await self.call.write(request.SerializeToString())
        await self.control.until(lambda facts: facts.streams > before)

    async def told(self) -> hds_pb2.HealthCheckSpecifier:
        async with asyncio.timeout(20):
            message = await self.call.read()
        assert isinstance(message, bytes)
        return hds_pb2.HealthCheckSpecifier.FromString(message)

    async def say(self, message: bytes) -> None:
        def count(facts: EdgeHealthFacts) -> int:
            return facts.reports + facts.refused

        before = count(self.control.service.facts())
        await self.call.write(message)
        await self.control.until(lambda facts: count(facts) > before)

    async def end(self) -> grpc.StatusCode:
        async with asyncio.timeout(20):
            with suppress(grpc.aio.AioRpcError):
                while isinstance(await self.call.read(), bytes):
                    pass
            return await self.call.code()


@pytest.fixture
async def control() -> AsyncIterator[Control]:
    made = Control()
    await made.start()
    yield made
    made.service.stop()
    await made.server.stop(5)


def _as_it_is(message: bytes) -> bytes:
    return message


@asynccontextmanager
async def stream(control: Control) -> AsyncIterator[Envoy]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{control.port}") as channel:
        call = channel.stream_stream(f"/{SERVICE}/{METHOD}", _as_it_is, _as_it_is)(None)
        yield Envoy(call, control)


async def test_an_envoy_is_told_what_to_check_and_what_it_finds_is_observed(control: Control) -> None:
    async with stream(control) as envoy:
        await envoy.introduce("a")
        control.wait(1)
        told = await envoy.told()
        assert [one.cluster_name for one in told.cluster_health_checks] == [CLOUD, ONPREM]
        [check] = told.cluster_health_checks[1].health_checks
        assert (check.interval.seconds, check.timeout.ToMilliseconds()) == (1, 500)
        assert (check.unhealthy_threshold.value, check.healthy_threshold.value) == (2, 2)
        assert check.no_traffic_interval == check.interval
        assert check.http_health_check.path == "/health"
        assert told.interval.seconds == 1
        await envoy.say(report({ONPREM: {ONE: WELL, TWO: WELL}, CLOUD: {FAR: WELL}}))
        control.wait(0.25)
        probe = control.probe(EU, ONPREM, ONE)
        assert probe is not None
        assert (probe.at, probe.consecutive_ok) == (1001.0, 2)
        assert control.probe(US, ONPREM, ONE) is None
        assert control.notified == 1
        # The same again is no news, but keeps it fresh.
        control.now += 1
        await envoy.say(report({ONPREM: {ONE: WELL, TWO: WELL}, CLOUD: {FAR: WELL}}))
        control.wait(0.25)
        assert control.notified == 1
        probe = control.probe(EU, ONPREM, ONE)
        assert probe is not None
        assert probe.at == 1002.25
        control.now += 1
        control.service.settle()
        control.now += 1
        await envoy.say(report({ONPREM: {ONE: WELL, TWO: ILL}, CLOUD: {FAR: WELL}}))
        control.wait(0.25)
        assert control.notified == 2
        probe = control.probe(EU, ONPREM, TWO)
        assert probe is not None
        assert (probe.consecutive_failed, probe.detail) == (2, "1 of 1 checkers do not reach it")
    facts = control.service.facts()
    assert (facts.checkers, facts.refused, facts.told) == ({EU: 1, US: 0}, 0, 1)
    assert control.service.votes()[EU][ONPREM].checkers == 1
    assert control.service.votes()[US][ONPREM].checkers == 0


async def test_one_of_no_known_group_is_told_nothing_and_counted(control: Control) -> None:
    async with stream(control) as envoy:
        await envoy.introduce("a", region="mars")
        control.wait(6)
        facts = control.service.facts()
        assert (facts.streams, facts.unplaced, facts.told) == (1, 1, 0)


async def test_a_second_stream_of_the_same_name_ends_the_first(control: Control) -> None:
    async with stream(control) as first, stream(control) as second:
        await first.introduce("a")
        control.wait(1)
        await first.told()
        request = hds_pb2.HealthCheckRequestOrEndpointHealthResponse()
        request.health_check_request.node.id, request.health_check_request.node.cluster = "a", f"edge-{EU}"
        await second.call.write(request.SerializeToString())
        assert await first.end() is grpc.StatusCode.OK
        control.wait(1)
        assert len((await second.told()).cluster_health_checks) == 2
        assert control.service.facts().streams == 1


@pytest.mark.parametrize(
    "garbage",
    [
        report({"elsewhere": {ONE: ILL}}),
        report({ONPREM: {"10.9.9.9:1": ILL}}),
        report({ONPREM: {ONE: 77}}),
        report({f"cluster-{number}": {ONE: ILL} for number in range(5000)}),
        report({ONPREM: {f"10.0.0.1:{port}": ILL for port in range(1, 5000)}}),
        b"\x00" * (9 * 1024 * 1024),
    ],
    ids=["cluster", "endpoint", "status", "many clusters", "many endpoints", "huge"],
)
async def test_hostile_reports_are_counted_and_change_nothing(control: Control, garbage: bytes) -> None:
    async with stream(control) as envoy:
        await envoy.introduce("a")
        control.wait(5)
        await envoy.told()
        await envoy.say(garbage)
        control.wait(1)
        assert control.service.facts().refused >= 1
        assert control.probe(EU, ONPREM, ONE) is None
        assert control.notified == 0


async def test_a_report_that_is_none_ends_its_stream(control: Control) -> None:
    async with stream(control) as envoy:
        await envoy.introduce("a")
        await envoy.call.write(b"\xff\xff")
        assert await envoy.end() is grpc.StatusCode.INVALID_ARGUMENT
        assert control.service.facts().refused == 1


async def test_a_flood_of_reports_is_not_read(control: Control) -> None:
    async with stream(control) as envoy:
        await envoy.introduce("a")
        control.wait(5)
        await envoy.told()
        for _ in range(30):
            await envoy.say(report({ONPREM: {ONE: WELL}}))
        facts = control.service.facts()
        assert facts.reports == 10
        assert facts.refused == 20


@pytest.mark.parametrize("first", [b"\xff\xff", report({ONPREM: {ONE: ILL}})], ids=["garbage", "a report"])
async def test_a_stream_begins_with_a_name(control: Control, first: bytes) -> None:
    async with stream(control) as envoy:
        await envoy.call.write(first)
        assert await envoy.end() is grpc.StatusCode.INVALID_ARGUMENT
        assert control.service.facts().streams == 0


async def test_who_cannot_prove_to_be_the_node_is_refused() -> None:
    control = Control()
    control.service = HealthDiscovery(control.board, lambda: control.now, control._count, authenticator=refusing)
    await control.start()
    try:
        async with stream(control) as envoy, stream(control) as liar:
            await envoy.introduce("a")
            request = hds_pb2.HealthCheckRequestOrEndpointHealthResponse()
            request.health_check_request.node.id = "b"
            await liar.call.write(request.SerializeToString())
            assert await liar.end() is grpc.StatusCode.PERMISSION_DENIED
            assert control.service.facts().streams == 1
    finally:
        control.service.stop()
        await control.server.stop(5)


async def test_streams_end_when_the_service_stops(control: Control) -> None:
    async with stream(control) as envoy:
        await envoy.introduce("a")
        control.service.stop()
        assert await envoy.end() is grpc.StatusCode.OK
        assert control.service.facts().streams == 0
