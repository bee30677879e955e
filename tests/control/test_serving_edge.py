"""A whole control plane whose clusters are probed from the edge, and what checkers that lie can do."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
from envoy.config.core.v3 import health_check_pb2
from envoy.service.health.v3 import hds_pb2

from penstock.signals.hds import METHOD, SERVICE
from tests.control.serving_world import POLICY, World, serve

EDGE_POLICY = (
    POLICY.replace(
        "capacity: {{concurrency: 64}}",
        "capacity: {{concurrency: 64}}\n  health: {{from: edge, interval: 200ms, timeout: 100ms, unhealthyThreshold: 2,"
        " healthyThreshold: 1, rampInterval: 100ms}}",
    )
    + """
---
apiVersion: penstock/v1
kind: NodeGroup
metadata: {{name: abroad}}
spec: {{match: {{cluster: abroad}}, region: us-east, listeners: [public]}}
"""
)


@dataclass
class Checker:
    """An Envoy that says of every endpoint it is asked about what the test wants."""

    ill: frozenset[str] = frozenset()
    """Clusters that it calls unhealthy."""
    asked: hds_pb2.HealthCheckSpecifier | None = None

    def report(self) -> bytes:
        message = hds_pb2.HealthCheckRequestOrEndpointHealthResponse()
        assert self.asked is not None
        for check in self.asked.cluster_health_checks:
            told = message.endpoint_health_response.cluster_endpoints_health.add(cluster_name=check.cluster_name)
            place = told.locality_endpoints_health.add()
            for endpoint in check.locality_endpoints[0].endpoints:
                one = place.endpoints_health.add(endpoint=endpoint)
                lost = check.cluster_name in self.ill
                one.health_status = health_check_pb2.UNHEALTHY if lost else health_check_pb2.HEALTHY
        written: bytes = message.SerializeToString()
        return written


def _as_it_is(message: bytes) -> bytes:
    return message


@asynccontextmanager
async def checking(world: World, node: str, group: str) -> AsyncIterator[Checker]:
    """A checker that reports twice a second inside the block."""
    checker = Checker()
    async with grpc.aio.insecure_channel(world.plane.xds_address) as channel, asyncio.TaskGroup() as tasks:
        call = channel.stream_stream(f"/{SERVICE}/{METHOD}", _as_it_is, _as_it_is)(None)
        first = hds_pb2.HealthCheckRequestOrEndpointHealthResponse()
        first.health_check_request.node.id, first.health_check_request.node.cluster = node, group
        await call.write(first.SerializeToString())
        checker.asked = hds_pb2.HealthCheckSpecifier.FromString(await call.read())

        async def talk() -> None:
            while True:
                await call.write(checker.report())
                await asyncio.sleep(0.5)

        talking = tasks.create_task(talk())
        yield checker
        talking.cancel()
        call.cancel()


async def homes(world: World) -> dict[str, int]:
    """By region, what on-prem gets of public traffic."""
    rows = (await world.ask("/api/v1/weights?policy=chat"))["items"]
    return {row["region"]: row["weights"]["onprem"] for row in rows if row["model"] == "m"}


async def test_one_checker_that_lies_moves_nothing_and_two_of_three_their_own_region_alone(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        world, _ = await serve(stack, tmp_path, EDGE_POLICY)
        here = [await stack.enter_async_context(checking(world, f"edge-{n}", "edge")) for n in range(3)]
        await stack.enter_async_context(checking(world, "abroad-0", "abroad"))

        async def votes(region: str) -> tuple[int, int]:
            items = (await world.ask("/api/v1/clusters"))["items"]
            [seen] = [one["health"]["regions"] for one in items if one["name"] == "onprem"]
            [endpoint] = next(each["endpoints"] for each in seen if each["region"] == region)
            return endpoint["well"], endpoint["ill"]

        async def until(condition: Callable[[], Awaitable[bool]]) -> None:
            """Ask until it is so: over HTTP nothing wakes the asker."""
            async with asyncio.timeout(30):
                while not await condition():  # noqa: ASYNC110 - see above
                    await asyncio.sleep(0.05)

        async def until_votes(region: str, well: int, ill: int) -> None:
            async def so() -> bool:
                return await votes(region) == (well, ill)

            await until(so)

        async def until_homes(here: int, there: int) -> None:
            async def so() -> bool:
                return await homes(world) == {"eu-central": here, "us-east": there}

            await until(so)

        async def two_decisions() -> None:
            made: set[str] = set()

            async def so() -> bool:
                made.add((await world.ask("/api/v1/status"))["engine"]["at"])
                return len(made) > 2

            await until(so)

        await until_votes("eu-central", 3, 0)
        await until_votes("us-east", 1, 0)
        await until_homes(10_000, 10_000)
        here[0].ill = frozenset({"onprem"})
        await until_votes("eu-central", 2, 1)
        await two_decisions()
        assert await homes(world) == {"eu-central": 10_000, "us-east": 10_000}
        here[1].ill = frozenset({"onprem"})
        await until_homes(0, 10_000)
        # Restricted data has nowhere else to go, and goes nowhere else.
        [records] = (await world.ask("/api/v1/weights?policy=records"))["items"][:1]
        assert records["weights"] == {"onprem": 10_000}
        fallen: list[str] = []

        async def recorded() -> bool:
            items = (await world.ask("/api/v1/decisions"))["items"]
            fallen[:] = [
                one["id"] for one in items if any(turn.get("region") == "eu-central" for turn in one["health"])
            ]
            return bool(fallen)

        await until(recorded)
        checked = await world.ask(f"/api/v1/decisions/{fallen[0]}/verify", "POST")
        assert checked["verified"], checked
        metrics = await world.metrics()
        assert 'penstock_cluster_region_ceiling{cluster="onprem",region="eu-central"} 0.0' in metrics
        assert 'penstock_cluster_region_ceiling{cluster="onprem",region="us-east"} 1.0' in metrics
        assert 'penstock_edge_checkers{region="eu-central"} 3.0' in metrics
