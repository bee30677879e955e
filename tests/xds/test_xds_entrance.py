"""Which streams are let in, and what those hear that are not."""

from typing import Any

import grpc
import pytest

from penstock_xds import Node
from penstock_xds.protos import (
    DeltaDiscoveryRequest,
    NodeProto,
)
from penstock_xds.types import CLUSTER
from tests.xds.shell_setting import ADS, NODE, Start
from tests.xds.transcript import cluster


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
        (DeltaDiscoveryRequest(node=NodeProto(id="n" * 1025, cluster="edge"), type_url=CLUSTER), "longer than 1024"),
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


async def test_a_stream_that_never_says_who_it_is_is_ended(start: Start) -> None:
    setting = await start(first_request_timeout=0.05)
    mute = setting.stream()
    assert await mute.end() == (grpc.StatusCode.DEADLINE_EXCEEDED, "the client did not say in time who it is")


async def test_streams_beyond_the_cap_are_turned_away_at_once_until_there_is_room(start: Start) -> None:
    setting = await start(max_streams=2)
    setting.publish(cluster("a"))
    first = setting.stream()
    await first.ask(CLUSTER)
    # Not yet heard, but there.
    mute = setting.stream()
    await mute.call.wait_for_connection()
    for _ in range(2):
        refused = setting.stream()
        code, reason = await refused.end()
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "all the streams it takes" in reason
    await first.call.done_writing()
    assert await first.end() == (grpc.StatusCode.OK, "")
    assert [r.name for r in (await setting.stream().ask(CLUSTER)).resources] == ["a"]


async def test_a_node_of_no_group_is_logged_once_whatever_names_it_makes_up(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    setting = await start()
    for name in ("a", "b", "c"):
        stream = setting.stream()
        node = NodeProto(id=name, cluster="elsewhere" * 2_000)
        await stream.say(DeltaDiscoveryRequest(node=node, type_url=CLUSTER))
        assert (await stream.end())[0] is grpc.StatusCode.NOT_FOUND
    (record,) = [r.__dict__ for r in caplog.records if r.message == "client belongs to no group"]
    assert record["node"] == "a"
    assert len(record["node_cluster"]) == 1024


async def test_a_full_server_says_so_once(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    setting = await start(max_streams=0)
    for _ in range(3):
        await setting.stream().end()
    assert [r.message for r in caplog.records if r.levelname == "WARNING"] == ["server is full"]


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
