"""The xDS server: a thin gRPC shell that admits clients to groups and lets a Session serve each.

Everything runs on the event loop that called `start`. It serves State of the World and Delta, aggregated (ADS) and one
stream per type, and the gRPC health service, all on one port.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import grpc
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from penstock_xds.cache import SnapshotCache
from penstock_xds.core.stream import StreamCore
from penstock_xds.errors import BindError, MalformedRequestError
from penstock_xds.node import Node
from penstock_xds.services import METHODS, Method
from penstock_xds.session import Client, Context, Ending, Session, Surroundings
from penstock_xds.views import Listener, StreamView, tell
from penstock_xds.wire import ResponseEncoder, decode_node

if TYPE_CHECKING:
    # Generic in its stubs, a plain class when it runs.
    GenericHandler = grpc.GenericRpcHandler[Any, Any]
else:
    GenericHandler = grpc.GenericRpcHandler

logger = logging.getLogger(__name__)

# Envoy gives a warming cluster 15 s for its endpoints and then goes on without; a longer wait would tell no more.
PHASE_TIMEOUT_SECONDS: Final = 20.0

# A reconnecting Delta client repeats the name and version of all it holds: the default of 4 MiB locks large ones out.
_MAX_REQUEST_BYTES: Final = 64 * 1024 * 1024

_CHANNEL_OPTIONS: Final = (
    ("grpc.max_receive_message_length", _MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", -1),
    # Find dead clients behind silent networks, and let clients ping as they like: one told off for it reconnects.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.http2.max_ping_strikes", 0),
    # A second server on the same port must fail to start, not take half of the clients unseen.
    ("grpc.so_reuseport", 0),
)


class XdsServer:
    """Serves the snapshots of a cache over gRPC."""

    def __init__(
        self,
        cache: SnapshotCache,
        *,
        group_of: Callable[[Node], str | None],
        identifier: str,
        listener: Listener | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        write_timeout: float = 30.0,
        phase_timeout: float = PHASE_TIMEOUT_SECONDS,
    ) -> None:
        """Prepare a server; `start` opens it.

        Args:
            cache: what each group is served. A client whose group has no snapshot yet is held unanswered until it has.
            group_of: the group of a client; None refuses it.
            identifier: names this control plane in every response, for whoever debugs a client.
            listener: is told of connections, pushes and answers.
            clock: monotonic seconds, for waits and durations.
            wall_clock: Unix seconds, for `StreamView.connected_at`.
            write_timeout: seconds a client has to take a response before its stream is ended.
            phase_timeout: seconds to wait for an acknowledgement before a make-before-break phase goes on without it.

        """
        self._cache = cache
        self._group_of = group_of
        self._listener = listener
        self._wall_clock = wall_clock
        self._phase_timeout = phase_timeout
        self._surroundings = Surroundings(ResponseEncoder(identifier), listener, clock, write_timeout, self._close)
        self._sessions: dict[str, Session] = {}
        self._streams_seen = 0
        # Makes nonces of this server unlike those of one before it.
        self._nonce_prefix = secrets.token_hex(2)
        self._server: aio.Server | None = None
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # the stubs leave aio out
        self._stopping = False

    async def start(self, address: str, *, extra_handlers: Sequence[GenericHandler] = ()) -> int:
        """Listen on `host:port` (port 0: any free one) and return the port.

        Args:
            address: where to listen.
            extra_handlers: other gRPC services to serve on the same port.

        Raises:
            BindError: the address cannot be listened on.

        """
        server = aio.server(options=_CHANNEL_OPTIONS)
        server.add_generic_rpc_handlers((_DiscoveryHandler(self._serve), *extra_handlers))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        try:
            port = server.add_insecure_port(address)
        except RuntimeError as error:
            await server.stop(None)
            raise BindError(address, str(error)) from error
        await server.start()
        await self._health.set("", health_pb2.HealthCheckResponse.SERVING)
        self._server = server
        logger.info("xds server listens", extra={"address": address, "port": port})
        return port

    async def stop(self, grace: float) -> None:
        """End all streams in good order, so that clients reconnect at once, and close the port.

        Args:
            grace: seconds the streams have to end before they are cut.

        """
        if self._server is None:
            return
        server, self._server = self._server, None
        self._stopping = True
        await self._health.enter_graceful_shutdown()
        # No new streams from here on; those there are are ended while this waits for them.
        closing = asyncio.create_task(server.stop(grace))
        for session in self._sessions.values():
            session.end(Ending("the server is shutting down"))
        await closing
        logger.info("xds server stopped")

    def streams(self) -> list[StreamView]:
        """Return the streams now open, in the order they were opened."""
        return [session.view() for session in self._sessions.values()]

    def regroup(self) -> None:
        """Ask `group_of` again for every open stream and end those whose group is another now; they reconnect to it."""
        for session in self._sessions.values():
            if self._group_of(session.client.node) != session.client.group:
                session.end(Ending("the node's group has changed", grpc.StatusCode.UNAVAILABLE))

    async def _serve(self, requests: AsyncIterator[bytes], context: Context, method: Method) -> None:
        first_request = await anext(requests, None)
        if first_request is None:
            return
        if self._stopping:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the server is shutting down")
        session = self._open(await self._admit(context, method, first_request), context)
        ending = Ending("the connection broke")
        stop_watching = self._cache.watch(session.client.group, session.offer)
        try:
            ending = await session.run(first_request, requests)
        finally:
            stop_watching()
            self._close(session, ending.reason)
        if ending.code is not grpc.StatusCode.OK:
            await context.abort(ending.code, ending.reason)

    async def _admit(self, context: Context, method: Method, first_request: bytes) -> Client:
        try:
            node = decode_node(method.variant, first_request)
        except MalformedRequestError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        if node is None or not node.id:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first request of a stream must carry node.id")
        group = self._group_of(node)
        if group is None:
            logger.warning(
                "client belongs to no group",
                extra={"node": node.id, "node_cluster": node.cluster, "peer": context.peer()},
            )
            await context.abort(
                grpc.StatusCode.NOT_FOUND, f"no group takes node {node.id!r} of node cluster {node.cluster!r}"
            )
        self._streams_seen += 1
        return Client(
            stream_id=str(self._streams_seen),
            node=node,
            group=group,
            peer=context.peer(),
            method=method,
            connected_at=self._wall_clock(),
        )

    def _open(self, client: Client, context: Context) -> Session:
        core = StreamCore(
            client.method.variant,
            nonce_prefix=f"{self._nonce_prefix}-{client.stream_id}-",
            opened_at=self._surroundings.clock(),
            phase_timeout=self._phase_timeout,
            aggregated=not client.method.type_url,
        )
        session = Session(client, core, context, self._surroundings)
        self._sessions[client.stream_id] = session
        logger.info("client connected", extra=_facts(client))
        if self._listener is not None:
            tell(self._listener.on_connect, session.view())
        return session

    def _close(self, session: Session, reason: str) -> None:
        if self._sessions.pop(session.client.stream_id, None) is None:
            return
        logger.info("client disconnected", extra={**_facts(session.client), "reason": reason})
        if self._listener is not None:
            tell(self._listener.on_disconnect, session.view(), reason)


def _facts(client: Client) -> dict[str, str]:
    return {
        "stream": client.stream_id,
        "node": client.node.id,
        "group": client.group,
        "peer": client.peer,
        "variant": client.method.variant.value,
    }


Serve = Callable[[AsyncIterator[bytes], Context, Method], Awaitable[None]]


class _DiscoveryHandler(GenericHandler):
    """Routes the methods of the discovery services, as raw bytes, to one function."""

    def __init__(self, serve: Serve) -> None:
        self._handlers = {path: self._handler(serve, method) for path, method in METHODS.items()}

    @staticmethod
    def _handler(serve: Serve, method: Method) -> "grpc.RpcMethodHandler[bytes, bytes]":
        async def handle(requests: AsyncIterable[bytes], context: Context) -> None:
            await serve(aiter(requests), context, method)

        return grpc.stream_stream_rpc_method_handler(handle)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        """Return the handler of a method, if it is one of discovery."""
        return self._handlers.get(handler_call_details.method)
