"""From a Decision with other weights to the acknowledgement of one Envoy, and the guard of that path.

``python bench/publish.py``: the program's own Publisher (generate, prove, publish) with the example policies and a real
xDS server; one Delta client in the same process acknowledges. What is authored with betterproto2 was compiled before:
after the timing, the same is done under `bench.untouched.Untouched`, and the benchmark fails if any of it is touched.
The last line is one JSON object.
"""

import argparse
import asyncio
import os
import time
from collections.abc import AsyncIterator
from statistics import median
from typing import Any, Final

from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse
from grpc import aio

from bench.datapath_config import GROUP, example_decision, example_policy
from bench.report import report
from bench.untouched import Untouched
from penstock.control.publisher import Publisher
from penstock_envoy.compiler import Compiler
from penstock_policies.policyset import PolicySet
from penstock_xds import SnapshotCache, XdsServer, types

PORTS: Final = {"onprem-fra": (8001, 8002), "cloud-eu-west": (8443,)}
METHOD: Final = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
PATIENCE_SECONDS: Final = 10.0
GUARDED_CHANGES: Final = 5


class Client:
    """Subscribes to the route configurations and acknowledges them."""

    def __init__(self, stream: Any, node_cluster: str) -> None:  # noqa: ANN401 -- grpc has no type for it
        self._stream = stream
        self._first = DeltaDiscoveryRequest(type_url=types.ROUTE, resource_names_subscribe=["*"])
        self._first.node.id, self._first.node.cluster = "bench", node_cluster

    async def subscribe(self) -> None:
        """Ask for all of them, and take them."""
        await self._stream.write(self._first)
        await self.take()

    async def take(self) -> None:
        """Wait for a response and acknowledge it."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            response = await self._stream.read()
        await self._stream.write(DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=int(os.environ.get("CHANGES", "50")))
    report(asyncio.run(measure(parser.parse_args().changes)))


async def measure(changes: int) -> dict[str, object]:
    """Change weights so many times."""
    policy = example_policy(PORTS)
    cache = SnapshotCache()
    publisher = Publisher(cache, Compiler())
    await publisher.prepare(policy, example_decision(policy))
    publisher.publish(policy, example_decision(policy))
    server = XdsServer(cache, group_of=publisher.group_of, identifier="penstock-bench")
    port = await server.start("127.0.0.1:0")
    try:
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            open_stream: Any = channel.stream_stream(  # the stubs ask for an iterator of requests
                METHOD,
                request_serializer=DeltaDiscoveryRequest.SerializeToString,
                response_deserializer=DeltaDiscoveryResponse.FromString,
            )
            client = Client(open_stream(), policy.groups[GROUP].spec.match.cluster)
            await client.subscribe()
            published, taken = [], []
            async for publish_ms, taken_ms in change(publisher, policy, client, changes):
                published.append(publish_ms)
                taken.append(taken_ms)
            with Untouched():
                async for _ in change(publisher, policy, client, GUARDED_CHANGES):
                    pass
    finally:
        await server.stop(grace=0)
    return {
        "bench": "publish",
        "publish_ms": round(median(published), 3),
        "publish_to_client_ms": round(median(taken), 3),
        "changes": changes,
        "guarded_changes": GUARDED_CHANGES,
    }


async def change(
    publisher: Publisher, policy: PolicySet, client: Client, changes: int
) -> AsyncIterator[tuple[float, float]]:
    """Publish other weights each time; milliseconds to publish, and until the client had them."""
    for number in range(changes):
        decision = example_decision(policy, on_prem_share=0.1 + 0.8 * (number % 20) / 20 + changes / 1e4)
        began = time.perf_counter()
        publisher.publish(policy, decision)
        published = time.perf_counter()
        await client.take()
        yield (published - began) * 1e3, (time.perf_counter() - began) * 1e3


if __name__ == "__main__":
    main()
