"""From a new stream to a client: who may come in, who it is, and which group it belongs to.

Everything that is decided about a stream before it is served, in this order: is there room, does it say who it is in
time, may it be believed, does a group take it. Each refusal is told to the client with its reason; those that an
operator should know of are logged, the same one at most once a minute, as clients try again and again.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import grpc

from penstock_xds.doorkeeper import LONGEST_NAME, Doorkeeper
from penstock_xds.errors import MalformedRequestError
from penstock_xds.node import Node
from penstock_xds.services import Method
from penstock_xds.session import Context
from penstock_xds.wire import decode_node


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A stream that may be served."""

    node: Node
    group: str
    peer: str
    first_request: bytes


class Entrance:
    """The door of one server."""

    def __init__(
        self,
        *,
        group_of: Callable[[Node], str | None],
        doorkeeper: Doorkeeper,
        first_request_timeout: float,
        max_streams: int | None,
        streams: Callable[[], int],
    ) -> None:
        """Prepare to let streams in; `streams` says how many are being served."""
        self._group_of = group_of
        self._doorkeeper = doorkeeper
        self._first_request_timeout = first_request_timeout
        self._max_streams = max_streams
        self._streams = streams
        self._at_the_door: set[asyncio.Timeout] = set()
        self._closed = False

    def close(self) -> None:
        """Let nobody in any more, nor those who stand at the door."""
        self._closed = True
        now = asyncio.get_running_loop().time()
        for patience in self._at_the_door:
            patience.reschedule(now)

    async def admit(self, context: Context, method: Method) -> Newcomer | None:
        """Let a stream in; None if the client has closed it already. Refusals abort the call."""
        if self._closed:
            await self._turn_away(context)
        waiting = len(self._at_the_door)
        if self._max_streams is not None and self._streams() + waiting >= self._max_streams:
            self._doorkeeper.log("server is full", context.peer(), cause="", streams=str(self._max_streams))
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "this server has all the streams it takes")
        try:
            async with asyncio.timeout(self._first_request_timeout) as patience:
                self._at_the_door.add(patience)
                try:
                    return await self._identify(context, method)
                finally:
                    self._at_the_door.discard(patience)
        except TimeoutError:
            if self._closed:
                await self._turn_away(context)
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the client did not say in time who it is")

    async def _identify(self, context: Context, method: Method) -> Newcomer | None:
        first_request = await context.read()
        if not isinstance(first_request, bytes):
            return None
        try:
            claimed = decode_node(method.variant, first_request)
        except MalformedRequestError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        if claimed is None or not claimed.id:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first request of a stream must carry node.id")
        if len(claimed.id) > LONGEST_NAME:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"node.id is longer than {LONGEST_NAME} characters")
        node = await self._doorkeeper.believe(context, claimed)
        group = self._group_of(node)
        if group is None:
            cluster = node.cluster[:LONGEST_NAME]
            self._doorkeeper.log(
                "client belongs to no group", context.peer(), cause="", node=node.id, node_cluster=cluster
            )
            await context.abort(
                grpc.StatusCode.NOT_FOUND, f"no group takes node {node.id!r} of node cluster {cluster!r}"
            )
        return Newcomer(node, group, context.peer(), first_request)

    async def _turn_away(self, context: Context) -> NoReturn:
        await context.abort(grpc.StatusCode.UNAVAILABLE, "the server is shutting down")
