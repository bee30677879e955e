"""The server in the README works as written."""

import asyncio
import re
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from penstock_xds import CertificateFiles, Snapshot, SnapshotCache, XdsServer, mutual_tls, san_authenticator
from penstock_xds.protos import DeltaDiscoveryRequest, DeltaDiscoveryResponse, NodeProto
from penstock_xds.types import CLUSTER
from tests.xds.certificates import Authority
from tests.xds.shell_setting import CHANNEL_OPTIONS, Stream
from tests.xds.transcript import cluster

README = Path(__file__).parents[2] / "xds" / "README.md"


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


async def test_the_server_in_the_readme_serves_a_client(capsys: pytest.CaptureFixture[str]) -> None:
    namespace: dict[str, Any] = {"__name__": "readme"}
    exec(compile(blocks()[0], str(README), "exec"), namespace)  # noqa: S102  # our own README
    serving = asyncio.create_task(namespace["main"]())
    printed = ""
    async with asyncio.timeout(10):
        while "port" not in printed:
            await asyncio.sleep(0.01)
            printed += capsys.readouterr().out
    port = int(printed.split()[-1])
    channel: Any = aio.insecure_channel(f"127.0.0.1:{port}")
    call = channel.stream_stream(
        "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
        request_serializer=DeltaDiscoveryRequest.SerializeToString,
        response_deserializer=DeltaDiscoveryResponse.FromString,
    )()
    await call.write(DeltaDiscoveryRequest(node=NodeProto(id="n", cluster="edge"), type_url=CLUSTER))
    async with asyncio.timeout(10):
        response = await call.read()
    assert [r.name for r in response.resources] == ["backend"]
    call.cancel()
    await channel.close()
    serving.cancel()
    await asyncio.wait([serving])


async def test_the_server_with_tls_in_the_readme_believes_who_proves_to_be_a_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    authority = Authority(tmp_path, "clients-ca")
    authority.certificate.rename("clients-ca.crt")
    monkeypatch.setattr(authority, "certificate", tmp_path / "clients-ca.crt")
    issued = authority.issue("server", "DNS:localhost")
    issued.certificate.rename("tls.crt")
    issued.key.rename("tls.key")
    cache = SnapshotCache()
    cache.publish("edge", Snapshot.of([cluster("a")]))
    known = (CertificateFiles, Path, XdsServer, mutual_tls, san_authenticator)
    namespace: dict[str, Any] = {"cache": cache} | {each.__name__: each for each in known}
    exec(compile(blocks()[1], str(README), "exec"), namespace)  # noqa: S102  # our own README
    server: XdsServer = namespace["server"]
    port = await server.start("127.0.0.1:0")
    client = authority.issue("client", "URI:spiffe://example.org/edge/n1")
    key, certificate = client.read()
    credentials = grpc.ssl_channel_credentials(authority.certificate.read_bytes(), key, certificate)
    async with aio.secure_channel(f"localhost:{port}", credentials, options=CHANNEL_OPTIONS) as channel:
        assert [r.name for r in (await Stream(channel).ask(CLUSTER)).resources] == ["a"]
        refused = Stream(channel)
        await refused.say(DeltaDiscoveryRequest(node=NodeProto(id="n2", cluster="edge"), type_url=CLUSTER))
        assert (await refused.end())[0] is grpc.StatusCode.PERMISSION_DENIED
    await server.stop(1)
