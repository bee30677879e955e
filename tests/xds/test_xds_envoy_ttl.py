"""Resources that expire, in a real Envoy: kept alive as long as the server is there, dropped when it is not."""

from pathlib import Path

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster

from penstock_xds import Resource, Snapshot, SnapshotCache, Variant, XdsServer
from penstock_xds.types import CLUSTER
from tests.xds.envoy_world import Dialect, eventually, running_envoy
from tests.xds.recorder import Recorder

pytestmark = pytest.mark.e2e

FEATURES = ["xds.config.supports-resource-ttl", "xds.config.resource-in-sotw"]
DIALECTS = [Dialect(variant, unified=unified) for variant in Variant for unified in (False, True)]


def static_cluster(name: str, ttl: float | None) -> Resource:
    message = Cluster(name=name, type=Cluster.STATIC)
    message.connect_timeout.seconds = 1
    message.load_assignment.cluster_name = name
    return Resource(CLUSTER, name, message.SerializeToString(deterministic=True), ttl=ttl)


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
async def test_a_cluster_lives_while_the_server_does_and_no_longer_than_its_time(
    dialect: Dialect, tmp_path: Path
) -> None:
    cache, recorder = SnapshotCache(), Recorder()
    server = XdsServer(cache, group_of=lambda node: node.cluster, identifier="test", listener=recorder)
    port = await server.start("127.0.0.1:0")
    cache.publish("edge", Snapshot.of([static_cluster("fleeting", 1.5), static_cluster("lasting", None)]))
    node = {"id": "node", "cluster": "edge", "client_features": FEATURES}
    async with running_envoy(tmp_path, dialect, port, extra={"node": node}) as envoy:
        try:
            # Ten answers, half a second apart, are more than three times its time to live.
            await recorder.until(lambda: recorder.acks.count(CLUSTER) >= 10)
            names = set((await envoy.stats("cluster[.](fleeting|lasting)[.]membership_total")).keys())
            assert names == {"cluster.fleeting.membership_total", "cluster.lasting.membership_total"}
            assert recorder.refusals == []
            updates = await envoy.stats("cluster_manager.cluster_(added|removed|modified)")
            assert (updates["cluster_manager.cluster_removed"], updates["cluster_manager.cluster_modified"]) == (0, 0)
        finally:
            await server.stop(0)

        async def expired() -> bool:
            return not await envoy.stats("cluster[.]fleeting[.]membership_total")

        await eventually(expired)
        assert await envoy.stats("cluster[.]lasting[.]membership_total")
