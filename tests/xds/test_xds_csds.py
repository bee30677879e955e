"""Client status: what each stream was sent, has accepted and has refused."""

from typing import Any

import grpc
import pytest

from penstock_xds import Node, Peer, RefusedError, Resource
from penstock_xds.protos import (
    ClientConfig,
    ClientResourceStatus,
    ClientStatusRequest,
    ClientStatusResponse,
    ConfigStatus,
    GenericXdsConfig,
    NodeProto,
)
from penstock_xds.types import CLUSTER, ROUTE, SECRET
from tests.xds.shell_setting import NODE, Hands, Setting, Start
from tests.xds.transcript import cluster, route

SERVICE = "/envoy.service.status.v3.ClientStatusDiscoveryService/"


def calls(setting: Setting, metadata: tuple[tuple[str, str], ...] = ()) -> tuple[Any, Any]:
    coding = {
        "request_serializer": ClientStatusRequest.SerializeToString,
        "response_deserializer": ClientStatusResponse.FromString,
    }
    fetch = setting.channel.unary_unary(SERVICE + "FetchClientStatus", **coding)
    stream = setting.channel.stream_stream(SERVICE + "StreamClientStatus", **coding)
    return fetch, stream


async def fetch(setting: Setting, **fields: Any) -> list[ClientConfig]:
    answer = await calls(setting)[0](ClientStatusRequest(**fields))
    return list(answer.config)


def by_name(config: ClientConfig) -> dict[str, GenericXdsConfig]:
    return {each.name: each for each in config.generic_xds_configs}


async def test_what_a_client_accepted_was_sent_and_refused_is_told_apart(start: Start) -> None:
    clock = Hands()
    setting = await start(clock=clock, wall_clock=lambda: clock.now + 1_700_000_000.0)
    setting.publish(cluster("a"), route("r"))
    stream = setting.stream()
    await stream.accept(await stream.ask(CLUSTER))
    await setting.recorder.until(lambda: setting.recorder.acks == [CLUSTER])
    clock.now += 5.0
    await stream.refuse(await stream.ask(ROUTE, "r", "missing"), "r: no such cluster")
    await setting.recorder.until(lambda: bool(setting.recorder.refusals))
    clock.now += 5.0
    setting.publish(cluster("a", "new"), route("r"))
    await stream.hear()

    (config,) = await fetch(setting)
    assert (config.node.id, config.node.cluster) == ("n1", "edge")
    found = by_name(config)
    assert set(found) == {"a", "r", "missing"}
    assert found["a"].type_url == CLUSTER
    assert found["a"].config_status == ConfigStatus.STALE
    assert found["a"].version_info == cluster("a").version
    assert found["a"].xds_config.value == cluster("a").body
    assert found["a"].client_status == ClientResourceStatus.REQUESTED
    refused = found["r"]
    assert refused.config_status == ConfigStatus.ERROR
    assert refused.client_status == ClientResourceStatus.NACKED
    assert refused.error_state.details == "r: no such cluster"
    assert refused.error_state.version_info == route("r").version
    assert refused.error_state.failed_configuration.type_url == ROUTE
    assert refused.error_state.failed_configuration.value == route("r").body
    assert refused.error_state.last_update_attempt.seconds == 1_700_001_005
    assert not refused.HasField("xds_config")
    assert found["missing"].config_status in {ConfigStatus.NOT_SENT, ConfigStatus.SYNCED}
    assert not found["missing"].version_info


async def test_what_a_client_holds_is_synced_with_its_contents_unless_they_are_not_wanted(start: Start) -> None:
    setting = await start()
    setting.publish(cluster("a"))
    stream = setting.stream()
    await stream.accept(await stream.ask(CLUSTER))
    await setting.recorder.until(lambda: setting.recorder.acks == [CLUSTER])
    (config,) = await fetch(setting)
    (held,) = config.generic_xds_configs
    assert held.config_status == ConfigStatus.SYNCED
    assert held.client_status == ClientResourceStatus.ACKED
    assert (held.xds_config.type_url, held.xds_config.value) == (CLUSTER, cluster("a").body)
    (config,) = await fetch(setting, exclude_resource_contents=True)
    (held,) = config.generic_xds_configs
    assert held.version_info == cluster("a").version
    assert not held.HasField("xds_config")


async def test_secrets_are_never_shown_held_or_refused(start: Start) -> None:
    setting = await start()
    secret = Resource(SECRET, "key", b"-----BEGIN PRIVATE KEY-----")
    setting.publish(secret)
    holding, refusing = setting.stream(), setting.stream()
    await holding.accept(await holding.ask(SECRET, "key"))
    await refusing.refuse(await refusing.ask(SECRET, "key"), "key: no such curve")
    recorder = setting.recorder
    await recorder.until(lambda: bool(recorder.acks) and bool(recorder.refusals))
    configs = await fetch(setting)
    assert len(configs) == 2
    for config in configs:
        (shown,) = config.generic_xds_configs
        assert shown.name == "key"
        assert b"PRIVATE KEY" not in shown.SerializeToString()
    assert {config.generic_xds_configs[0].version_info for config in configs} >= {secret.version}


