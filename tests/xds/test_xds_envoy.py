"""The server against the real Envoy, over both variants."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from penstock_xds import Resource, Snapshot, SnapshotCache, SyncStatus, Variant, XdsServer
from penstock_xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from tests.xds.envoy_world import (
    Dialect,
    Envoy,
    assignment,
    backend,
    eds_cluster,
    eventually,
    http_listener,
    running_envoy,
    weighted_route,
)
from tests.xds.recorder import Recorder

pytestmark = pytest.mark.e2e


@dataclass
class Edge:
    envoy: Envoy
    cache: SnapshotCache
    server: XdsServer
    recorder: Recorder
    variant: Variant
    xds_port: int
    ports: dict[str, int]
    listener_port: int

    def publish(self, *resources: Resource) -> None:
        self.cache.publish("edge", Snapshot.of(resources))

    def world(self, weights: dict[str, int]) -> tuple[Resource, ...]:
        return world(self.ports, weights)


def world(ports: dict[str, int], weights: dict[str, int]) -> tuple[Resource, ...]:
    return (
        *(eds_cluster(name) for name in weights),
        *(assignment(name, ports[name[0]]) for name in weights),
        http_listener("l", "r"),
        weighted_route("r", weights),
    )


def new_server(cache: SnapshotCache, recorder: Recorder) -> XdsServer:
    return XdsServer(cache, group_of=lambda node: node.cluster, identifier="test", listener=recorder)


@pytest.fixture(params=list(Variant))
async def edge(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Edge]:
    variant: Variant = request.param
    cache, recorder = SnapshotCache(), Recorder()
    server = new_server(cache, recorder)
    async with AsyncExitStack() as stack:
        ports = {name: await stack.enter_async_context(backend(name)) for name in ("a", "b")}
        xds_port = await server.start("127.0.0.1:0")
        cache.publish("edge", Snapshot.of(world(ports, {"a": 100, "b": 0})))
        envoy = await stack.enter_async_context(running_envoy(tmp_path, Dialect(variant), xds_port))
        await recorder.until(lambda: {CLUSTER, ENDPOINT, LISTENER, ROUTE} <= set(recorder.acks))
        listener_port = 0

        async def listening() -> bool:
            nonlocal listener_port
            listener_port = await envoy.port_of("l") or 0
            return listener_port > 0

        await eventually(listening)
        edge = Edge(envoy, cache, server, recorder, variant, xds_port, ports, listener_port)
        try:
            yield edge
        finally:
            await edge.server.stop(1)


async def load(edge: Edge, answers: list[str], stop: asyncio.Event) -> None:
    while not stop.is_set():
        answers.append(await edge.envoy.get(edge.listener_port))


async def test_a_weight_flip_is_acked_and_moves_the_traffic(edge: Edge) -> None:
    assert await edge.envoy.get(edge.listener_port) == "a"
    edge.recorder.pushes.clear()
    acks = len(edge.recorder.acks)
    edge.publish(*edge.world({"a": 0, "b": 100}))
    await edge.recorder.until(lambda: len(edge.recorder.acks) > acks)
    assert edge.recorder.pushes == [ROUTE]
    assert edge.recorder.refusals == []
    assert await edge.envoy.get(edge.listener_port) == "b"
    (view,) = edge.server.streams()
    assert (view.node_id, view.group, view.variant) == (f"node-{edge.variant}", "edge", edge.variant)
    assert {t.status for t in view.types.values()} == {SyncStatus.SYNCED}


async def test_clusters_replaced_under_load_cost_no_request(edge: Edge) -> None:
    answers: list[str] = []
    stop = asyncio.Event()
    loaders = [asyncio.create_task(load(edge, answers, stop)) for _ in range(4)]
    try:
        for round_number in range(10):
            name = f"{'ab'[round_number % 2]}{round_number}"
            edge.publish(*edge.world({name: 100}))
            edge.recorder.pushes.clear()
            await eventually(partial(is_only_cluster, edge, name))
            assert [t for t in edge.recorder.pushes if t in (CLUSTER, ROUTE)] == [CLUSTER, ROUTE, CLUSTER]
    finally:
        stop.set()
        await asyncio.gather(*loaders)
    assert set(answers) == {"a", "b"}
    assert edge.recorder.refusals == []


async def is_only_cluster(edge: Edge, name: str) -> bool:
    return await edge.envoy.clusters() == {"xds", name}


async def test_a_changed_cluster_warms_at_once_as_its_endpoints_follow(edge: Edge) -> None:
    edge.recorder.pushes.clear()
    acks = len(edge.recorder.acks)
    changed = [eds_cluster("a", connect_timeout_ms=250), *edge.world({"a": 100, "b": 0})[1:]]
    edge.publish(*changed)
    await edge.recorder.until(lambda: CLUSTER in edge.recorder.acks[acks:], seconds=5)
    assert edge.recorder.pushes[:2] == [CLUSTER, ENDPOINT]
    assert await edge.envoy.get(edge.listener_port) == "a"


async def test_a_refused_cluster_is_recorded_and_the_rest_moves_on(edge: Edge) -> None:
    good = edge.world({"a": 0, "b": 100})
    bad = Resource(CLUSTER, "bad", b"\x0a\x03bad\x10\x63")  # a cluster of the unknown discovery type 99
    edge.publish(bad, *good)
    await edge.recorder.until(lambda: bool(edge.recorder.refusals))
    (refusal,) = edge.recorder.refusals
    assert (refusal.node_id, refusal.type_url, refusal.names) == (f"node-{edge.variant}", CLUSTER, ("bad",))
    assert refusal.version
    assert "bad" in refusal.message
    await eventually(lambda: traffic_goes_to(edge, "b"))
    (view,) = edge.server.streams()
    assert view.types[CLUSTER].status is SyncStatus.NACKED
    assert view.types[CLUSTER].last_error == refusal.message
    edge.publish(*edge.world({"a": 100, "b": 0}))
    await eventually(lambda: traffic_goes_to(edge, "a"))
    assert len(edge.recorder.refusals) == 1


async def traffic_goes_to(edge: Edge, name: str) -> bool:
    return await edge.envoy.get(edge.listener_port) == name


async def test_a_restarted_server_sends_nothing_the_envoy_has(edge: Edge) -> None:
    await edge.server.stop(1)
    assert [reason for _, reason in edge.recorder.disconnected] == ["the server is shutting down"]
    assert await edge.envoy.get(edge.listener_port) == "a"

    recorder = Recorder()
    cache = SnapshotCache()
    edge.server = new_server(cache, recorder)
    assert await edge.server.start(f"127.0.0.1:{edge.xds_port}") == edge.xds_port
    cache.publish("edge", Snapshot.of(edge.world({"a": 100, "b": 0})))
    await recorder.until(lambda: bool(recorder.connected))
    await eventually(lambda: all_types_synced(edge.server))
    held_by_version = {CLUSTER, ENDPOINT, LISTENER, ROUTE} if edge.variant is Variant.DELTA else {CLUSTER, LISTENER}
    assert not held_by_version & set(recorder.pushes)

    recorder.pushes.clear()
    cache.publish("edge", Snapshot.of(edge.world({"a": 0, "b": 100})))
    await eventually(lambda: traffic_goes_to(edge, "b"))
    assert recorder.pushes == [ROUTE]
    assert recorder.refusals == []


def all_types_synced(server: XdsServer) -> bool:
    return any(
        len(view.types) == 4 and all(t.status is SyncStatus.SYNCED for t in view.types.values())
        for view in server.streams()
    )
