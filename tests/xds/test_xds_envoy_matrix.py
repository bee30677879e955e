"""Every way Envoy can talk xDS, under load: whatever is published or refused, no request fails.

One Envoy per dialect serves all its scenarios; each begins by publishing its own world.
"""

from collections.abc import AsyncIterator
from functools import partial
from itertools import product

import pytest
import pytest_asyncio
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration

from penstock_xds import Resource, Variant
from penstock_xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from tests.xds.envoy_edge import TYPES, Edge, Tally, running_edge
from tests.xds.envoy_world import Dialect, eventually, resource

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]

DIALECTS = [
    Dialect(variant, aggregated=aggregated, unified=unified)
    for variant, aggregated, unified in product(Variant, (True, False), (False, True))
]


def _route_that_matches_nothing(name: str) -> Resource:
    message = RouteConfiguration(name=name)
    message.virtual_hosts.add(name="all", domains=["*"]).routes.add().route.cluster = "a"
    return resource(ROUTE, name, message)


def _endpoint_without_address(name: str) -> Resource:
    message = ClusterLoadAssignment(cluster_name=name)
    address = message.endpoints.add().lb_endpoints.add().endpoint.address.socket_address
    address.address, address.port_value = "nowhere", 1
    return resource(ENDPOINT, name, message)


BAD = [
    resource(CLUSTER, "bad", Cluster(name="bad", type=99)),
    resource(LISTENER, "bad", Listener(name="bad")),
    _route_that_matches_nothing("r"),
    _endpoint_without_address("b"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=DIALECTS, ids=str)
async def edge(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    async with running_edge(request.param, tmp_path_factory.mktemp("envoy")) as edge:
        yield edge


@pytest.fixture
def tally() -> Tally:
    return Tally()


async def begin(edge: Edge, weights: dict[str, int]) -> None:
    """Bring the Envoy to a world, whatever the scenario before left."""
    edge.publish(*edge.world(weights))
    await eventually(partial(edge.settled, *weights))
    edge.recorder.pushes.clear()
    edge.recorder.refusals.clear()


async def test_weight_flips_cost_no_request(edge: Edge, tally: Tally) -> None:
    await begin(edge, {"a": 100, "b": 0})
    async with edge.load(tally):
        for number in range(20):
            weights = ({"a": 0, "b": 100}, {"a": 100, "b": 0})[number % 2]
            tally.doing = f"flip {number} to {weights}"
            edge.publish(*edge.world(weights))
            await edge.answers_come_from(tally, "ba"[number % 2])
    assert not tally.failures, tally.summary()
    assert edge.recorder.refusals == []
    assert edge.recorder.pushes == [ROUTE] * 20


async def test_endpoint_changes_cost_no_request(edge: Edge, tally: Tally) -> None:
    await begin(edge, {"a": 100})
    async with edge.load(tally):
        for number in range(20):
            name = "ba"[number % 2]
            tally.doing = f"endpoint change {number} to {name}"
            edge.publish(*edge.world({"a": 100}, a=name))
            await edge.answers_come_from(tally, name)
    assert not tally.failures, tally.summary()
    assert edge.recorder.refusals == []
    assert edge.recorder.pushes == [ENDPOINT] * 20


async def test_two_hundred_routes_pointed_to_new_clusters_as_the_old_ones_go_cost_no_request(
    edge: Edge, tally: Tally
) -> None:
    await begin(edge, {"a": 100})
    async with edge.load(tally):
        for number in range(200):
            name = f"{'ba'[number % 2]}{number}"
            tally.doing = f"re-point {number}"
            edge.publish(*edge.world({name: 100}))
            await eventually(partial(edge.has_only_clusters, name))
        await edge.answers_come_from(tally, "a")
    assert not tally.failures, tally.summary()
    assert edge.recorder.refusals == []


async def test_clusters_replaced_faster_than_envoy_can_follow_cost_no_request(edge: Edge, tally: Tally) -> None:
    await begin(edge, {"a": 100})
    async with edge.load(tally):
        for number in range(30):
            tally.doing = f"storm, replacement {number}"
            edge.publish(*edge.world({f"{'ba'[number % 2]}-storm{number}": 100}))
            await edge.requests(tally, 3)
        await eventually(partial(edge.has_only_clusters, "a-storm29"))
        await edge.answers_come_from(tally, "a")
    assert not tally.failures, tally.summary()
    assert edge.recorder.refusals == []


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.type_url.rpartition(".")[2])
async def test_what_envoy_refuses_is_told_once_and_the_rest_moves_on(edge: Edge, tally: Tally, bad: Resource) -> None:
    await begin(edge, {"a": 100, "b": 0})
    async with edge.load(tally):
        tally.doing = f"refusal of {bad.name}"
        # The traffic moves by the endpoints of `a`, whatever of the rest is refused.
        rest = [r for r in edge.world({"a": 100, "b": 0}, a="b") if (r.type_url, r.name) != (bad.type_url, bad.name)]
        edge.publish(bad, *rest)
        await edge.answers_come_from(tally, "b")
        await edge.recorder.until(lambda: bool(edge.recorder.refusals))
        edge.publish(bad, *(r for r in edge.world({"a": 100, "b": 0}) if r in rest or r.name == "a"))
        await edge.answers_come_from(tally, "a")
        (refusal,) = edge.recorder.refusals
        assert (refusal.type_url, refusal.names) == (bad.type_url, (bad.name,))
        assert refusal.version
        tally.doing = f"recovery from {bad.name}"
        edge.publish(*edge.world({"a": 0, "b": 100}))
        await edge.answers_come_from(tally, "b")
    assert not tally.failures, tally.summary()
    assert len(edge.recorder.refusals) == 1


async def test_a_replica_in_its_place_and_its_return_send_envoy_nothing_it_has(edge: Edge, tally: Tally) -> None:
    await begin(edge, {"a": 100, "b": 0})
    world = edge.world({"a": 100, "b": 0})
    # State of the World does not say which names a version stands for, so what is asked for by name comes again.
    known_by_version = TYPES if edge.dialect.variant is Variant.DELTA else {CLUSTER, LISTENER}
    before = await edge.updates()
    async with edge.load(tally):
        tally.doing = "handover to a replica"
        await edge.server.stop(2)
        async with edge.replica(world) as replica:
            await eventually(partial(replica.is_in_step_on, TYPES))
            assert not known_by_version & set(replica.pushes)
            tally.doing = "death of the replica"
        await edge.requests(tally, 20)
        tally.doing = "return of the first server"
        await edge.start_anew(*world)
        await eventually(partial(edge.is_in_step_on, TYPES))
        assert not known_by_version & set(edge.recorder.pushes)
        after = await edge.updates()
        assert after.keys() == before.keys()
        moved = {name for name in after if after[name] != before[name]}
        assert not {name for name in moved if edge.updates_of(name) in known_by_version}
        assert not {name for name in moved if name.endswith(("config_reload", "update_rejected"))}
        edge.publish(*edge.world({"a": 0, "b": 100}))
        await edge.answers_come_from(tally, "b")
    assert not tally.failures, tally.summary()
    assert edge.recorder.refusals == []
