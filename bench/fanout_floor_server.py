"""The least a server on grpc.aio can do for a fan-out: write the response, read the answer, know nothing of xDS.

Obeys the same commands as ``bench/fanout_server.py`` and serves the same bytes, which it has built beforehand. What
Penstock's server costs more than this one is the library's; the rest is gRPC, the event loop and the kernel.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import grpc
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse
from grpc import aio

from bench.fanout_file import Served, read
from bench.fanout_server import Message, usage
from penstock_xds import types
from penstock_xds.transport import options

PATH: Final = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"


class Floor(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in its stubs alone
    """Streams that are written the same bytes."""

    def __init__(self, served: Served) -> None:
        self._bodies = {r.type_url: self._response(served, r.type_url, "") for r in served.resources}
        self._served = served
        self._wakers: set[Callable[[], None]] = set()
        self._push = b""
        self._ended = False
        self._pushes = 0
        self._expected = 0
        self.times: list[int] = []
        self.complete = asyncio.Event()

    def service(self, handler_call_details: Any) -> Any:  # noqa: ANN401 -- grpc's, untyped
        """Take the one method."""
        if handler_call_details.method != PATH:
            return None
        return grpc.stream_stream_rpc_method_handler(self._stream)

    def push(self, acks: int) -> int:
        """Have every stream written one response more; returns when that began."""
        self.times, self._expected = [], acks
        self.complete.clear()
        self._pushes += 1
        began = time.monotonic_ns()
        self._push = self._response(self._served, types.ROUTE, str(self._pushes))
        for wake in self._wakers:
            wake()
        return began

    def end(self) -> None:
        """Have every stream end in good order."""
        self._ended = True
        for wake in self._wakers:
            wake()

    @staticmethod
    def _response(served: Served, type_url: str, version: str) -> bytes:
        message = DeltaDiscoveryResponse(type_url=type_url, system_version_info=version, nonce="n")
        for resource in served.resources:
            if resource.type_url == type_url:
                entry = message.resources.add(name=resource.name, version=resource.version)
                entry.resource.type_url, entry.resource.value = type_url, resource.body
        data: bytes = message.SerializeToString()
        return data

    async def _stream(self, requests: AsyncIterator[bytes], context: Any) -> None:  # noqa: ANN401, ARG002 -- grpc's
        due: list[bytes] = []
        woken = asyncio.Event()

        def wake() -> None:
            due.append(self._push)
            woken.set()

        async def reading() -> None:
            while isinstance(data := await context.read(), bytes):
                request = DeltaDiscoveryRequest.FromString(data)
                if not request.response_nonce:
                    due.append(self._bodies[request.type_url])
                    woken.set()
                elif request.type_url == types.ROUTE:
                    self.times.append(time.monotonic_ns())
                    if len(self.times) == self._expected:
                        self.complete.set()

        reader = asyncio.create_task(reading())
        self._wakers.add(wake)
        try:
            while not self._ended:
                await woken.wait()
                woken.clear()
                while due and not self._ended:
                    await context.write(due.pop(0))
        finally:
            self._wakers.discard(wake)
            reader.cancel()


async def main(path: Path) -> None:
    """Serve until standard input ends."""
    floor = Floor(read(path))
    server = aio.server(options=options(reuse_port=False, ageing=None))
    server.add_generic_rpc_handlers((floor,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    print(json.dumps({"port": port}), flush=True)
    while line := await lines.readline():
        told: Message = json.loads(line)
        if told["do"] == "push":
            committed = floor.push(told["acks"])
            await floor.complete.wait()
            answer = {"committed_ns": committed, "acks_ns": floor.times}
        else:
            answer = usage(after_collecting=told["do"] == "collect")
        print(json.dumps(answer), flush=True)
    floor.end()
    await server.stop(grace=2)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
