"""The server in the README works as written."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from grpc import aio

from penstock_xds.protos import DeltaDiscoveryRequest, DeltaDiscoveryResponse, NodeProto
from penstock_xds.types import CLUSTER

README = Path(__file__).parents[2] / "xds" / "README.md"


async def test_the_server_in_the_readme_serves_a_client(capsys: pytest.CaptureFixture[str]) -> None:
    found = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert found is not None
    namespace: dict[str, Any] = {"__name__": "readme"}
    exec(compile(found[1], str(README), "exec"), namespace)  # noqa: S102  # our own README
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
