"""The access log service: Envoys stream what their requests came to, and the ledger and the board get the sums.

``envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs``, a gRPC handler to be registered on the xDS server's
port (:meth:`AccessLogs.handler`). The protocol: an Envoy opens a stream for each of its workers, names itself in the
first message, and sends a message for each batch of requests that have ended; nothing is answered until it ends.

Messages wait in one queue, bounded in bytes for each stream and for all; what comes while there is no room is counted
and thrown away, so a flood costs its own sender's figures and never memory. One task (:meth:`AccessLogs.run`) reads
the queue in slices of half a millisecond and lets everything else on the event loop have its turn in between: xDS comes
first. Once a second it hands on what has come together.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final, NoReturn

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from penstock.signals.access_log_entries import Message, parse, read
from penstock.signals.usage import TakeUsage
from penstock.signals.usage_sums import UsageSums

logger = logging.getLogger(__name__)

SERVICE: Final = "envoy.service.accesslog.v3.AccessLogService"
METHOD: Final = "StreamAccessLogs"

MOST_WAITING: Final = 32 * 1024 * 1024
"""Bytes of all streams' messages that may wait: some seconds of a thousand Envoys' logs."""
MOST_WAITING_OF_ONE: Final = 2 * 1024 * 1024
"""Bytes of one stream's messages that may wait, so that one flood leaves room for the others."""
LONGEST_MESSAGE: Final = 1024 * 1024
"""Bytes. An Envoy sends 64 kB at a time, 60 kB of which are its own description in the first."""

_MESSAGE_ITSELF: Final = 256
"""Bytes that a waiting message takes beside its own, so that a flood of empty ones is bounded as well."""

_FIRST_MESSAGE_SECONDS: Final = 30.0
"""In which a stream must say whose it is. An Envoy opens one when it has something to say."""
_LONGEST_NAME: Final = 1024
"""Characters of a node's id or cluster, as on the xDS streams: they are kept, and logged."""

_PAUSE: Final = 0.05
"""Seconds for which a stream is not received from once it was too much: even to throw a message away takes time, and
what is not received its sender throws away by itself."""

_SLICE: Final = 50
"""Entries read in one go: about half a millisecond."""
_DELIVER_EVERY: Final = 1.0

_ENDED: Final = b""
"""An empty ``StreamAccessLogsResponse``."""

_Context = grpc.aio.ServicerContext[bytes, bytes]


@dataclass(slots=True)
class AccessLogFacts:
    """How the intake goes, for metrics and people."""

    streams: int = 0
    waiting_bytes: int = 0
    entries: int = 0
    """Requests that were counted."""
    shed: int = 0
    """Requests thrown away because there was no room."""
    refused: int = 0
    """Single figures that cannot be true."""
    unplaced: int = 0
    """Requests of Envoys that no region is known for."""
    unknown: int = 0
    """Requests by a policy, model or cluster that no policy file names."""
    garbage: int = 0
    """Streams ended because what they sent could not be read."""


class _Stream:
    """One Envoy worker's stream."""

    __slots__ = ("garbage", "node_cluster", "node_id", "shed", "waiting")

    def __init__(self, node_id: str, node_cluster: str) -> None:
        self.node_id = node_id
        self.node_cluster = node_cluster
        self.waiting = 0
        self.shed = 0
        self.garbage = asyncio.Event()


