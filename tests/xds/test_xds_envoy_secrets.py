"""Secrets, runtime layers and extension configurations against the real Envoy: SDS, RTDS and ECDS."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.http.fault.v3.fault_pb2 import HTTPFault
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import DownstreamTlsContext
from envoy.service.runtime.v3.rtds_pb2 import Runtime

from penstock_xds import Resource, Snapshot, SnapshotCache, Variant, XdsServer
from penstock_xds.types import EXTENSION_CONFIG, LISTENER, RUNTIME, SECRET
from tests.xds.certificates import self_signed
from tests.xds.envoy_world import (
    Dialect,
    answering,
    assignment,
    config_source,
    eds_cluster,
    eventually,
    resource,
    running_envoy,
    weighted_route,
)
from tests.xds.recorder import Recorder

pytestmark = pytest.mark.e2e

DIALECTS = [Dialect(variant, aggregated=aggregated) for variant in Variant for aggregated in (True, False)]


@dataclass(frozen=True)
class Certificate:
    chain: bytes
    key: bytes

    @property
    def der(self) -> bytes:
        return ssl.PEM_cert_to_DER_cert(self.chain.decode())

    def secret(self, name: str) -> Resource:
        message = Secret(name=name)
        message.tls_certificate.certificate_chain.inline_bytes = self.chain
        message.tls_certificate.private_key.inline_bytes = self.key
        return resource(SECRET, name, message)


async def certificate(directory: Path, common_name: str) -> Certificate:
    issued = await asyncio.to_thread(self_signed, directory, common_name)
    return Certificate(issued.certificate.read_bytes(), issued.key.read_bytes())


@pytest.fixture(params=DIALECTS, ids=str)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    found: Dialect = request.param
    return found


class Control:
    """A server and what it publishes."""

    def __init__(self) -> None:
        self.cache, self.recorder = SnapshotCache(), Recorder()
        self.server = XdsServer(
            self.cache, group_of=lambda node: node.cluster, identifier="test", listener=self.recorder
        )

    def publish(self, *resources: Resource) -> None:
        self.cache.publish("edge", Snapshot.of(resources))


@pytest.fixture
async def control() -> AsyncIterator[tuple[Control, int]]:
    control = Control()
    port = await control.server.start("127.0.0.1:0")
    try:
        yield control, port
    finally:
        await control.server.stop(1)


def https_listener(secret: str, dialect: Dialect) -> Resource:
    context = DownstreamTlsContext()
    context.common_tls_context.tls_certificate_sds_secret_configs.add(name=secret).sds_config.CopyFrom(
        config_source(dialect)
    )
    message = _listener(dialect, HttpConnectionManager(stat_prefix="l"))
    chain = message.filter_chains[0]
    chain.transport_socket.name = "envoy.transport_sockets.tls"
    chain.transport_socket.typed_config.Pack(context, deterministic=True)
    return resource(LISTENER, "l", message)


def faulty_listener(extension: str, dialect: Dialect) -> Resource:
    manager = HttpConnectionManager(stat_prefix="l")
    discovery = manager.http_filters.add(name=extension).config_discovery
    discovery.config_source.CopyFrom(config_source(dialect))
    discovery.type_urls.append("type.googleapis.com/" + HTTPFault.DESCRIPTOR.full_name)
    return resource(LISTENER, "l", _listener(dialect, manager))


def _listener(dialect: Dialect, manager: HttpConnectionManager) -> Listener:
    manager.rds.route_config_name = "r"
    manager.rds.config_source.CopyFrom(config_source(dialect))
    manager.http_filters.add(name="envoy.filters.http.router").typed_config.Pack(Router(), deterministic=True)
    message = Listener(name="l")
    message.address.socket_address.address = "127.0.0.1"
    message.address.socket_address.port_value = 0
    message.filter_chains.add().filters.add(name="envoy.filters.network.http_connection_manager").typed_config.Pack(
        manager, deterministic=True
    )
    return message


def fault(name: str, status: int) -> Resource:
    message = HTTPFault()
    message.abort.http_status = status
    message.abort.percentage.numerator = 100
    extension = TypedExtensionConfig(name=name)
    extension.typed_config.Pack(message, deterministic=True)
    return resource(EXTENSION_CONFIG, name, extension)


def runtime(name: str, value: int) -> Resource:
    message = Runtime(name=name)
    message.layer["penstock.test"] = value
    return resource(RUNTIME, name, message)


@asynccontextmanager
async def slow_backend(go_on: asyncio.Event) -> AsyncIterator[int]:
    """Answers in two parts, the second when it is told to."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first ")
        await go_on.wait()
        await response.write(b"second")
        await response.write_eof()
        return response

    async with answering(answer) as port:
        yield port


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def shown_certificate(port: int) -> bytes:
    """The certificate a new connection is shown."""
    _reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=_unverified())
    try:
        found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.close()
        await writer.wait_closed()
    return found


