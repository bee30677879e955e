"""How streams end: by the client, by the server, by neither's wish."""

import grpc
import pytest

from penstock_xds import Resource, Snapshot
from penstock_xds.protos import (
    DeltaDiscoveryRequest,
)
from penstock_xds.types import CLUSTER, ROUTE
from tests.xds.shell_setting import ADS, NODE, Start, Stream
from tests.xds.transcript import cluster, route


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
    (_, reason) = setting.recorder.disconnected[0]
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
