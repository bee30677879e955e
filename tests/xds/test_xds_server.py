"""The gRPC shell over a real loopback channel."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2

from penstock_xds import BindError, Node, Resource, Snapshot, SnapshotCache, SyncStatus, Variant, XdsServer
from penstock_xds.protos import (
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
    DiscoveryRequest,
    DiscoveryResponse,
    NodeProto,
)
from penstock_xds.types import CLUSTER, ENDPOINT, ROUTE
from tests.xds.recorder import Recorder
from tests.xds.transcript import cluster, endpoints, route

ADS = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
NODE = NodeProto(id="n1", cluster="edge")


class Stream:
    """A raw client stream."""

    def __init__(self, channel: Any, method: str) -> None:
        delta = "Delta" in method
        call = channel.stream_stream(
            method,
            request_serializer=(DeltaDiscoveryRequest if delta else DiscoveryRequest).SerializeToString,
            response_deserializer=(DeltaDiscoveryResponse if delta else DiscoveryResponse).FromString,
        )
        self.call: Any = call()

    async def say(self, request: Any) -> None:
        await self.call.write(request)

    async def hear(self) -> Any:
        async with asyncio.timeout(10):
            response = await self.call.read()
        assert response, "the stream ended"
        return response

    async def end(self) -> tuple[grpc.StatusCode, str]:
        async with asyncio.timeout(10):
            return await self.call.code(), await self.call.details()


class Setting:
    """A server, what it serves and a channel to it."""

    def __init__(self, **options: Any) -> None:
        self.cache = SnapshotCache()
        self.recorder = Recorder()
        self.groups: Callable[[Node], str | None] = lambda node: node.cluster if node.cluster == "edge" else None
        self.server = XdsServer(
            self.cache,
            group_of=self.group_of,
            identifier="penstock-test",
            listener=self.recorder,
            **options,
        )
        self.channel: Any  # its stubs ask for arguments that are optional
        self.port = 0

    def group_of(self, node: Node) -> str | None:
        return self.groups(node)

    def publish(self, *resources: Resource) -> None:
        self.cache.publish("edge", Snapshot.of(resources))

    def new_channel(self) -> Any:
        # A pool of its own: channels to one address share a connection otherwise.
        options = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1))
        return aio.insecure_channel(f"127.0.0.1:{self.port}", options=options)

    def stream(self, method: str = "DeltaAggregatedResources") -> Stream:
        return Stream(self.channel, method if method.startswith("/") else ADS + method)


Start = Callable[..., Awaitable[Setting]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts servers, and finds out whether any left a task behind."""
    tasks_before = asyncio.all_tasks()
    settings: list[Setting] = []

    async def start_one(**options: Any) -> Setting:
        setting = Setting(**options)
        setting.port = await setting.server.start("127.0.0.1:0")
        setting.channel = setting.new_channel()
        settings.append(setting)
        return setting

    yield start_one
    for setting in settings:
        await setting.server.stop(1)
        await setting.channel.close()
        assert setting.server.streams() == []
    left = {t for t in asyncio.all_tasks() - tasks_before if t.get_name().startswith("xds-")}
    assert not left


async def test_a_delta_client_is_served_and_its_ack_is_told(start: Start) -> None:
    setting = await start(wall_clock=lambda: 1234.5)
    setting.publish(cluster("a"))
    stream = setting.stream()
    await stream.say(DeltaDiscoveryRequest(node=NODE, type_url=CLUSTER))
    response = await stream.hear()
    assert response.control_plane.identifier == "penstock-test"
    assert response.type_url == CLUSTER
    assert response.system_version_info == setting.cache.get("edge").version(CLUSTER)  # type: ignore[union-attr]
    (resource,) = response.resources
    assert (resource.name, resource.version) == ("a", cluster("a").version)
    assert (resource.resource.type_url, resource.resource.value) == (CLUSTER, cluster("a").body)
    await stream.say(DeltaDiscoveryRequest(type_url=CLUSTER, response_nonce=response.nonce))
    await setting.recorder.until(lambda: setting.recorder.acks == [CLUSTER])
    (view,) = setting.server.streams()
    assert (view.node_id, view.node_cluster, view.group, view.variant) == ("n1", "edge", "edge", Variant.DELTA)
    assert view.connected_at == 1234.5
    assert "127.0.0.1" in view.peer
    assert view.types[CLUSTER].status is SyncStatus.SYNCED
    assert view.types[CLUSTER].acked_version == response.system_version_info
    assert view.types[CLUSTER].resources == 1


