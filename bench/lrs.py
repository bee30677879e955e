"""What load reports cost: how many a core takes in, and what a thousand Envoys that report each second need of one.

``python bench/lrs.py``: first the reports alone, read and added to the totals, beside what protobuf-upb needs only to
parse the same bytes as the message they are. Then the service itself behind a real gRPC server, with ``STREAMS`` (1 000
unless set) clients in a process of their own, with 20 clusters and with 200, of which an Envoy has requests at 20,
beside a server that only receives the same; and by how much the event loop's heartbeat comes late meanwhile. The last
line is one JSON object.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import grpc
import grpc.aio
from envoy.service.load_stats.v3 import lrs_pb2

from bench.loop_lag import fleet, heartbeat
from bench.lrs_messages import ENDPOINTS, envoy_report
from bench.report import quantile, report
from penstock.control.garbage import collect_less_often
from penstock.signals.board import ObservationBoard
from penstock.signals.load_reports import parse
from penstock.signals.load_totals import LoadTotals, Reporter
from penstock.signals.lrs import METHOD, SERVICE, LoadReports

CLUSTERS: Final = (20, 200)
REPORTERS: Final = 100
ROUNDS: Final = 7
CLIENT: Final = Path(__file__).with_name("lrs_messages.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=int(os.environ.get("STREAMS", "1000")))
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("SECONDS", "10")))
    arguments = parser.parse_args()
    collect_less_often()
    result: dict[str, object] = {"bench": "lrs", "streams": arguments.streams, "endpoints_a_cluster": ENDPOINTS}
    for clusters in CLUSTERS:
        result[f"clusters_{clusters}"] = {
            **intake(clusters),
            **asyncio.run(serve(clusters, arguments.streams, arguments.seconds)),
        }
    report(result)


def intake(clusters: int) -> dict[str, object]:
    """Reports a second of one core, read in full and without endpoints, beside bare parsing; rounds alternate."""
    known = frozenset(f"cluster-{number}" for number in range(clusters))
    messages = [envoy_report(number, clusters) for number in range(REPORTERS)]
    totals = LoadTotals(time.time)
    reporters = [Reporter(f"edge-{number}", "edge", time.time()) for number in range(REPORTERS)]
    for reporter in reporters:
        totals.place(reporter, "eu-west")

    def bare() -> None:
        for message in messages:
            lrs_pb2.LoadStatsRequest.FromString(message)

    def take(times: int) -> Callable[[], None]:
        def all_of_them() -> None:
            for reporter, message in zip(reporters, messages, strict=True):
                totals.take(reporter, parse(message, known, 1.0, endpoints=times > 0), times)

        return all_of_them

    ways = {"bare": bare, "whole": take(1), "without_endpoints": take(0)}
    took = {name: [_seconds(way) for _ in range(ROUNDS)] for name, way in ways.items()}
    best = {name: REPORTERS / min(seconds) for name, seconds in took.items()}
    return {
        "bytes": len(messages[0]),
        "reports_per_second_bare_parsing": round(best["bare"]),
        "reports_per_second": round(best["whole"]),
        "reports_per_second_without_endpoints": round(best["without_endpoints"]),
        "ratio_to_bare_parsing": round(best["whole"] / best["bare"], 3),
    }


def _seconds(way: Callable[[], None]) -> float:
    began = time.process_time()
    way()
    return time.process_time() - began


async def serve(clusters: int, streams: int, seconds: float) -> dict[str, object]:
    """Serve that many Envoys; give the CPU a thousand of them would take, in cores, and the loop's lag."""
    policy = fleet(5, clusters)
    board = ObservationBoard()
    board.apply(policy)
    reports = LoadReports(board, lambda _, group: f"region-{group}", time.time, lambda: None)
    reports.apply(policy)
    summing = asyncio.create_task(reports.run())
    try:
        async with served(reports.handler(), clusters, streams, seconds * 2):
            async with asyncio.timeout(120):
                while reports.facts().reports < 5 * streams:  # noqa: ASYNC110 - the service has no event for it
                    await asyncio.sleep(0.1)
            before = reports.facts().reports
            whole = await _cpu(seconds)
            taken = reports.facts().reports - before
            async with heartbeat() as late:
                await asyncio.sleep(seconds)
            seen = board.snapshot(time.time()).load
            reports.stop()
    finally:
        summing.cancel()
    received = [0]
    async with served(_receiver(received), clusters, streams, seconds):
        async with asyncio.timeout(120):
            while received[0] < 2 * streams:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        before = received[0]
        alone = await _cpu(seconds)
        alone_taken = received[0] - before
    return {
        "reports_per_second_served": round(taken / seconds),
        "cpu_cores_per_1000_reports_per_second": round(whole / taken * 1000, 3),
        "cpu_cores_per_1000_only_received": round(alone / alone_taken * 1000, 3),
        "ratio_to_only_receiving": round(whole / taken / (alone / alone_taken), 2),
        "reporters_counted": sum(max((load.reporters for load in of.values()), default=0) for of in seen.values()),
        "lag_ms_p50": round(quantile(late, 0.5), 1),
        "lag_ms_p99": round(quantile(late, 0.99), 1),
        "lag_ms_max": round(max(late), 1),
    }


async def _cpu(seconds: float) -> float:
    """Seconds of CPU that all threads of this process use in a while."""
    used = time.process_time()
    await asyncio.sleep(seconds)
    return time.process_time() - used


def _receiver(received: list[int]) -> "grpc.GenericRpcHandler[bytes, bytes]":
    """The service that answers, counts messages and looks into none: what gRPC alone needs."""
    answer = lrs_pb2.LoadStatsResponse(send_all_clusters=True)
    answer.load_reporting_interval.seconds = 1

    async def receive(requests: AsyncIterator[bytes], _: object) -> AsyncGenerator[bytes, None]:
        await anext(requests)
        yield answer.SerializeToString()
        async for _message in requests:
            received[0] += 1

    return grpc.method_handlers_generic_handler(SERVICE, {METHOD: grpc.stream_stream_rpc_method_handler(receive)})


@asynccontextmanager
async def served(
    handler: "grpc.GenericRpcHandler[bytes, bytes]", clusters: int, streams: int, seconds: float
) -> AsyncIterator[None]:
    """A gRPC server with that service, and clients in a process of their own for at least so long."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    arguments = [str(each) for each in (port, streams, clusters, seconds + 120)]
    client = await asyncio.create_subprocess_exec(sys.executable, str(CLIENT), *arguments)
    try:
        yield
    finally:
        client.terminate()
        await client.wait()
        await server.stop(1)


if __name__ == "__main__":
    main()
