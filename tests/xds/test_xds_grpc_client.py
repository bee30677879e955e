"""gRPC's own xDS client resolves `xds:///` targets through the server and calls what it finds there."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest

from penstock_xds import Resource, Snapshot, SnapshotCache, Variant, XdsServer
from penstock_xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from tests.xds.envoy_world import weighted_route
from tests.xds.grpc_world import Caller, api_listener, grpc_assignment, grpc_backend, grpc_caller, grpc_cluster
from tests.xds.recorder import Recorder
from tests.xds.transcript import cluster, endpoints, listener, route

TYPES = {LISTENER, ROUTE, CLUSTER, ENDPOINT}

# What other clients of the group use; no gRPC client could make sense of the bodies.
UNRELATED = (cluster("x"), endpoints("x"), listener("y"), route("z", "x"))


@dataclass
class Mesh:
    caller: Caller
    cache: SnapshotCache
    server: XdsServer
    recorder: Recorder
    xds_port: int
    ports: Mapping[str, int]

    def publish(self, *resources: Resource) -> None:
        self.cache.publish("edge", Snapshot.of(resources))

    def world(self, weights: dict[str, int], **endpoints: str) -> tuple[Resource, ...]:
        """Clusters by weight, each with the backend of its own name unless told otherwise."""
        return (
            api_listener("shop", "shop-routes"),
            weighted_route("shop-routes", weights),
            *(grpc_cluster(name, f"{name}-service") for name in weights),
            *(grpc_assignment(f"{name}-service", self.ports[endpoints.get(name, name)]) for name in weights),
        )

    async def restart_server(self, *resources: Resource) -> Recorder:
        """Start another server in the place of the one that was stopped."""
        self.cache, self.recorder = SnapshotCache(), Recorder()
        self.publish(*resources)
        self.server = _server(self.cache, self.recorder)
        assert await self.server.start(f"127.0.0.1:{self.xds_port}") == self.xds_port
        return self.recorder


def _server(cache: SnapshotCache, recorder: Recorder) -> XdsServer:
    return XdsServer(cache, group_of=lambda node: node.cluster, identifier="test", listener=recorder)


@pytest.fixture
async def mesh() -> AsyncIterator[Mesh]:
    cache, recorder = SnapshotCache(), Recorder()
    server = _server(cache, recorder)
    async with AsyncExitStack() as stack:
        ports = {name: await stack.enter_async_context(grpc_backend(name)) for name in ("a", "b")}
        xds_port = await server.start("127.0.0.1:0")
        caller = await stack.enter_async_context(grpc_caller("shop", xds_port))
        mesh = Mesh(caller, cache, server, recorder, xds_port, ports)
        try:
            yield mesh
        finally:
            await mesh.server.stop(1)


@asynccontextmanager
async def calling(caller: Caller) -> AsyncIterator[None]:
    """Keep calling all the while."""
    stop = asyncio.Event()

    async def load() -> None:
        while not stop.is_set():
            await caller.call()

    task = asyncio.create_task(load())
    try:
        yield
    finally:
        stop.set()
        await task


async def more_calls(caller: Caller, count: int = 50) -> None:
    """Wait for that many further calls of the load to be answered."""
    answered = len(caller.answers) + len(caller.errors)
    async with asyncio.timeout(20):
        while len(caller.answers) + len(caller.errors) < answered + count:
            await caller.call()


async def test_it_resolves_and_calls_by_listener_route_cluster_and_endpoints(mesh: Mesh) -> None:
    mesh.publish(*mesh.world({"a": 100}))
    assert await mesh.caller.call() == "a"
    await mesh.recorder.until(lambda: set(mesh.recorder.acks) >= TYPES)
    (view,) = mesh.server.streams()
    assert (view.node_id, view.group, view.variant) == ("grpc-client", "edge", Variant.SOTW)
    assert view.types.keys() == TYPES
    assert mesh.recorder.pushes == [LISTENER, ROUTE, CLUSTER, ENDPOINT]
    assert mesh.recorder.refusals == []


async def test_it_waits_for_a_group_that_has_no_snapshot_yet(mesh: Mesh) -> None:
    call = asyncio.create_task(mesh.caller.call())
    await mesh.recorder.until(lambda: bool(mesh.recorder.connected))
    assert not call.done()
    mesh.publish(*mesh.world({"a": 100}))
    assert await call == "a"


async def test_it_follows_a_weight_change_and_no_call_fails(mesh: Mesh) -> None:
    mesh.publish(*mesh.world({"a": 100, "b": 0}))
    await mesh.caller.calls_go_to("a")
    async with calling(mesh.caller):
        mesh.recorder.pushes.clear()
        for weights, answering in (({"a": 50, "b": 50}, ("a", "b")), ({"a": 0, "b": 100}, ("b",))):
            mesh.publish(*mesh.world(weights))
            await mesh.caller.calls_go_to(*answering)
    # A cluster that has no weight is not one gRPC asks for, so the endpoints of "b" come with its first.
    assert [t for t in mesh.recorder.pushes if t == ROUTE] == [ROUTE, ROUTE]
    assert mesh.caller.errors == []
    assert mesh.recorder.refusals == []


async def test_it_follows_endpoints_and_no_call_fails(mesh: Mesh) -> None:
    mesh.publish(*mesh.world({"a": 100}))
    await mesh.caller.calls_go_to("a")
    async with calling(mesh.caller):
        mesh.recorder.pushes.clear()
        mesh.publish(*mesh.world({"a": 100}, a="b"))
        await mesh.caller.calls_go_to("b")
    assert mesh.recorder.pushes == [ENDPOINT]
    assert mesh.caller.errors == []


async def test_a_cluster_replaced_costs_no_call(mesh: Mesh) -> None:
    mesh.publish(*mesh.world({"a": 100}))
    await mesh.caller.calls_go_to("a")
    async with calling(mesh.caller):
        for name, old in (("b", "a"), ("a", "b"), ("b", "a")):
            # The old cluster goes once calls have left it. gRPC acknowledges routes before its calls under way have:
            # one that has picked a cluster which is gone the next moment waits out its deadline, once in a thousand.
            mesh.publish(*mesh.world({name: 100, old: 0}))
            await mesh.caller.calls_go_to(name)
            mesh.publish(*mesh.world({name: 100}))
            await mesh.caller.calls_go_to(name)
    assert mesh.caller.errors == []
    assert mesh.recorder.refusals == []


async def test_it_calls_on_while_the_server_is_away_and_follows_the_next_one(mesh: Mesh) -> None:
    world = mesh.world({"a": 100, "b": 0})
    mesh.publish(*world)
    await mesh.caller.calls_go_to("a")
    async with calling(mesh.caller):
        await mesh.server.stop(1)
        await more_calls(mesh.caller)
        recorder = await mesh.restart_server(*world)
        await recorder.until(lambda: bool(recorder.connected))
        await recorder.until(lambda: {ROUTE, ENDPOINT} <= set(recorder.acks))
        await more_calls(mesh.caller)
        # gRPC does not say which names its version stands for, so it is sent them once more; the endpoints twice if it
        # asked for them before their cluster.
        assert Counter(recorder.pushes) <= Counter({LISTENER: 1, ROUTE: 1, CLUSTER: 1, ENDPOINT: 2})
        assert set(mesh.caller.answers) == {"a"}
        recorder.pushes.clear()
        mesh.publish(*mesh.world({"a": 0, "b": 100}))
        await mesh.caller.calls_go_to("b")
    assert mesh.caller.errors == []
    assert recorder.refusals == []


async def test_what_changed_while_the_server_was_away_arrives_with_the_next_one(mesh: Mesh) -> None:
    # A new server cannot know the old cluster, which a State of the World client takes for its end: if it asks for
    # clusters first, calls under way are lost. gRPC's answer to that is this feature.
    async with grpc_caller("shop", mesh.xds_port, "ignore_resource_deletion") as caller:
        mesh.publish(*mesh.world({"a": 100}))
        await caller.calls_go_to("a")
        async with calling(caller):
            await mesh.server.stop(1)
            await mesh.restart_server(*mesh.world({"b": 100}))
            await caller.calls_go_to("b")
    assert caller.errors == []
    assert mesh.recorder.refusals == []


async def test_resources_of_others_are_no_error_to_it(mesh: Mesh) -> None:
    mesh.publish(*mesh.world({"a": 100}), *UNRELATED)
    await mesh.caller.calls_go_to("a")
    mesh.recorder.pushes.clear()
    mesh.publish(*mesh.world({"a": 100}), cluster("x", "new"), endpoints("x", "new"))
    mesh.publish(*mesh.world({"a": 100}, a="b"), *UNRELATED)
    await mesh.caller.calls_go_to("b")
    assert mesh.recorder.pushes == [ENDPOINT]
    assert mesh.recorder.refusals == []
    assert mesh.caller.errors == []
