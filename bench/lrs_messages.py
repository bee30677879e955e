"""Load reports as Envoys write them, their description of themselves included, and the client that sends them.

``python bench/lrs_messages.py PORT STREAMS CLUSTERS SECONDS`` is that client: one stream an Envoy, a report a second on
each, spread over the second, from bytes made beforehand.
"""

import asyncio
import random
import sys
from typing import Final

import grpc.aio
from envoy.service.load_stats.v3 import lrs_pb2

METHOD: Final = "/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats"
SENDS_ALL: Final = "envoy.lrs.supports_send_all_clusters"
ENDPOINTS: Final = 4
"""Of a cluster."""
BUSY: Final = 20
"""Clusters that one Envoy has requests at; it has the others, idle."""
_EXTENSIONS: Final = 516
_ADDRESSES: Final = 200
_STREAMS_A_CONNECTION: Final = 50


def envoy_report(number: int, clusters: int, busy: int = BUSY) -> bytes:
    """One report of one Envoy: 61 kB of description, as measured of Envoy 1.40, and its figures."""
    chance = random.Random(number)
    message = lrs_pb2.LoadStatsRequest()
    message.node.id, message.node.cluster = f"edge-{number}", f"edge-{number % 5}"
    message.node.user_agent_name = "envoy"
    message.node.client_features.append(SENDS_ALL)
    for extension in range(_EXTENSIONS):
        name = f"envoy.filters.http.of_some_kind_{extension}"
        told = message.node.extensions.add(name=name, category="envoy.filters.http")
        told.type_urls.append(f"type.googleapis.com/{name}.Config")
    covered = 1_000_000 + chance.randrange(2_000)
    carrying = set(chance.sample(range(clusters), min(busy, clusters)))
    for cluster in range(clusters):
        stats = message.cluster_stats.add(cluster_name=f"cluster-{cluster}")
        # Of one report they differ by the microsecond that Envoy needs from one cluster to the next.
        stats.load_report_interval.FromMicroseconds(covered + chance.randrange(3))
        if cluster in carrying:
            _carry(stats.upstream_locality_stats.add(), cluster, chance)
    return bytes(message.SerializeToString())


def _carry(locality: lrs_pb2.LoadStatsRequest, cluster: int, chance: random.Random) -> None:
    locality.locality.region = "eu-central"
    for endpoint in range(ENDPOINTS):
        told = locality.upstream_endpoint_stats.add()
        told.address.socket_address.address = f"10.0.{cluster % _ADDRESSES}.{endpoint + 1}"
        told.address.socket_address.port_value = 8000
        told.total_requests_in_progress = chance.randrange(1, 20)
        told.total_successful_requests = chance.randrange(1, 10)
        told.total_issued_requests = chance.randrange(1, 12)
        locality.total_requests_in_progress += told.total_requests_in_progress
        locality.total_successful_requests += told.total_successful_requests
        locality.total_issued_requests += told.total_issued_requests


def _as_it_is(message: bytes) -> bytes:
    return message


async def _envoy(channel: grpc.aio.Channel, number: int, clusters: int, until: float) -> None:
    loop = asyncio.get_running_loop()
    message = await asyncio.to_thread(envoy_report, number, clusters)
    call = channel.stream_stream(METHOD, _as_it_is, _as_it_is)(None)
    await call.write(message)
    await call.read()
    await asyncio.sleep((number % 1000) / 1000)
    while loop.time() < until:
        began = loop.time()
        await call.write(message)
        await asyncio.sleep(max(0.0, began + 1.0 - loop.time()))
    await call.done_writing()


async def _fleet(port: int, streams: int, clusters: int, seconds: float) -> None:
    channels = [
        grpc.aio.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)])
        for _ in range(-(-streams // _STREAMS_A_CONNECTION))
    ]
    until = asyncio.get_running_loop().time() + seconds
    envoys = (_envoy(channels[number // _STREAMS_A_CONNECTION], number, clusters, until) for number in range(streams))
    await asyncio.gather(*envoys)
    for channel in channels:
        await channel.close(None)


if __name__ == "__main__":
    asyncio.run(_fleet(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
