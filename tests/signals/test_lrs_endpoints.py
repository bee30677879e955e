"""What a real Envoy with the generated configuration reports of single endpoints and their engines."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
import pytest
import yaml
from aiohttp import ClientSession, web

from penstock.signals.board import ObservationBoard
from penstock.signals.load_endpoints import EndpointLoad
from penstock.signals.lrs import LoadReports
from penstock_envoy.bootstrap import document
from penstock_envoy.compiler import Compiler
from penstock_envoy.process import EnvoyProcess
from penstock_envoy.static import static_bootstrap
from tests.envoy.fleet import GROUP, decision, fleet
from tests.signals.simulated_servers import serving

pytestmark = pytest.mark.e2e

SPOKEN = "TEXT named_metrics.kv_cache_usage_perc=0.25, named_metrics.num_requests_waiting="


@dataclass
class Engine:
    """An endpoint; ``waiting`` is what it says of its queue."""

    status: int = 200
    waiting: str = "3.0"
    asked: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(",".join(request.headers.getall("endpoint-load-metrics-format", [])))
        return web.Response(status=self.status, headers={"endpoint-load-metrics": SPOKEN + self.waiting})


@dataclass
class Edge:
    reports: LoadReports
    board: ObservationBoard
    engines: dict[str, Engine]
    url: str
    session: ClientSession
    changed: asyncio.Event

    async def ask(self) -> "dict[str, str]":
        body = b'{"model": "llama-3-70b"}'
        headers = {"content-type": "application/json", "endpoint-load-metrics-format": "JSON"}
        async with self.session.post(self.url, data=body, headers=headers) as answer:
            return {name.lower(): value for name, value in answer.headers.items()}

    def seen(self) -> dict[str, EndpointLoad]:
        regions = self.reports.endpoints("onprem-fra")
        return dict(regions.get("eu-west", {}))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def edge() -> AsyncIterator[Edge]:
    async with AsyncExitStack() as stack:
        engines = {name: Engine() for name in ("onprem-1", "onprem-2", "eu", "us")}
        ports = {name: await stack.enter_async_context(serving(each.answer)) for name, each in engines.items()}
        policy = fleet(
            {
                "onprem-fra": [("127.0.0.1", ports["onprem-1"]), ("127.0.0.1", ports["onprem-2"])],
                "cloud-eu-west": [("127.0.0.1", ports["eu"])],
                "cloud-us-east": [("127.0.0.1", ports["us"])],
            }
        )
        board, changed = ObservationBoard(), asyncio.Event()
        board.apply(policy)
        reports = LoadReports(board, lambda *_: "eu-west", time.time, changed.set)
        reports.apply(policy)
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((reports.handler(),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        stack.push_async_callback(server.stop, 5)
        stack.callback(reports.stop)
        summing = asyncio.create_task(reports.run())
        stack.callback(summing.cancel)
        resources = Compiler().compile(policy, decision(policy), GROUP)
        config = yaml.safe_load(static_bootstrap(resources, listener_ports=dict.fromkeys(policy.listeners, 0)))
        ours: Any = document("edge-1", GROUP, "127.0.0.1", port)
        config["node"], config["cluster_manager"] = ours["node"], ours["cluster_manager"]
        config["static_resources"]["clusters"] += ours["static_resources"]["clusters"]
        envoy = EnvoyProcess(yaml.safe_dump(config))
        stack.push_async_callback(asyncio.to_thread, envoy.stop)
        await asyncio.to_thread(envoy.start)
        await asyncio.to_thread(envoy.wait_ready)
        url = f"http://127.0.0.1:{await asyncio.to_thread(envoy.listener_port, 'public')}/v1/chat/completions"
        session = await stack.enter_async_context(ClientSession())
        running = Edge(reports, board, engines, url, session, changed)
        # What is asked before the first report has begun is not counted by Envoy.
        await running.until(lambda: bool(board.snapshot(time.time()).load))
        yield running


async def test_endpoints_and_what_their_engines_say_are_told_apart_and_clients_see_none_of_it() -> None:
    async with edge() as running:
        answers = [await running.ask() for _ in range(8)]
        assert not any(name.startswith("endpoint-load") for headers in answers for name in headers)
        asked = {word for engine in running.engines.values() for word in engine.asked}
        assert asked == {"TEXT"}

        def spoken() -> bool:
            return len(running.seen()) == 2 and all(each.metrics for each in running.seen().values())

        await running.until(spoken)
        for each in running.seen().values():
            assert each.metrics == pytest.approx({"num_requests_waiting": 3.0, "kv_cache_usage_perc": 0.25})
        engine = running.board.snapshot(time.time()).engines["onprem-fra"]
        assert engine.waiting == pytest.approx(6.0)
        assert engine.running is None

        # One endpoint goes bad behind everybody's back: clients notice nothing, its figures do.
        running.engines["onprem-1"].status = 500
        for _ in range(16):
            await running.ask()

        def failing() -> bool:
            return any(each.error_rate > 0 for each in running.seen().values())

        await running.until(failing)
        (bad,) = [key for key, each in running.seen().items() if each.error_rate > 0]
        assert running.seen()[bad].error_rate > 0.1
        others = [each for key, each in running.seen().items() if key != bad]
        assert [each.error_rate for each in others] == [0.0]
