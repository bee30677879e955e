"""One client's stream: the I/O round a StreamCore.

Two tasks a stream. The reader feeds requests to the core; the writer (the gRPC handler itself) writes what the core has
to say. Between publishers and the writer there is one mailbox that holds the latest snapshot: bursts coalesce in it,
nobody queues, nobody waits for the client. All runs on one event loop, and the core is touched between awaits only, so
there are no locks. Whoever has news while the writer sleeps asks the core itself what to write, and wakes the writer
only if there is something; while the writer is busy it is left a note (`_stirred`) and asks when its hands are free.

A write the client does not take in time ends the stream for the server at once. The call itself can only be closed
behind the write that is under way (gRPC allows one send at a time), so its handler stays until the client reads on, and
is then told to reconnect, or until its connection breaks. It costs the bytes of that one response, and no other stream
anything.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import grpc
from grpc import aio

from penstock_xds.admission import Admission, Ticket
from penstock_xds.cache import Membership, SnapshotCache
from penstock_xds.core.messages import Acked, Event, Nacked, ResourceView, Response
from penstock_xds.core.snapshot import Snapshot
from penstock_xds.core.stream import StreamCore
from penstock_xds.errors import MalformedRequestError
from penstock_xds.households import Household
from penstock_xds.views import WRITE_TIMED_OUT, Client, Listener, Pushed, StreamView, tell
from penstock_xds.wire import ResponseEncoder, decode

logger = logging.getLogger(__name__)

Context = aio.ServicerContext[bytes, bytes]

# Envoy asks for its types one after the other, each when the one before has come. What a stream asks for later than
# this after its first answer is no part of a mass reconnect, and does not queue behind one.
_OPENING_SECONDS = 10.0

# A client that is slow to take its first answer must not keep the others from theirs.
_LONGEST_HOLD_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a stream ends and what the client is told."""

    reason: str
    code: grpc.StatusCode = grpc.StatusCode.OK


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a session shares with the others of its server."""

    encoder: ResponseEncoder
    listener: Listener | None
    clock: Callable[[], float]
    write_timeout: float
    admission: Admission
    closed: Callable[["Session", str], None]
    """To be told of a session that is over before its handler can return."""


class Session:
    """Serves one stream from its first request to its end."""

    __slots__ = (
        "_admission",
        "_alarm",
        "_alarm_at",
        "_asked",
        "_clock",
        "_closed",
        "_context",
        "_core",
        "_due",
        "_encoder",
        "_ending",
        "_household",
        "_listener",
        "_loop",
        "_mail",
        "_mailbox_seconds",
        "_mailed_at",
        "_membership",
        "_opening",
        "_opening_ends",
        "_served",
        "_sleeper",
        "_stirred",
        "_ticket",
        "_write_timeout",
        "_writing_since",
        "client",
        "retire_at",
    )

    def __init__(
        self,
        client: Client,
        core: StreamCore,
        context: Context,
        surroundings: Surroundings,
        household: Household | None = None,
    ) -> None:
        self.client = client
        self.retire_at = math.inf
        """When the stream has reached its age, on the server's clock."""
        self._core = core
        self._context = context
        self._household = household
        self._encoder = surroundings.encoder
        self._listener = surroundings.listener
        self._clock = surroundings.clock
        self._write_timeout = surroundings.write_timeout
        self._admission = surroundings.admission
        self._closed = surroundings.closed
        self._loop = asyncio.get_running_loop()
        self._mail: Snapshot | None = None
        self._mailed_at = 0.0
        self._mailbox_seconds = 0.0
        self._membership: Membership | None = None
        self._served = False
        """Whether there ever was a snapshot for this stream."""
        self._due: Sequence[Response] = ()
        self._stirred = False
        self._sleeper: asyncio.Future[None] | None = None
        self._ending: Ending | None = None
        self._writing_since: float | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0
        self._asked: set[str] = set()
        self._opening = False
        """Whether a type was asked for whose first answer needs a ticket."""
        self._opening_ends = math.inf
        self._ticket: Ticket | None = None
        if household is not None:
            household.enter(client.stream_id, self._wake)

    # From outside

    def join(self, cache: SnapshotCache) -> None:
        """Be brought to what the client's group is served, from now on until `leave`."""
        client = self.client
        self._membership = cache.join(
            client.group,
            client.stream_id,
            self.offer,
            node_id=client.node.id,
            client=self._core,
            aggregated=not client.method.type_url,
            retry=self.retry,
        )

    def leave(self) -> None:
        """Be offered nothing more."""
        if self._membership is not None:
            self._membership.leave()
        self._core.leave()

    def retry(self, type_url: str, name: str, version: str) -> None:
        """Have the client sent again what it refused. Returns at once."""
        self._core.forgive(type_url, name, version, self._clock())
        self._wake()

    def offer(self, snapshot: Snapshot) -> None:
        """Have the client brought to this snapshot; replaces one that is still in the mailbox. Returns at once."""
        if self._mail is None:
            self._mailed_at = self._clock()
        self._mail = snapshot
        self._served = True
        self._wake()

    def end(self, ending: Ending) -> None:
        """Have the stream ended; the first reason given counts. Returns at once."""
        if self._ending is None:
            self._ending = ending
        self._wake()

    def give_up_if_overdue(self, now: float) -> None:
        """End the stream if its client has not taken a response in time."""
        if self._writing_since is None or self._ending is not None:
            return
        if now - self._writing_since >= self._write_timeout:
            reason = f"{WRITE_TIMED_OUT} within {self._write_timeout:g} s"
            self.end(Ending(reason, grpc.StatusCode.DEADLINE_EXCEEDED))
            self._closed(self, reason)

    @property
    def answered(self) -> bool:
        """Whether the client was sent anything yet. To clients, a stream that ends before that has failed."""
        return self._opening_ends != math.inf

    @property
    def settled(self) -> bool:
        """Whether the client has confirmed all it was sent, and has all it should have."""
        return self._mail is None and not self._due and self._core.settled

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

    def resource_views(self) -> Mapping[str, tuple[ResourceView, ...]]:
        """Return every subscribed resource as it is now, by type URL."""
        return {t.type_url: self._core.resource_views(t.type_url) for t in self._core.views()}

    # The stream

    async def run(self, first_request: bytes) -> Ending:
        """Serve until the client or the server ends the stream; returns why. Cancelled when the connection breaks."""
        reader = asyncio.create_task(self._read(first_request), name=f"xds-read-{self.client.stream_id}")
        reader.add_done_callback(lambda _: self._wake())
        try:
            return await self._write(reader)
        finally:
            if self._alarm is not None:
                self._alarm.cancel()
            self._leave_admission()
            reader.cancel()
            await asyncio.wait([reader])

    async def _read(self, first_request: bytes) -> None:
        read = self._context.read
        try:
            self._receive(first_request)
            # At the end of the stream it returns a mark that is no bytes.
            while isinstance(request := await read(), bytes):
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
        now = self._clock()
        first = request.type_url not in self._asked
        if first:
            self._asked.add(request.type_url)
            self._opening = self._opening or now < self._opening_ends
        events = self._core.receive(request, now)
        if first and self._membership is not None:
            self._membership.asked()
        for event in events:
            self._report(event)
        if self._household is not None:
            self._household.stir(self.client.stream_id)
        if self._sleeper is None:
            self._stirred = True
        elif self._ask_core():
            self._rouse()

    async def _write(self, reader: asyncio.Task[None]) -> Ending:
        while self._ending is None:
            if self._due:
                await self._write_due()
            elif self._stirred:
                self._ask_core()
            elif reader.done():
                reader.result()
            else:
                self._sleeper = self._loop.create_future()
                await self._sleeper
        return self._ending

    async def _write_due(self) -> None:
        due, self._due = self._due, ()
        for response in due:
            data, build_seconds = self._encoder.encode(self.client.method.variant, response)
            # Told before it is written, as its acknowledgement may be read before the write returns.
            if self._listener is not None:
                pushed = Pushed(
                    response.type_url,
                    response.version,
                    len(response.resources),
                    len(data),
                    self._mailbox_seconds,
                    build_seconds,
                )
                tell(self._listener.on_push, self.client, pushed)
            self._writing_since = now = self._clock()
            if self._opening_ends == math.inf:
                self._opening_ends = now + _OPENING_SECONDS
            await self._context.write(data)
            self._writing_since = None
            if self._ending is not None:
                break
        self._leave_admission()

    def _ask_core(self) -> bool:
        """Find out what is to be written now; whether there is anything."""
        self._stirred = False
        if not self._served or (self._opening and not self._admitted()):
            return False
        now = self._clock()
        self._mailbox_seconds = 0.0
        if self._mail is not None:
            snapshot, self._mail = self._mail, None
            self._mailbox_seconds = now - self._mailed_at
            self._core.want(snapshot, self._mailed_at)
        self._due = self._core.poll(now)
        if self._due and self._household is not None:
            self._household.stir(self.client.stream_id)
        if self._listener is not None:
            for type_url, count in self._core.take_suppressed().items():
                tell(self._listener.on_suppressed, self.client, type_url, count)
        self._set_alarm(now)
        if not self._due:
            self._leave_admission()
        return bool(self._due)

    def _wake(self) -> None:
        self._stirred = True
        self._rouse()

    def _rouse(self) -> None:
        sleeper, self._sleeper = self._sleeper, None
        if sleeper is not None and not sleeper.done():
            sleeper.set_result(None)

    def _set_alarm(self, now: float) -> None:
        """See to it that the core is asked again when a wait of its own is over."""
        deadline = self._core.next_deadline()
        if self._alarm is not None:
            # One that rings too early does no harm: the core is asked and the next one set.
            if deadline is None or self._alarm_at <= deadline:
                return
            self._alarm.cancel()
        if deadline is not None:
            self._alarm_at = deadline
            self._alarm = self._loop.call_later(max(0.0, deadline - now), self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self._wake()

    # First answers

    def _admitted(self) -> bool:
        """Whether the turn has come for the first answer; queues for it if not done yet."""
        if self._ticket is None:
            self._ticket = self._admission.ask(self._wake, returning=self.answered)
        if not self._ticket.held:
            return False
        self._opening = False
        self._loop.call_later(_LONGEST_HOLD_SECONDS, self._ticket.give_back)
        return True

    def _leave_admission(self) -> None:
        if self._ticket is not None:
            self._ticket.give_back()
            self._ticket = None

    # What it tells

    def _report(self, event: Event) -> None:
        listener, membership = self._listener, self._membership
        if isinstance(event, Acked):
            if listener is not None:
                tell(listener.on_ack, self.client, event)
            if membership is not None:
                membership.acked(event)
            return
        if listener is not None:
            tell(listener.on_nack, self.client, event)
        else:
            self._log_refusal(event)
        if membership is not None:
            membership.nacked(event)

    def _log_refusal(self, refusal: Nacked) -> None:
        logger.warning(
            "client refused resources",
            extra={
                "stream": self.client.stream_id,
                "node": self.client.node.id,
                "group": self.client.group,
                "type_url": refusal.type_url,
                "names": refusal.names,
                "version": refusal.version,
                "refusal": refusal.message,
            },
        )