async def test_a_rotated_certificate_is_shown_to_new_connections_and_drops_none(
    dialect: Dialect, control: tuple[Control, int], tmp_path: Path
) -> None:
    server, xds_port = control
    first, second = await certificate(tmp_path, "first"), await certificate(tmp_path, "second")
    go_on = asyncio.Event()
    async with slow_backend(go_on) as backend_port:

        def world(shown: Certificate) -> tuple[Resource, ...]:
            return (
                eds_cluster("a", dialect=dialect),
                assignment("a", backend_port),
                https_listener("certificate", dialect),
                weighted_route("r", {"a": 100}),
                shown.secret("certificate"),
            )

        server.publish(*world(first))
        async with (
            running_envoy(tmp_path, dialect, xds_port) as envoy,
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http,
        ):
            port = await envoy.listening_port("l")
            assert await shown_certificate(port) == first.der
            async with http.get(f"https://127.0.0.1:{port}/", ssl=_unverified()) as response:
                assert await response.content.readany() == b"first "
                server.recorder.pushes.clear()
                server.publish(*world(second))

                async def rotated() -> bool:
                    return await shown_certificate(port) == second.der

                await eventually(rotated)
                assert server.recorder.pushes == [SECRET]
                go_on.set()
                assert await response.content.read() == b"second"
    assert server.recorder.refusals == []


async def test_a_runtime_layer_is_followed(dialect: Dialect, control: tuple[Control, int], tmp_path: Path) -> None:
    server, xds_port = control
    layer = {"name": "dynamic", "rtds_layer": {"name": "dynamic", "rtds_config": dialect.source}}
    flags = {
        "name": "flags",
        "static_layer": {"envoy.reloadable_features.unified_mux": dialect.unified, "penstock.test": 1},
    }
    server.publish(runtime("dynamic", 2))
    extra = {"layered_runtime": {"layers": [flags, layer]}}
    async with running_envoy(tmp_path, dialect, xds_port, extra=extra) as envoy:

        async def shows(value: int) -> bool:
            entries = json.loads(await envoy.ask_admin("/runtime"))["entries"]
            found: str | None = entries.get("penstock.test", {}).get("final_value")
            return found == str(value)

        await eventually(lambda: shows(2))
        server.publish(runtime("dynamic", 3))
        await eventually(lambda: shows(3))
    assert server.recorder.refusals == []


async def test_an_extension_configuration_is_followed(
    dialect: Dialect, control: tuple[Control, int], tmp_path: Path
) -> None:
    server, xds_port = control
    rest = (faulty_listener("fault", dialect), weighted_route("r", {"none": 100}))
    server.publish(*rest, fault("fault", 418))
    async with running_envoy(tmp_path, dialect, xds_port) as envoy:
        port = await envoy.listening_port("l")
        assert await envoy.get(port) == "418"
        server.recorder.pushes.clear()
        server.publish(*rest, fault("fault", 410))

        async def answers_gone() -> bool:
            return await envoy.get(port) == "410"

        await eventually(answers_gone)
        assert server.recorder.pushes == [EXTENSION_CONFIG]
    assert server.recorder.refusals == []
