"""Load reports of a real Envoy, through a composite leg."""

import asyncio
import time
from contextlib import AsyncExitStack

import grpc.aio
import pytest
from aiohttp import ClientSession, web

from penstock.signals.board import ObservationBoard
from penstock.signals.lrs import LoadReports
from penstock_envoy.process import EnvoyProcess
from penstock_policies.observations import Load
from tests.signals.lrs_edge import bootstrap
from tests.signals.signal_policies import cluster, policy_set
from tests.signals.simulated_servers import serving

pytestmark = pytest.mark.e2e


class Board(ObservationBoard):
    """A board that can be waited for; ``changed`` is set at every telling."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = asyncio.Event()

    def facts(self) -> dict[str, Load]:
        return dict(self.snapshot(time.time()).load.get("eu-west", {}))

    async def until(self, **in_flight: int) -> dict[str, Load]:
        async with asyncio.timeout(20):
            while True:
                facts = self.facts()
                if all(name in facts and facts[name].in_flight == count for name, count in in_flight.items()):
                    return facts
                await self.changed.wait()
                self.changed.clear()


async def test_requests_through_a_composite_leg_are_reported_under_the_member_that_carries_them() -> None:
    release = asyncio.Event()
    first_status = 200

    async def first(_: web.Request) -> web.Response:
        if first_status == 200:
            await release.wait()
        return web.Response(status=first_status)

    async def second(_: web.Request) -> web.Response:
        await release.wait()
        return web.Response()

    async with AsyncExitStack() as stack:
        ports = [await stack.enter_async_context(serving(handler)) for handler in (first, second)]
        board = Board()
        members = zip(("first", "second"), ports, strict=True)
        policy = policy_set([cluster(name, ("127.0.0.1", port)) for name, port in members])
        board.apply(policy)
        service = LoadReports(board, lambda _, group: {"edge-eu": "eu-west"}.get(group), time.time, board.changed.set)
        service.apply(policy)
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((service.handler(),))
        lrs_port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        stack.push_async_callback(server.stop, 5)
        stack.callback(service.stop)
        summing = asyncio.create_task(service.run())
        stack.callback(summing.cancel)
        envoy = EnvoyProcess(bootstrap(lrs_port=lrs_port, first_port=ports[0], second_port=ports[1]))
        stack.push_async_callback(asyncio.to_thread, envoy.stop)
        await asyncio.to_thread(envoy.start)
        await asyncio.to_thread(envoy.wait_ready)
        url = f"http://127.0.0.1:{await asyncio.to_thread(envoy.listener_port, 'edge')}/"
        session = await stack.enter_async_context(ClientSession())

        async def get() -> int:
            async with session.get(url) as response:
                return response.status

        idle = await board.until(first=0, second=0)
        assert set(idle) == {"first", "second"}
        assert idle["first"].reporters == 1

        held = [asyncio.create_task(get()) for _ in range(3)]
        await board.until(first=3, second=0)
        release.set()
        assert await asyncio.gather(*held) == [200] * 3
        await board.until(first=0, second=0)

        release.clear()
        first_status = 503
        retried = [asyncio.create_task(get()) for _ in range(4)]
        facts = await board.until(first=0, second=4)
        assert facts["first"].error_rate > 0
        assert facts["second"].error_rate == 0
        release.set()
        assert await asyncio.gather(*retried) == [200] * 4
