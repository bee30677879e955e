"""What a real Envoy finds when it probes for us: by TLS and plain, with the right Host, by the statuses we go by."""

import asyncio
import shutil
import ssl
import time
from contextlib import AsyncExitStack
from pathlib import Path

import grpc.aio
import pytest
from aiohttp import web

from bench.ports import free_ports
from penstock.signals.board import ObservationBoard
from penstock.signals.hds import HealthDiscovery
from penstock_envoy.bootstrap import render
from penstock_envoy.process import EnvoyProcess
from penstock_policies.schema import Cluster
from tests.envoy.test_edge_tls import certificate
from tests.signals.edge_policies import edge_policy
from tests.signals.signal_policies import cluster
from tests.signals.simulated_servers import serving

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate"),
]


def probed(name: str, port: int, trusted: Path | None = None) -> Cluster:
    tls = None if trusted is None else {"sni": "llm.test", "caFile": str(trusted)}
    quick = {"from": "edge", "interval": "300ms", "timeout": "250ms", "path": "/alive"}
    return cluster(name, ("127.0.0.1", port), tls=tls, **quick)


def served_with(pem: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


async def test_a_real_envoy_probes_as_traffic_would_go(tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    async def well(request: web.Request) -> web.Response:
        asked.append((request.path, request.host))
        return web.Response()

    async def guarded(_: web.Request) -> web.Response:
        return web.Response(status=403)

    async def broken(_: web.Request) -> web.Response:
        return web.Response(status=500)

    right, impostor = certificate(tmp_path, "llm.test"), certificate(tmp_path, "impostor.test")
    turned = asyncio.Event()
    async with AsyncExitStack() as stack:
        ports = {
            "secure": await stack.enter_async_context(serving(well, served_with(right))),
            "impostor": await stack.enter_async_context(serving(well, served_with(impostor))),
            "guarded": await stack.enter_async_context(serving(guarded)),
            "broken": await stack.enter_async_context(serving(broken)),
            "nobody": free_ports(1)[0],
        }
        trusted = {"secure": Path(f"{right}.crt"), "impostor": Path(f"{impostor}.crt")}
        policy = edge_policy([probed(name, port, trusted.get(name)) for name, port in ports.items()])
        board = ObservationBoard()
        board.apply(policy)
        service = HealthDiscovery(board, time.time, turned.set)
        await service.apply(policy)
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((service.handler(),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        stack.push_async_callback(server.stop, 5)
        stack.callback(service.stop)
        settling = asyncio.create_task(service.run())
        stack.callback(settling.cancel)
        # It never gets any configuration: probing asks for none.
        envoy = EnvoyProcess(render("a", "edge-eu-west", "127.0.0.1", port, admin_port=0, load_stats=False))
        stack.push_async_callback(asyncio.to_thread, envoy.stop)
        await asyncio.to_thread(envoy.start)

        def found() -> dict[str, bool]:
            told = board.snapshot(time.time()).edge_probes.get("eu-west", {})
            return {name: probe.consecutive_ok > 0 for name, by in told.items() for probe in by.values()}

        async with asyncio.timeout(30):
            while len(found()) < len(ports):
                turned.clear()
                await turned.wait()
        assert found() == {"secure": True, "impostor": False, "guarded": True, "broken": False, "nobody": False}
        assert set(asked) == {("/alive", f"llm.test:{ports['secure']}")}
        assert service.facts().refused == 0
