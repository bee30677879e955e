"""A server over a real loopback channel, and raw clients of it."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from grpc import aio

from penstock_xds import Node, Resource, Snapshot, SnapshotCache, XdsServer
from penstock_xds.protos import (
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
    DiscoveryRequest,
    DiscoveryResponse,
    NodeProto,
)
from tests.xds.recorder import Recorder

ADS = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
NODE = NodeProto(id="n1", cluster="edge")

# A pool of its own: channels to one address share a connection otherwise.
CHANNEL_OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1))


class Stream:
    """A raw client stream."""

    def __init__(
        self, channel: Any, method: str = "DeltaAggregatedResources", *, metadata: tuple[tuple[str, str], ...] = ()
    ) -> None:
        delta = "Delta" in method
        call = channel.stream_stream(
            method if method.startswith("/") else ADS + method,
            request_serializer=(DeltaDiscoveryRequest if delta else DiscoveryRequest).SerializeToString,
            response_deserializer=(DeltaDiscoveryResponse if delta else DiscoveryResponse).FromString,
        )
        self.call: Any = call(metadata=metadata)

    async def say(self, request: Any) -> None:
        await self.call.write(request)

    async def hear(self) -> Any:
        async with asyncio.timeout(10):
            response = await self.call.read()
        assert response, "the stream ended"
        return response

    async def ask(self, type_url: str, *names: str, node: Any = NODE) -> Any:
        """Subscribes (Delta), to everything if no names are given, and returns the answer."""
        await self.say(DeltaDiscoveryRequest(node=node, type_url=type_url, resource_names_subscribe=names))
        return await self.hear()

    async def accept(self, response: Any) -> None:
        await self.say(DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce))

    async def refuse(self, response: Any, message: str) -> None:
        refusal = DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce)
        refusal.error_detail.code, refusal.error_detail.message = 3, message
        await self.say(refusal)

    async def end(self) -> tuple[grpc.StatusCode, str]:
        async with asyncio.timeout(10):
            return await self.call.code(), await self.call.details()


class Setting:
    """A server, what it serves and a channel to it."""

    def __init__(self, **options: Any) -> None:
        self.cache = options.pop("cache", None) or SnapshotCache()
        self.recorder = Recorder()
        self.groups: Callable[[Node], str | None] = lambda node: node.cluster if node.cluster == "edge" else None
        self.server = XdsServer(
            self.cache,
            group_of=self.group_of,
            identifier="penstock-test",
            **{"listener": self.recorder, **options},
        )
        self.channel: Any  # its stubs ask for arguments that are optional
        self.port = 0

    async def open(self) -> None:
        self.port = await self.server.start("127.0.0.1:0")
        self.channel = self.new_channel()

    async def close(self) -> None:
        await self.server.stop(1)
        await self.channel.close()
        assert self.server.streams() == []

    def group_of(self, node: Node) -> str | None:
        return self.groups(node)

    def publish(self, *resources: Resource) -> None:
        self.cache.publish("edge", Snapshot.of(resources))

    def new_channel(self) -> Any:
        return aio.insecure_channel(f"127.0.0.1:{self.port}", options=CHANNEL_OPTIONS)

    def stream(self, method: str = "DeltaAggregatedResources") -> Stream:
        return Stream(self.channel, method)


async def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Waits for what nobody tells of."""
    async with asyncio.timeout(seconds):
        for pause in itertools.repeat(0.005):
            if condition():
                return
            await asyncio.sleep(pause)


Start = Callable[..., Awaitable[Setting]]


class Hands:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now
