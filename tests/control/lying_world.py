"""A control plane whose every source a test can make lie: engines, a price feed, an Envoy's load reports, the clock."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
from aiohttp import web
from aiohttp.test_utils import TestServer
from envoy.service.load_stats.v3 import lrs_pb2

from penstock.demo.endpoint import SimulatedEndpoint
from tests.control.serving_world import SURROUNDINGS, World, serve

_REPORT_SECONDS = 0.25
"""Several within each of the edges' one-second intervals: none is missed by a busy machine."""

LRS = "/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats"

POLICY = (
    """
apiVersion: penstock/v1
kind: CostFeed
metadata: {{name: prices}}
spec: {{type: http, url: "http://127.0.0.1:{feed}/prices", refresh: 100ms, maxAge: 1h, maxUnchanged: 2h}}
---
apiVersion: penstock/v1
kind: Cluster
metadata: {{name: onprem}}
spec:
  site: on_prem
  region: eu-central
  engine: vllm
  models: [m]
  endpoints: [{{address: 127.0.0.1, port: {onprem}}}]
  capacity: {{concurrency: 64}}
  cost: {{usdPerMillionTokens: 1}}
  health: {{interval: 200ms, timeout: 5s, unhealthyThreshold: 2, healthyThreshold: 1, rampInterval: 100ms}}
---
apiVersion: penstock/v1
kind: Cluster
metadata: {{name: cloud}}
spec:
  site: cloud
  region: eu-west
  engine: vllm
  models: [m]
  endpoints: [{{address: 127.0.0.1, port: {cloud}}}]
  capacity: {{concurrency: 64}}
  cost: {{feed: prices, key: cloud, usdPerMillionTokens: 2}}
  health: {{interval: 200ms, timeout: 5s, unhealthyThreshold: 2, healthyThreshold: 1, rampInterval: 100ms}}
---
apiVersion: penstock/v1
kind: TrafficPolicy
metadata: {{name: chat}}
spec:
  match: {{path: /v1/}}
  dataClass: public
  clusters: [onprem, cloud]
  limits: {{maxStep: 100%, minDwell: 0s}}
"""
    + SURROUNDINGS
)
"""The cloud is cheaper by its feed (0.5) and dearer by its declared price (2): where the feed is believed, public
traffic is in the cloud."""

GOOD = '{"prices": [{"key": "cloud", "usdPerMillionTokens": 0.5}]}'


class Clock:
    """The machine's clock, and how far somebody has set it off."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@dataclass(slots=True)
class Feed:
    """What the price feed answers."""

    body: str = GOOD
    status: int = 200
    asked: int = 0

    async def answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        return web.Response(text=self.body, status=self.status, content_type="application/json")


@dataclass
class Edge:
    """An Envoy's load reports, said by the test over and over until it says otherwise."""

    clusters: dict[str, dict[str, int]] = field(default_factory=dict)
    """Cluster to the fields of its locality, over one second; empty: the Envoy is silent."""

    def report(self) -> bytes:
        """One report."""
        request = lrs_pb2.LoadStatsRequest()
        for name, figures in self.clusters.items():
            stats = request.cluster_stats.add(cluster_name=name)
            stats.load_report_interval.seconds = 1
            stats.upstream_locality_stats.add(**figures)
        return bytes(request.SerializeToString())


@dataclass
class Lies:
    """What a test does and asks."""

    world: World
    clock: Clock
    feed: Feed
    engines: dict[str, SimulatedEndpoint] = field(default_factory=dict)

    async def cluster(self, name: str) -> Any:
        """What the API shows of a cluster."""
        items = (await self.world.ask("/api/v1/clusters"))["items"]
        return next(each for each in items if each["name"] == name)

    async def weights(self) -> dict[str, dict[str, int]]:
        """The weights of every row."""
        return {
            f"{row['policy']}/{row['model']}": row["weights"]
            for row in (await self.world.ask("/api/v1/weights"))["items"]
        }

    async def chat(self) -> dict[str, int]:
        """The weights of public traffic."""
        return (await self.weights())["chat/m"]

    async def findings(self) -> str:
        """All that an operator is told, as one text."""
        return "\n".join(each["message"] for each in (await self.world.ask("/api/v1/status"))["findings"])

    async def feed_status(self) -> Any:
        """How the feed stands."""
        (feed,) = (await self.world.ask("/api/v1/status"))["feeds"]
        return feed

    async def decisions(self, count: int) -> None:
        """Wait until so many more decisions were made."""
        seen: set[str] = set()
        async with asyncio.timeout(30):
            while len(seen) <= count:
                seen.add((await self.world.ask("/api/v1/status"))["engine"]["at"])
                await asyncio.sleep(0.02)

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Ask until it is so: over HTTP nothing wakes the asker."""
        async with asyncio.timeout(30):
            while not await condition():  # noqa: ASYNC110 - see above
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def edge(self) -> AsyncIterator[Edge]:
        """An Envoy of the group inside the block."""
        edge = Edge()
        async with (
            grpc.aio.insecure_channel(self.world.plane.xds_address) as channel,
            asyncio.TaskGroup() as tasks,
        ):
            call = channel.stream_stream(LRS, _as_it_is, _as_it_is)(None)
            first = lrs_pb2.LoadStatsRequest(node={"id": "edge-1", "cluster": "edge"})
            await call.write(first.SerializeToString())
            await call.read()

            async def talk() -> None:
                while True:
                    if edge.clusters:
                        await call.write(edge.report())
                    await asyncio.sleep(_REPORT_SECONDS)

            talking = tasks.create_task(talk())
            yield edge
            talking.cancel()
            call.cancel()


def _as_it_is(message: bytes) -> bytes:
    return message


@asynccontextmanager
async def lies(tmp_path: Path) -> AsyncIterator[Lies]:
    """Serving inside the block, public traffic in the cloud because the feed says that it is cheap."""
    clock, feed = Clock(), Feed()
    async with AsyncExitStack() as stack:
        app = web.Application()
        app.router.add_get("/prices", feed.answer)
        server = await stack.enter_async_context(TestServer(app, host="127.0.0.1"))
        world, engines = await serve(stack, tmp_path, POLICY, clock=clock, feed=server.port or 0)
        it = Lies(world, clock, feed, engines)

        async def settled() -> bool:
            return (await it.chat()) == {"cloud": 10_000, "onprem": 0}

        await it.until(settled)
        yield it