async def test_streams_of_one_node_are_told_apart_by_their_scope(start: Start) -> None:
    setting = await start()
    setting.publish(cluster("a"))
    one, other = setting.stream(), setting.stream()
    for stream in (one, other):
        await stream.ask(CLUSTER)
    configs = await fetch(setting)
    assert [config.node.id for config in configs] == ["n1", "n1"]
    assert len({config.client_scope for config in configs}) == 2
    for config, view in zip(configs, setting.server.streams(), strict=True):
        assert f"stream {view.stream_id} " in config.client_scope
        assert view.peer in config.client_scope


async def test_matchers_choose_nodes_any_of_them_being_enough(start: Start) -> None:
    setting = await start()
    setting.publish(cluster("a"))
    for node_id in ("edge-1", "edge-2", "core-1"):
        await setting.stream().ask(CLUSTER, node=NodeProto(id=node_id, cluster="edge"))

    async def chosen(*matchers: Any) -> list[str]:
        return [config.node.id for config in await fetch(setting, node_matchers=matchers)]

    assert await chosen() == ["edge-1", "edge-2", "core-1"]
    assert await chosen({"node_id": {"prefix": "edge-"}}) == ["edge-1", "edge-2"]
    assert await chosen({"node_id": {"exact": "edge-2"}}, {"node_id": {"suffix": "re-1"}}) == ["edge-2", "core-1"]


async def test_a_malformed_matcher_is_an_invalid_argument_even_with_no_clients(start: Start) -> None:
    setting = await start()
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await fetch(setting, node_matchers=[{"node_id": {"prefix": ""}}])
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "prefix" in (failure.value.details() or "")


async def test_a_stream_of_status_answers_each_request_as_things_are_then(start: Start) -> None:
    setting = await start()
    setting.publish(cluster("a"))
    status = calls(setting)[1]()
    await status.write(ClientStatusRequest())
    assert len((await status.read()).config) == 0
    await setting.stream().ask(CLUSTER)
    await status.write(ClientStatusRequest())
    assert len((await status.read()).config) == 1
    await status.done_writing()
    assert await status.code() is grpc.StatusCode.OK


async def test_each_server_of_a_cache_tells_of_its_own_streams(start: Start) -> None:
    one = await start()
    other = await start(cache=one.cache)
    one.publish(cluster("a"))
    await one.stream().ask(CLUSTER)
    assert len(await fetch(one)) == 1
    assert await fetch(other) == []


async def test_it_is_served_only_where_asked_for(start: Start) -> None:
    setting = await start(csds=False)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await fetch(setting)
    assert failure.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def only_known(peer: Peer, claimed: Node) -> Node:
    if not claimed.id:
        raise RefusedError("who is asking", grpc.StatusCode.UNAUTHENTICATED)
    return claimed


async def operators(peer: Peer, claimed: Node) -> Node:
    if peer.authorization != "Bearer operator":
        raise RefusedError("operators only")
    return claimed


@pytest.fixture
def two_groups(start: Start) -> Start:
    async def build(**options: Any) -> Setting:
        setting = await start(authenticator=only_known, **options)
        setting.groups = lambda node: node.cluster
        setting.publish(cluster("a"))
        setting.cache.publish("other", setting.cache.get("edge"))  # type: ignore[arg-type]
        await setting.stream().ask(CLUSTER)
        await setting.stream().ask(CLUSTER, node=NodeProto(id="n2", cluster="other"))
        return setting

    return build


async def test_where_clients_must_prove_who_they_are_they_see_their_own_group_alone(two_groups: Start) -> None:
    setting = await two_groups()
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await fetch(setting)
    assert failure.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert [config.node.id for config in await fetch(setting, node=NODE)] == ["n1"]
    assert await fetch(setting, node=NodeProto(id="n3", cluster="nowhere")) == []


async def test_an_authenticator_of_its_own_lets_operators_see_all(two_groups: Start) -> None:
    setting = await two_groups(csds_authenticator=operators)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await fetch(setting, node=NODE)
    assert failure.value.code() is grpc.StatusCode.PERMISSION_DENIED
    answer = await calls(setting)[0](ClientStatusRequest(), metadata=(("authorization", "Bearer operator"),))
    assert [config.node.id for config in answer.config] == ["n1", "n2"]


async def test_a_stream_that_is_gone_has_no_resources_to_view(start: Start) -> None:
    setting = await start()
    setting.publish(cluster("a"))
    await setting.stream().ask(CLUSTER)
    (view,) = setting.server.streams()
    assert [r.name for r in setting.server.resource_views(view.stream_id)[CLUSTER]] == ["a"]
    assert setting.server.resource_views("no such stream") == {}
