"""Takes access logs and throws them away: ``python -m bench.als_sink`` answers lines of JSON.

For benchmarks of Envoy, whose logs must go somewhere without the reader's work weighing on the core that the load
client runs on; what reading costs is :mod:`bench.als`'s to say. The first answer, unasked, is ``{"port"}``; each line
of input is answered with ``{"bytes"}``, what was taken in all. It ends with its input.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator

import grpc
import grpc.aio

from penstock.signals.access_logs import METHOD, SERVICE


class Sink:
    """The service."""

    def __init__(self) -> None:
        self.taken = 0

    def handler(self) -> "grpc.GenericRpcHandler[bytes, bytes]":
        """The handler to register on a gRPC server."""
        return grpc.method_handlers_generic_handler(
            SERVICE, {METHOD: grpc.stream_unary_rpc_method_handler(self._serve)}
        )

    async def _serve(self, requests: AsyncIterator[bytes], _: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        async for message in requests:
            self.taken += len(message)
        return b""


async def serve() -> None:
    sink = Sink()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((sink.handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(json.dumps({"port": port}), flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps({"bytes": sink.taken}), flush=True)
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(serve())