class AccessLogs:
    """Access logs as the Envoys send them.

    ``region_of(node_id, node_cluster)`` tells the region of an Envoy, None when it is of none; it is asked for every
    message, so a change of policy needs no new streams.
    """

    def __init__(
        self,
        sums: UsageSums,
        region_of: Callable[[str, str], str | None],
        clock: Callable[[], float],
        take: TakeUsage,
    ) -> None:
        self._sums = sums
        self._region_of = region_of
        self._clock = clock
        self._take = take
        self._streams: set[_Stream] = set()
        self._queue: deque[tuple[_Stream, bytes]] = deque()
        self._arrived = asyncio.Event()
        self._stopped = asyncio.Event()
        self._facts = AccessLogFacts()

    def handler(self) -> "grpc.GenericRpcHandler[bytes, bytes]":
        """Return the handler to register on a gRPC server, before it starts."""
        method = grpc.stream_unary_rpc_method_handler(self._serve)
        return grpc.method_handlers_generic_handler(SERVICE, {METHOD: method})

    async def run(self) -> None:
        """Read what arrives and hand the sums on, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read())
            tasks.create_task(self._deliver_regularly())

    def stop(self) -> None:
        """End every stream, now and from now on, so that the gRPC server's own stop has nothing to wait for."""
        self._stopped.set()

    def facts(self) -> AccessLogFacts:
        """Return how the intake goes."""
        return replace(self._facts, streams=len(self._streams))

    def deliver(self) -> None:
        """Hand on what ended since the last time."""
        usage = self._sums.take()
        if usage:
            self._take(self._clock(), usage)

    async def _deliver_regularly(self) -> None:
        try:
            while True:
                await asyncio.sleep(_DELIVER_EVERY)
                self.deliver()
        finally:
            self.deliver()

    async def _serve(self, requests: AsyncIterator[bytes], context: _Context) -> bytes:
        """Serve one stream to its end."""
        first = await self._first(requests, context)
        if first is None:
            return _ENDED
        stream = await self._introduced(first, context)
        self._streams.add(stream)
        self._put(stream, first)
        receiving = asyncio.create_task(self._receive(requests, stream))
        ends = {receiving, asyncio.create_task(self._stopped.wait()), asyncio.create_task(stream.garbage.wait())}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if stream.garbage.is_set():
                await _refuse(context)
            if receiving.done():
                await receiving
        finally:
            self._streams.discard(stream)
            for task in ends:
                task.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
        return _ENDED

    async def _first(self, requests: AsyncIterator[bytes], context: _Context) -> bytes | None:
        """Wait for the first message; None when the stream ends without one, or is ended."""
        coming = asyncio.ensure_future(anext(requests, None))
        stopped = asyncio.create_task(self._stopped.wait())
        try:
            async with asyncio.timeout(_FIRST_MESSAGE_SECONDS):
                await asyncio.wait({coming, stopped}, return_when=asyncio.FIRST_COMPLETED)
            return await coming if coming.done() else None
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the client did not say in time who it is")
        finally:
            coming.cancel()
            stopped.cancel()
            await asyncio.gather(coming, stopped, return_exceptions=True)

    async def _introduced(self, first: bytes, context: _Context) -> _Stream:
        if (message := self._parsed(first)) is None:
            await _refuse(context)
        if not (message.node_id or message.node_cluster):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first message names no node")
        if max(len(message.node_id), len(message.node_cluster)) > _LONGEST_NAME:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"a node's name is longer than {_LONGEST_NAME}")
        return _Stream(message.node_id, message.node_cluster)

    async def _receive(self, requests: AsyncIterator[bytes], stream: _Stream) -> None:
        async for message in requests:
            if not self._put(stream, message):
                await asyncio.sleep(_PAUSE)

    def _put(self, stream: _Stream, message: bytes) -> bool:
        """Queue a message; False when it was thrown away."""
        size = _size(message)
        if len(message) <= LONGEST_MESSAGE and (
            stream.waiting + size <= MOST_WAITING_OF_ONE and self._facts.waiting_bytes + size <= MOST_WAITING
        ):
            stream.waiting += size
            self._facts.waiting_bytes += size
            self._queue.append((stream, message))
            self._arrived.set()
            return True
        parsed = self._parsed(message)
        if parsed is None:
            stream.garbage.set()
            return False
        if not stream.shed:
            logger.warning(
                "access logs arrive faster than they can be read; some are thrown away",
                extra={"node_id": stream.node_id, "node_cluster": stream.node_cluster},
            )
        stream.shed += len(parsed.entries)
        self._facts.shed += len(parsed.entries)
        return False

    def _parsed(self, message: bytes) -> Message | None:
        """Parse a message; None, and counted, when there is no sense in it."""
        if len(message) <= LONGEST_MESSAGE:
            try:
                return parse(message)
            except DecodeError:
                pass
        self._facts.garbage += 1
        return None

    async def _read(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._queue:
                stream, message = self._queue.popleft()
                await self._count(stream, message)
                # Room only now: what is being read still takes memory.
                stream.waiting -= _size(message)
                self._facts.waiting_bytes -= _size(message)

    async def _count(self, stream: _Stream, message: bytes) -> None:
        """Count the entries of a message, a slice at a time."""
        parsed = self._parsed(message)
        if parsed is None:
            stream.garbage.set()
            return
        region, now = self._region_of(stream.node_id, stream.node_cluster), self._clock()
        if region is None or not parsed.entries:
            self._facts.unplaced += len(parsed.entries)
            # Nothing is counted, but to look at a message takes time as well.
            await asyncio.sleep(0)
            return
        rest = iter(parsed.entries)
        while some := list(islice(rest, _SLICE)):
            for entry in some:
                ended = read(entry)
                self._facts.refused += ended.refused
                if self._sums.add(region, ended, now):
                    self._facts.entries += 1
                else:
                    self._facts.unknown += 1
            await asyncio.sleep(0)


def _size(message: bytes) -> int:
    return len(message) + _MESSAGE_ITSELF


async def _refuse(context: _Context) -> NoReturn:
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not a StreamAccessLogsMessage")
    raise AssertionError("abort raises")
