"""One client's stream: the I/O round a StreamCore.

Two tasks a stream. The reader feeds requests to the core; the writer (the gRPC handler itself) takes what the core has
to say and writes it. Between publishers and the writer there is one mailbox that holds the latest snapshot: bursts
coalesce in it, nobody queues, nobody waits for the client. All runs on one event loop, and the core is touched between
awaits only, so there are no locks.

A write the client does not take in time ends the stream for the server at once. The call itself can only be closed
behind the write that is under way (gRPC allows one send at a time), so its handler stays until the client reads on, and
is then told to reconnect, or until its connection breaks. It costs the bytes of that one response, and no other stream
anything.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import grpc
from grpc import aio

from penstock_xds.core.messages import Acked, Event, Nacked
from penstock_xds.core.snapshot import Snapshot
from penstock_xds.core.stream import StreamCore
from penstock_xds.errors import MalformedRequestError
from penstock_xds.node import Node
from penstock_xds.services import Method
from penstock_xds.views import Listener, StreamView, tell
from penstock_xds.wire import ResponseEncoder, decode

logger = logging.getLogger(__name__)

Context = aio.ServicerContext[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a stream ends and what the client is told."""

    reason: str
    code: grpc.StatusCode = grpc.StatusCode.OK


@dataclass(frozen=True, slots=True)
class Client:
    """Who is at the other end."""

    stream_id: str
    node: Node
    group: str
    peer: str
    method: Method
    connected_at: float


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a session shares with the others of its server."""

    encoder: ResponseEncoder
    listener: Listener | None
    clock: Callable[[], float]
    write_timeout: float
    closed: Callable[["Session", str], None]
    """To be told of a session that is over before its handler can return."""


class Session:
    """Serves one stream from its first request to its end."""

    def __init__(self, client: Client, core: StreamCore, context: Context, surroundings: Surroundings) -> None:
        self.client = client
        self._core = core
        self._context = context
        self._encoder = surroundings.encoder
        self._listener = surroundings.listener
        self._clock = surroundings.clock
        self._write_timeout = surroundings.write_timeout
        self._closed = surroundings.closed
        self._mail: tuple[Snapshot, float] | None = None
        self._wake = asyncio.Event()
        self._ending: Ending | None = None

    def offer(self, snapshot: Snapshot) -> None:
        """Have the client brought to this snapshot; replaces one that is still in the mailbox. Returns at once."""
        published_at = self._clock() if self._mail is None else self._mail[1]
        self._mail = (snapshot, published_at)
        self._wake.set()

    def end(self, ending: Ending) -> None:
        """Have the stream ended; the first reason given counts. Returns at once."""
        if self._ending is None:
            self._ending = ending
        self._wake.set()

    def view(self) -> StreamView:
        """Return the stream as it is now."""
        client = self.client
        return StreamView(
            stream_id=client.stream_id,
            node_id=client.node.id,
            node_cluster=client.node.cluster,
            group=client.group,
            peer=client.peer,
            variant=client.method.variant,
            connected_at=client.connected_at,
            types={t.type_url: t for t in self._core.views()},
        )

    async def run(self, first_request: bytes, requests: AsyncIterator[bytes]) -> Ending:
        """Serve until the client or the server ends the stream; returns why. Cancelled when the connection breaks."""
        reader = asyncio.create_task(self._read(first_request, requests), name=f"xds-read-{self.client.stream_id}")
        reader.add_done_callback(lambda _: self._wake.set())
        try:
            return await self._write(reader)
        finally:
            reader.cancel()
            await asyncio.wait([reader])

    async def _read(self, first_request: bytes, requests: AsyncIterator[bytes]) -> None:
        try:
            self._receive(first_request)
            async for request in requests:
                self._receive(request)
        except MalformedRequestError as error:
            self.end(Ending(str(error), grpc.StatusCode.INVALID_ARGUMENT))
        else:
            self.end(Ending("the client closed the stream"))

    def _receive(self, data: bytes) -> None:
        if self._ending is not None:
            return
        method = self.client.method
        request = decode(method.variant, data, implied_type=method.type_url)
        for event in self._core.receive(request, self._clock()):
            self._report(event)
        self._wake.set()

    async def _write(self, reader: asyncio.Task[None]) -> Ending:
        loop = asyncio.get_running_loop()
        while self._ending is None:
            if reader.done():
                reader.result()
            self._wake.clear()
            if self._mail is not None:
                (snapshot, published_at), self._mail = self._mail, None
                self._core.want(snapshot, published_at)
            responses = self._core.poll(self._clock())
            for response in responses:
                data = self._encoder.encode(self.client.method.variant, response)
                # Told before it is written, as its acknowledgement may be read before the write returns.
                if self._listener is not None:
                    tell(self._listener.on_push, self.view(), response.type_url, len(data))
                overdue = loop.call_later(self._write_timeout, self._give_up)
                try:
                    await self._context.write(data)
                finally:
                    overdue.cancel()
                if self._ending is not None:
                    break
            if not responses:
                await self._sleep()
        return self._ending

    def _give_up(self) -> None:
        reason = f"the client did not take a response within {self._write_timeout:g} s"
        self.end(Ending(reason, grpc.StatusCode.DEADLINE_EXCEEDED))
        self._closed(self, reason)

    async def _sleep(self) -> None:
        deadline = self._core.next_deadline()
        if deadline is None:
            await self._wake.wait()
            return
        try:
            async with asyncio.timeout(max(0.0, deadline - self._clock())):
                await self._wake.wait()
        except TimeoutError:
            return

    def _report(self, event: Event) -> None:
        match event:
            case Acked(type_url, version, seconds):
                if self._listener is not None:
                    tell(self._listener.on_ack, self.view(), type_url, version, seconds)
            case Nacked(type_url, names, version, message):
                logger.warning(
                    "client refused resources",
                    extra={
                        "stream": self.client.stream_id,
                        "node": self.client.node.id,
                        "group": self.client.group,
                        "type_url": type_url,
                        "names": names,
                        "version": version,
                        "refusal": message,
                    },
                )
                if self._listener is not None:
                    tell(self._listener.on_nack, self.view(), type_url, names, version, message)
