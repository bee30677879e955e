"""The gRPC shell over a real loopback channel: who is served what."""

import asyncio
from typing import Any

import grpc
import pytest
from grpc import aio

from penstock_xds import BindError, SnapshotCache, SyncStatus, Variant, XdsServer
from penstock_xds.protos import (
    DeltaDiscoveryRequest,
    DiscoveryRequest,
)
from penstock_xds.types import CLUSTER, ENDPOINT, ROUTE
from tests.xds.shell_setting import NODE, Start, Stream
from tests.xds.transcript import cluster, endpoints, route


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


async def test_a_second_server_on_the_same_port_fails_to_start(start: Start) -> None:
    setting = await start()
    second = XdsServer(SnapshotCache(), group_of=lambda _: None, identifier="second")
    with pytest.raises(BindError, match=str(setting.port)):
        await second.start(f"127.0.0.1:{setting.port}")


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


async def test_several_servers_share_a_port_if_told_to(start: Start) -> None:
    setting = await start(reuse_port=True)
    second = XdsServer(setting.cache, group_of=lambda node: node.cluster, identifier="second", reuse_port=True)
    assert await second.start(f"127.0.0.1:{setting.port}") == setting.port
    setting.publish(cluster("a"))
    seen: set[str] = set()
    async with asyncio.timeout(20):
        # The kernel draws one for each connection.
        while len(seen) < 2:
            channel = setting.new_channel()
            response = await Stream(channel).ask(CLUSTER)
            assert [r.name for r in response.resources] == ["a"]
            seen.add(response.control_plane.identifier)
            await channel.close()
    await second.stop(1)
