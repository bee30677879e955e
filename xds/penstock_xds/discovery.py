"""The gRPC handler of all discovery services: raw bytes in and out, one function for all methods."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import grpc

from penstock_xds.services import METHODS, Method
from penstock_xds.session import Context

if TYPE_CHECKING:
    # Generic in its stubs, a plain class when it runs.
    GenericHandler = grpc.GenericRpcHandler[Any, Any]
else:
    GenericHandler = grpc.GenericRpcHandler

Serve = Callable[[Context, Method], Awaitable[None]]


class DiscoveryHandler(GenericHandler):
    """Routes the methods of the discovery services to one function."""

    def __init__(self, serve: Serve) -> None:
        self._handlers = {path: self._handler(serve, method) for path, method in METHODS.items()}

    @staticmethod
    def _handler(serve: Serve, method: Method) -> "grpc.RpcMethodHandler[bytes, bytes]":
        # Read from the context instead of the iterator: that costs a little less per request.
        async def handle(_requests: object, context: Context) -> None:
            await serve(context, method)

        return grpc.stream_stream_rpc_method_handler(handle)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        """Return the handler of a method, if it is one of discovery."""
        return self._handlers.get(handler_call_details.method)
