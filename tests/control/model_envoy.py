"""An xDS client that behaves as Envoy does, over a real channel, and refuses what a test tells it to."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from envoy.config.core.v3.base_pb2 import Node
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse
from grpc import aio

from penstock_envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
CHILDREN = {CLUSTER: ENDPOINT, LISTENER: ROUTE}

Refuse = Callable[[str, str, bytes], bool]
"""Type, name and body of a resource, to whether it is refused."""


class ModelEnvoy:
    """What it holds, and what it refused."""

    def __init__(self, node: str, group: str, refuse: Refuse) -> None:
        self.node = node
        self.group = group
        self.refuse = refuse
        self.holds: dict[tuple[str, str], str] = {}
        """Type and name to version."""
        self.sent: list[tuple[str, str, str]] = []
        """Type, name and version of everything it was sent."""
        self._changed = asyncio.Event()
        self.call: Any = None

    def name(self, type_url: str, name: str) -> str | None:
        """The version it holds."""
        return self.holds.get((type_url, name))

    async def until(self, condition: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait for something it is sent to make the condition true."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def ending(self) -> grpc.StatusCode:
        """How the stream ended, once it has."""
        assert self.call is not None
        async with asyncio.timeout(20):
            code: grpc.StatusCode = await self.call.code()
            return code

    async def _talk(self, call: Any) -> None:
        node = Node(id=self.node, cluster=self.group)
        for type_url in (CLUSTER, LISTENER):
            await call.write(DeltaDiscoveryRequest(node=node, type_url=type_url))
        while isinstance(response := await call.read(), DeltaDiscoveryResponse):
            await call.write(self._answer(response))
            child = CHILDREN.get(response.type_url)
            names = [each.name for each in response.resources if not each.name.startswith("leg/")]
            if child is not None and names:
                await call.write(DeltaDiscoveryRequest(type_url=child, resource_names_subscribe=names))
            self._changed.set()

    def _answer(self, response: DeltaDiscoveryResponse) -> DeltaDiscoveryRequest:
        answer = DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce)
        refused = []
        for each in response.resources:
            self.sent.append((response.type_url, each.name, each.version))
            if self.refuse(response.type_url, each.name, each.resource.value):
                refused.append(each.name)
            else:
                self.holds[response.type_url, each.name] = each.version
        for name in response.removed_resources:
            self.holds.pop((response.type_url, name), None)
        if refused:
            answer.error_detail.code = 13
            answer.error_detail.message = f"Error adding/updating {', '.join(refused)}: cannot bind '10.9.9.9:1'"
        return answer


@asynccontextmanager
async def model_envoy(
    address: str,
    *,
    node: str = "edge-1",
    group: str = "edge",
    refuse: Refuse = lambda *_: False,
    credentials: grpc.ChannelCredentials | None = None,
) -> AsyncIterator[ModelEnvoy]:
    """Connected inside the block."""
    envoy = ModelEnvoy(node, group, refuse)
    channel = aio.insecure_channel(address) if credentials is None else aio.secure_channel(address, credentials)
    async with channel:
        method: Any = channel.stream_stream(
            METHOD,
            request_serializer=DeltaDiscoveryRequest.SerializeToString,
            response_deserializer=DeltaDiscoveryResponse.FromString,
        )
        call = envoy.call = method()
        talking = asyncio.create_task(envoy._talk(call))
        try:
            yield envoy
        finally:
            talking.cancel()
            with contextlib.suppress(asyncio.CancelledError, aio.AioRpcError, asyncio.InvalidStateError):
                await talking
            call.cancel()
