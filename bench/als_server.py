"""The access log service by itself, for benchmarks: ``python bench/als_server.py`` answers lines of JSON.

The first answer, unasked, is ``{"port"}``. After that each line of input is answered with what happened since the last:
entries counted and shed, CPU seconds, the lag of a heartbeat on the event loop. It ends with its input.
"""

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from typing import Any, Final

import grpc.aio

from bench.als_entries import policy
from bench.report import quantile
from penstock.control.garbage import collect_less_often
from penstock.signals.access_logs import AccessLogs
from penstock.signals.usage import Usage, UsageKey
from penstock.signals.usage_sums import UsageSums

BEAT_SECONDS: Final = 0.002


class Server:
    """The service, and what it did since it was last asked."""

    def __init__(self) -> None:
        sums = UsageSums()
        sums.apply(policy())
        self.requests = 0
        self.service = AccessLogs(sums, lambda _id, _cluster: policy().regions()[0], time.time, self._take)
        self._lags: list[float] = []
        self._most_waiting = 0
        self._before = (0, 0, 0.0)

    def _take(self, _: float, usage: Mapping[UsageKey, Usage]) -> None:
        self.requests += sum(of.requests for of in usage.values())

    async def beat(self) -> None:
        """Ask to be woken, again and again."""
        loop = asyncio.get_running_loop()
        while True:
            wanted = loop.time() + BEAT_SECONDS
            await asyncio.sleep(BEAT_SECONDS)
            self._lags.append(loop.time() - wanted)
            self._most_waiting = max(self._most_waiting, self.service.facts().waiting_bytes)

    def since(self) -> dict[str, Any]:
        """What happened since the last call."""
        facts, cpu = self.service.facts(), time.process_time()
        entries, shed, used = self._before
        lags, self._lags = self._lags or [0.0], []
        waiting, self._most_waiting = self._most_waiting, 0
        self._before = (facts.entries, facts.shed, cpu)
        return {
            "entries": facts.entries - entries,
            "shed": facts.shed - shed,
            "lost": facts.unknown + facts.unplaced + facts.refused,
            "cpu_seconds": cpu - used,
            "lag_p50_ms": quantile(lags, 0.5) * 1e3,
            "lag_p99_ms": quantile(lags, 0.99) * 1e3,
            "lag_max_ms": max(lags) * 1e3,
            "most_waiting_bytes": waiting,
        }


async def serve() -> None:
    collect_less_often()
    server = Server()
    grpc_server = grpc.aio.server()
    grpc_server.add_generic_rpc_handlers((server.service.handler(),))
    port = grpc_server.add_insecure_port("127.0.0.1:0")
    await grpc_server.start()
    tasks = [asyncio.create_task(server.service.run()), asyncio.create_task(server.beat())]
    say({"port": port})
    while await asyncio.to_thread(sys.stdin.readline):
        say(server.since())
    server.service.stop()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await grpc_server.stop(2)


def say(answer: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(serve())
