"""How many requests' access log entries the control plane takes in, on one core, and what the event loop feels of it.

``python bench/als.py``: the access log service in a process and, where there are two, on a core of its own; a client
streams messages of a hundred entries each. Once at ``RATE`` entries a second (20 000 unless set), and once as fast as
the streams take them, which is more than can be read, so that the rest is shed. The yardstick, in the same run, is
protobuf's C runtime parsing the same bytes and doing nothing with them. The last line is one JSON object; CPU per entry
is the server process's, all of it: gRPC, parsing, reading, adding up.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc.aio
from envoy.service.accesslog.v3 import als_pb2

from bench.als_entries import ENTRIES, message
from bench.fanout_processes import Child
from bench.report import report
from penstock.signals.access_logs import METHOD, SERVICE

STREAMS: Final = 8
VARIETY: Final = 16
PARSED: Final = 300
"""Messages for the yardstick."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=int(os.environ.get("RATE", "20000")))
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each measurement")
    given = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    with Child([sys.executable, "-m", "bench.als_server"], "the access log service") as server:
        if len(cores) > 1:
            os.sched_setaffinity(server.pid, cores[:1])
            os.sched_setaffinity(0, cores[1:])
        port = server.hear()["port"]
        parse_us = yardstick()
        steady = asyncio.run(measure(server, port, given.seconds, rate=given.rate))
        flooded = asyncio.run(measure(server, port, given.seconds, rate=None))
    report(
        {
            "bench": "als",
            "bare_parse_us": round(parse_us, 2),
            "cpu_us_per_entry": round(steady["cpu_seconds"] / steady["entries"] * 1e6, 2),
            "steady_entries_per_second": round(steady["entries"] / steady["seconds"]),
            "steady_core": round(steady["cpu_seconds"] / steady["seconds"], 3),
            "steady_shed": steady["shed"],
            "steady_lag_p99_ms": round(steady["lag_p99_ms"], 2),
            "flooded_entries_per_second": round(flooded["entries"] / flooded["seconds"]),
            "flooded_shed": flooded["shed"],
            "flooded_lag_p50_ms": round(flooded["lag_p50_ms"], 2),
            "flooded_lag_p99_ms": round(flooded["lag_p99_ms"], 2),
            "flooded_most_waiting_bytes": flooded["most_waiting_bytes"],
            "lost": flooded["lost"],
        }
    )


def yardstick() -> float:
    """Microseconds to parse an entry and do nothing with it."""
    messages = [message(number) for number in range(VARIETY)]
    begun = time.process_time()
    for number in range(PARSED):
        als_pb2.StreamAccessLogsMessage.FromString(messages[number % VARIETY])
    return (time.process_time() - begun) / PARSED / ENTRIES * 1e6


async def measure(server: Child, port: int, seconds: float, rate: int | None) -> dict[str, Any]:
    """Send for a time, at a rate of entries a second or as fast as it goes; what the server did meanwhile."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        method = channel.stream_unary(f"/{SERVICE}/{METHOD}", None, None)
        begun = time.monotonic()
        server.ask("since")
        end = begun + seconds
        calls = [method(sent(end, None if rate is None else rate / STREAMS)) for _ in range(STREAMS)]
        await asyncio.gather(*calls)
        done = await asyncio.to_thread(server.ask, "since")
    return {**done, "seconds": time.monotonic() - begun}


async def sent(end: float, rate: float | None) -> AsyncIterator[bytes]:
    """A stream's messages until then."""
    number = 0
    due = time.monotonic()
    while time.monotonic() < end:
        yield message(number % VARIETY if number else 0)
        number += 1
        if rate is not None:
            due += ENTRIES / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    main()
