"""gRPC's own xDS client, its backends and the resources that join them.

gRPC asks in its own way (State of the World on one stream, everything by name, no wildcard) and needs what Envoy does
not: an `api_listener`, and localities that have a name and a weight (gRFC A27).
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from grpc import aio

from penstock_xds import Resource
from penstock_xds.types import CLUSTER, ENDPOINT, LISTENER
from tests.xds.grpc_xds_caller import METHOD

CALLER = Path(__file__).with_name("grpc_xds_caller.py")


def _resource(type_url: str, name: str, message: Any) -> Resource:
    return Resource(type_url, name, message.SerializeToString(deterministic=True))


def api_listener(name: str, route_name: str) -> Resource:
    manager = HttpConnectionManager()
    manager.rds.route_config_name = route_name
    manager.rds.config_source.ads.SetInParent()
    manager.http_filters.add(name="router").typed_config.Pack(Router(), deterministic=True)
    message = Listener(name=name)
    message.api_listener.api_listener.Pack(manager, deterministic=True)
    return _resource(LISTENER, name, message)


def grpc_cluster(name: str, service: str) -> Resource:
    message = Cluster(name=name, type=Cluster.EDS, lb_policy=Cluster.ROUND_ROBIN)
    message.eds_cluster_config.eds_config.ads.SetInParent()
    message.eds_cluster_config.service_name = service
    return _resource(CLUSTER, name, message)


def grpc_assignment(service: str, *ports: int) -> Resource:
    message = ClusterLoadAssignment(cluster_name=service)
    locality = message.endpoints.add()
    locality.locality.region = "here"
    locality.load_balancing_weight.value = 1
    for port in ports:
        address = locality.lb_endpoints.add().endpoint.address.socket_address
        address.address, address.port_value = "127.0.0.1", port
    return _resource(ENDPOINT, service, message)


@asynccontextmanager
async def grpc_backend(name: str) -> AsyncIterator[int]:
    """A gRPC server that answers with its name; yields its port."""

    async def answer(_request: bytes, _context: Any) -> bytes:
        return name.encode()

    service, method = METHOD.strip("/").split("/")
    server = aio.server()
    handlers: Any = {method: grpc.unary_unary_rpc_method_handler(answer)}  # the stubs know no coroutines here
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)


class Caller:
    """A gRPC channel in a process of its own. Calls one after the other."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._turn = asyncio.Lock()
        self.answers: list[str] = []
        self.errors: list[str] = []

    async def call(self) -> str:
        """Call once; returns who answered, or the error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        async with self._turn, asyncio.timeout(40):
            self._process.stdin.write(b"call\n")
            line = await self._process.stdout.readline()
        assert line, "the calling process has ended; see its standard error"
        said: Mapping[str, str] = json.loads(line)
        if "error" in said:
            self.errors.append(said["error"])
            return said["error"]
        self.answers.append(said["answer"])
        return said["answer"]

    async def calls_go_to(self, *names: str, in_a_row: int = 20, seconds: float = 20.0) -> None:
        """Call until that many answers in a row come from these backends alone, and from each of them."""
        async with asyncio.timeout(seconds):
            recent: list[str] = []
            while len(recent) < in_a_row or set(recent) != set(names):
                recent = [*recent, await self.call()][-in_a_row:]


def _bootstrap(xds_port: int, *server_features: str) -> str:
    return json.dumps(
        {
            "xds_servers": [
                {
                    "server_uri": f"127.0.0.1:{xds_port}",
                    "channel_creds": [{"type": "insecure"}],
                    "server_features": ["xds_v3", *server_features],
                }
            ],
            "node": {"id": "grpc-client", "cluster": "edge"},
        }
    )


@asynccontextmanager
async def grpc_caller(target: str, xds_port: int, *server_features: str) -> AsyncIterator[Caller]:
    """Start a process that calls `xds:///target` whenever it is asked to.

    The features are those gRPC's bootstrap may say its xDS server has.
    """
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(CALLER),
        f"xds:///{target}",
        env={**environment, "GRPC_XDS_BOOTSTRAP_CONFIG": _bootstrap(xds_port, *server_features)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    try:
        yield Caller(process)
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
