"""What one Envoy refuses is kept from the others of its group, which go on with the last good version."""

from functools import partial
from pathlib import Path

import pytest
from envoy.config.route.v3.route_pb2 import RouteConfiguration

from penstock_xds import Resource, Variant
from penstock_xds.types import ROUTE
from tests.xds.envoy_edge import Tally, running_edge
from tests.xds.envoy_world import Dialect, Envoy, eventually, resource, running_envoy

pytestmark = pytest.mark.e2e

DIALECTS = [Dialect(variant, aggregated=aggregated) for variant in Variant for aggregated in (True, False)]


def _route_without_a_match(name: str) -> Resource:
    message = RouteConfiguration(name=name)
    message.virtual_hosts.add(name="all", domains=["*"]).routes.add().route.cluster = "a"
    return resource(ROUTE, name, message)


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
async def test_an_envoy_that_comes_later_is_not_sent_what_another_refused(dialect: Dialect, tmp_path: Path) -> None:
    first_place, second_place = tmp_path / "first", tmp_path / "second"
    first_place.mkdir()
    second_place.mkdir()
    async with running_edge(dialect, first_place) as edge:
        tally = Tally()
        good = edge.world({"a": 100, "b": 0})
        bad = _route_without_a_match("r")
        async with edge.load(tally):
            await edge.answers_come_from(tally, "a")
            edge.publish(bad, *(r for r in good if r.type_url != ROUTE))
            await eventually(lambda: bool(edge.cache.refusals("edge")))
            (quarantined,) = edge.cache.refusals("edge")
            assert (quarantined.type_url, quarantined.name, quarantined.version) == (ROUTE, "r", bad.version)
            assert quarantined.node_ids == (f"node-{dialect.variant}",)
            assert quarantined.served_instead == next(r.version for r in good if r.type_url == ROUTE)
            assert "Routes" in quarantined.message

            async with running_envoy(second_place, dialect, edge.xds_port, node_id="second") as second:
                port = await second.listening_port("l")
                assert await second.get(port) == "a"
                assert {r.node_id for r in edge.recorder.refusals} == {f"node-{dialect.variant}"}

                edge.publish(*edge.world({"a": 0, "b": 100}))
                await edge.answers_come_from(tally, "b")
                await eventually(partial(_answers, second, port, "b"))
        assert edge.cache.refusals() == ()
        assert not tally.failures, tally.summary()
        assert len(edge.recorder.refusals) == 1


async def _answers(envoy: Envoy, port: int, name: str) -> bool:
    return await envoy.get(port) == name
