"""Several streams may carry one node id: each is a client of its own, unless they are one client's separate streams."""

import pytest

from penstock_xds.protos import DeltaDiscoveryRequest
from penstock_xds.types import CLUSTER, ENDPOINT, ROUTE
from tests.xds.shell_setting import NODE, Start, Stream, eventually
from tests.xds.transcript import cluster, endpoints, route

CLUSTERS = "/envoy.service.cluster.v3.ClusterDiscoveryService/DeltaClusters"
ENDPOINTS = "/envoy.service.endpoint.v3.EndpointDiscoveryService/DeltaEndpoints"
ROUTES = "/envoy.service.route.v3.RouteDiscoveryService/DeltaRoutes"


async def test_two_streams_of_one_node_have_a_subscription_and_a_state_each(start: Start) -> None:
    setting = await start()
    setting.publish(route("r"), route("s"))
    first, second = setting.stream(), setting.stream()
    for stream, name in ((first, "r"), (second, "s")):
        response = await stream.ask(ROUTE, name)
        assert [r.name for r in response.resources] == [name]
        await stream.accept(response)
    await first.say(DeltaDiscoveryRequest(type_url=ROUTE, resource_names_subscribe=["s"]))
    assert [r.name for r in (await first.hear()).resources] == ["s"]
    held = [
        {view.name for view in setting.server.resource_views(stream.stream_id)[ROUTE]}
        for stream in setting.server.streams()
    ]
    assert held == [{"r", "s"}, {"s"}]


@pytest.mark.parametrize("same_connection", [True, False])
async def test_only_separate_streams_on_one_connection_wait_for_one_another(
    start: Start, *, same_connection: bool
) -> None:
    setting = await start()
    setting.publish(cluster("old"), endpoints("old"), route("r", "old"))
    clusters, fed, routes = (setting.stream(method) for method in (CLUSTERS, ENDPOINTS, ROUTES))
    await clusters.accept(await clusters.ask(CLUSTER))
    await fed.accept(await fed.ask(ENDPOINT, "old"))
    channel = setting.new_channel()
    others = routes if same_connection else Stream(channel, ROUTES)
    await others.accept(await others.ask(ROUTE, "r", node=NODE))
    await eventually(lambda: len(setting.recorder.acks) == 3)
    setting.publish(cluster("new"), endpoints("new"), route("r", "new"))
    added = await clusters.hear()
    assert [r.name for r in added.resources] == ["new"]
    if same_connection:
        # Sent only when its cluster and that one's endpoints are there.
        assert setting.recorder.pushes.count(ROUTE) == 1
        await clusters.accept(added)
        await fed.accept(await fed.ask(ENDPOINT, "new"))
    assert [r.name for r in (await others.hear()).resources] == ["r"]
    await channel.close()