async def test_a_sotw_client_is_served(start: Start) -> None:
    setting = await start()
    setting.publish(cluster("a"), cluster("b"))
    stream = setting.stream("StreamAggregatedResources")
    await stream.say(DiscoveryRequest(node=NODE, type_url=CLUSTER))
    response = await stream.hear()
    assert [any_.value for any_ in response.resources] == [cluster("a").body, cluster("b").body]
    assert {any_.type_url for any_ in response.resources} == {CLUSTER}
    assert response.version_info
    assert response.control_plane.identifier == "penstock-test"


@pytest.mark.parametrize("method", ["StreamEndpoints", "DeltaEndpoints"])
async def test_a_stream_of_one_type_may_leave_the_type_out(start: Start, method: str) -> None:
    setting = await start()
    setting.publish(endpoints("a"))
    stream = setting.stream(f"/envoy.service.endpoint.v3.EndpointDiscoveryService/{method}")
    if method.startswith("Delta"):
        await stream.say(DeltaDiscoveryRequest(node=NODE, resource_names_subscribe=["a"]))
    else:
        await stream.say(DiscoveryRequest(node=NODE, resource_names=["a"]))
    response = await stream.hear()
    assert response.type_url == ENDPOINT
    assert len(response.resources) == 1


async def test_a_client_waits_until_its_group_has_a_snapshot(start: Start) -> None:
    setting = await start()
    stream = setting.stream()
    await stream.say(DeltaDiscoveryRequest(node=NODE, type_url=CLUSTER))
    await setting.recorder.until(lambda: len(setting.recorder.connected) == 1)
    assert setting.recorder.pushes == []
    setting.publish(cluster("a"))
    response = await stream.hear()
    assert [r.name for r in response.resources] == ["a"]


async def test_streams_of_one_group_share_content_but_no_nonce(start: Start) -> None:
    setting = await start()
    setting.publish(route("r"))
    first, second = setting.stream(), setting.stream()
    for stream in (first, second):
        await stream.say(DeltaDiscoveryRequest(node=NODE, type_url=ROUTE, resource_names_subscribe=["r"]))
    one, other = await first.hear(), await second.hear()
    assert one.nonce != other.nonce
    other.nonce = one.nonce
    assert one == other
    assert len(setting.server.streams()) == 2


async def test_a_node_of_no_group_is_refused_with_its_name(start: Start) -> None:
    setting = await start()
    stream = setting.stream()
    await stream.say(DeltaDiscoveryRequest(node=NodeProto(id="n2", cluster="elsewhere"), type_url=CLUSTER))
    code, details = await stream.end()
    assert code is grpc.StatusCode.NOT_FOUND
    assert "'n2'" in details
    assert "'elsewhere'" in details
    assert setting.recorder.connected == []


@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        (DeltaDiscoveryRequest(type_url=CLUSTER), "node.id"),
        (DeltaDiscoveryRequest(node=NodeProto(cluster="edge"), type_url=CLUSTER), "node.id"),
        (DeltaDiscoveryRequest(node=NODE), "type_url"),
    ],
)
async def test_a_request_the_protocol_forbids_is_refused_as_invalid(
    start: Start, request_: Any, complaint: str
) -> None:
    setting = await start()
    stream = setting.stream()
    await stream.say(request_)
    code, details = await stream.end()
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert complaint in details


async def test_bytes_that_are_no_request_are_refused_and_hurt_nobody(start: Start) -> None:
    setting = await start()
    setting.publish(cluster("a"))
    good = setting.stream()
    await good.say(DeltaDiscoveryRequest(node=NODE, type_url=CLUSTER))
    response = await good.hear()
    await good.say(DeltaDiscoveryRequest(type_url=CLUSTER, response_nonce=response.nonce))
    call: Any = setting.channel.stream_stream(ADS + "DeltaAggregatedResources")()
    await call.write(b"\xff\xff\xff")
    assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
    setting.publish(cluster("a"), cluster("b"))
    response = await good.hear()
    assert [r.name for r in response.resources] == ["b"]


async def test_a_refusal_is_told_and_logged_with_its_facts(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    setting = await start()
    setting.publish(route("r"))
    stream = setting.stream()
    await stream.say(DeltaDiscoveryRequest(node=NODE, type_url=ROUTE, resource_names_subscribe=["r"]))
    response = await stream.hear()
    refusal = DeltaDiscoveryRequest(type_url=ROUTE, response_nonce=response.nonce)
    refusal.error_detail.code, refusal.error_detail.message = 3, "no such cluster"
    await stream.say(refusal)
    await setting.recorder.until(lambda: bool(setting.recorder.refusals))
    (told,) = setting.recorder.refusals
    assert (told.node_id, told.type_url, told.names, told.message) == ("n1", ROUTE, ("r",), "no such cluster")
    assert told.version == response.system_version_info
    (record,) = [r for r in caplog.records if r.message == "client refused resources"]
    facts = record.__dict__
    assert (facts["node"], facts["type_url"], facts["names"]) == ("n1", ROUTE, ("r",))
    assert (facts["version"], facts["refusal"]) == (response.system_version_info, "no such cluster")


async def test_a_burst_of_snapshots_reaches_a_client_as_the_latest_alone(start: Start) -> None:
    setting = await start()
    setting.publish(route("r"))
    stream = setting.stream()
    await stream.say(DeltaDiscoveryRequest(node=NODE, type_url=ROUTE, resource_names_subscribe=["r"]))
    response = await stream.hear()
    for i in range(100):
        setting.publish(route("r", content=str(i)))
    await stream.say(DeltaDiscoveryRequest(type_url=ROUTE, response_nonce=response.nonce))
    response = await stream.hear()
    assert response.resources[0].resource.value == route("r", content="99").body
    assert setting.recorder.pushes == [ROUTE, ROUTE]


async def test_publishing_an_equal_snapshot_does_nothing(start: Start) -> None:
    setting = await start()
    setting.publish(route("r"))
    before = setting.cache.get("edge")
    setting.publish(route("r"))
    assert setting.cache.get("edge") is before
    assert setting.cache.groups() == ("edge",)


async def test_a_client_that_never_reads_is_ended_and_costs_the_others_nothing(start: Start) -> None:
    setting = await start(write_timeout=0.2)
    big = [Resource(ROUTE, f"r{i}", b"\x00" + bytes([i]) * 1_000_000) for i in range(32)]
    setting.publish(route("small"), *big)
    other_channel = setting.new_channel()
    stalled, healthy = Stream(other_channel, ADS + "DeltaAggregatedResources"), setting.stream()
    await healthy.say(DeltaDiscoveryRequest(node=NODE, type_url=CLUSTER))
    await healthy.say(DeltaDiscoveryRequest(type_url=CLUSTER, response_nonce=(await healthy.hear()).nonce))
    # The client asks for far more than a connection's windows hold and reads none of it.
    names = [r.name for r in big]
    await stalled.say(DeltaDiscoveryRequest(node=NODE, type_url=ROUTE, resource_names_subscribe=names))
    await setting.recorder.until(lambda: bool(setting.recorder.disconnected))
    (view, reason) = setting.recorder.disconnected[0]
    assert view.types[ROUTE].status is SyncStatus.STALE
    assert "did not take a response within 0.2 s" in reason
    assert len(setting.server.streams()) == 1
    setting.publish(cluster("a"))
    response = await healthy.hear()
    assert response.type_url == CLUSTER
    # Should it read on, it hears that it must connect again: it is never left on a stream that is served no more.
    await stalled.hear()
    code, _ = await stalled.end()
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert len(setting.recorder.disconnected) == 1
    await other_channel.close()


async def test_a_client_that_goes_away_is_forgotten_without_a_fuss(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    setting = await start()
    setting.publish(cluster("a"))
    closing, breaking = setting.stream(), setting.stream()
    for stream in (closing, breaking):
        await stream.say(DeltaDiscoveryRequest(node=NODE, type_url=CLUSTER))
        await stream.hear()
    await closing.call.done_writing()
    assert await closing.end() == (grpc.StatusCode.OK, "")
    assert [reason for _, reason in setting.recorder.disconnected] == ["the client closed the stream"]
    breaking.call.cancel()
    await setting.recorder.until(lambda: len(setting.recorder.disconnected) == 2)
    assert setting.server.streams() == []
    await setting.channel.close()
    assert [r.message for r in caplog.records if r.levelname in {"WARNING", "ERROR"}] == []


async def test_a_listener_that_raises_is_logged_and_costs_no_client_anything(
    start: Start, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = await start()
    setting.publish(cluster("a"))

    def fail(*_: object) -> None:
        raise ValueError("a bug of the program's")

    monkeypatch.setattr(setting.recorder, "on_push", fail)
    stream = setting.stream()
    await stream.say(DeltaDiscoveryRequest(node=NODE, type_url=CLUSTER))
    response = await stream.hear()
    assert [r.name for r in response.resources] == ["a"]
    assert "xds listener failed" in [r.message for r in caplog.records]


async def test_stopping_ends_streams_in_good_order(start: Start) -> None:
    setting = await start()
    setting.publish(cluster("a"))
    stream = setting.stream()
    await stream.say(DeltaDiscoveryRequest(node=NODE, type_url=CLUSTER))
    await stream.hear()
    await setting.server.stop(5)
    assert await stream.end() == (grpc.StatusCode.OK, "")
    assert [reason for _, reason in setting.recorder.disconnected] == ["the server is shutting down"]


async def test_a_node_whose_group_changed_is_sent_to_its_new_group(start: Start) -> None:
    setting = await start()
    setting.publish(cluster("a"))
    setting.cache.publish("other", Snapshot.of([cluster("b")]))
    stream = setting.stream()
    await stream.say(DeltaDiscoveryRequest(node=NODE, type_url=CLUSTER))
    await stream.hear()
    setting.server.regroup()
    assert len(setting.server.streams()) == 1
    setting.groups = lambda _: "other"
    setting.server.regroup()
    code, _ = await stream.end()
    assert code is grpc.StatusCode.UNAVAILABLE
    again = setting.stream()
    await again.say(DeltaDiscoveryRequest(node=NODE, type_url=CLUSTER))
    assert [r.name for r in (await again.hear()).resources] == ["b"]


async def test_a_second_server_on_the_same_port_fails_to_start(start: Start) -> None:
    setting = await start()
    second = XdsServer(SnapshotCache(), group_of=lambda _: None, identifier="second")
    with pytest.raises(BindError, match=str(setting.port)):
        await second.start(f"127.0.0.1:{setting.port}")


async def test_the_health_service_says_serving(start: Start) -> None:
    setting = await start()
    check: Any = setting.channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    answer = await check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_other_services_may_share_the_port() -> None:
    async def echo(request: bytes, _context: object) -> bytes:
        return request

    handler = grpc.method_handlers_generic_handler("test.Echo", {"Echo": grpc.unary_unary_rpc_method_handler(echo)})
    server = XdsServer(SnapshotCache(), group_of=lambda _: None, identifier="test")
    port = await server.start("127.0.0.1:0", extra_handlers=(handler,))
    async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: Any = channel
        assert await call.unary_unary("/test.Echo/Echo")(b"hello") == b"hello"
    await server.stop(0)


async def test_a_large_reconnect_request_is_let_in(start: Start) -> None:
    setting = await start()
    setting.publish(cluster("a"))
    stream = setting.stream()
    held = {f"{i:02000}": "version" for i in range(3_000)}
    request = DeltaDiscoveryRequest(node=NODE, type_url=CLUSTER, initial_resource_versions=held)
    assert request.ByteSize() > 6_000_000
    await stream.say(request)
    response = await stream.hear()
    assert [r.name for r in response.resources] == ["a"]


async def test_a_wait_of_the_core_ends_by_itself(start: Start) -> None:
    setting = await start(phase_timeout=0.05)
    setting.publish(cluster("a"))
    stream = setting.stream()
    await stream.say(DeltaDiscoveryRequest(node=NODE, type_url=CLUSTER))
    await stream.hear()
    setting.publish(cluster("a", "new"))
    response = await stream.hear()
    assert [r.name for r in response.resources] == ["a"]


def test_the_node_is_read_whole() -> None:
    proto = NodeProto(id="n", cluster="c", user_agent_name="envoy", client_features=["f"])
    proto.metadata.update({"team": "edge", "tier": {"level": 1}})
    proto.locality.region, proto.locality.zone = "eu-west", "a"
    build = proto.user_agent_build_version.version
    build.major_number, build.minor_number, build.patch = 1, 40, 2
    node = Node.of(proto)
    assert (node.id, node.cluster, node.client_features) == ("n", "c", ("f",))
    assert node.metadata == {"team": "edge", "tier": {"level": 1.0}}
    assert (node.locality_region, node.locality_zone) == ("eu-west", "a")
    assert (node.user_agent_name, node.user_agent_version) == ("envoy", "1.40.2")
