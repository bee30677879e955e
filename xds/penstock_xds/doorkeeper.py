"""Asks the authenticator whom to believe, and turns its refusals into gRPC statuses and log lines.

A log line that would repeat itself is written once a minute, with the number of times it was left out: refused clients
try again and again.
"""

import logging
from collections.abc import Callable
from typing import Final

import grpc
from grpc import aio

from penstock_xds.node import Node
from penstock_xds.repeats import Repeats
from penstock_xds.security import Authenticator, RefusedError, peer_of

logger = logging.getLogger(__name__)

# A claim goes into logs, and into the status a client is refused with, which gRPC carries in a header of 8 KiB at most.
LONGEST_NAME: Final = 1024
"""Characters of a claimed name that are taken seriously."""

Call = aio.ServicerContext[bytes, bytes]


class Doorkeeper:
    """Stands at the door of one or more services."""

    def __init__(self, authenticator: Authenticator | None, clock: Callable[[], float]) -> None:
        """Begin; without an authenticator everybody is believed."""
        self._authenticator = authenticator
        self._repeats = Repeats(clock)

    async def believe(self, call: Call, claimed: Node) -> Node:
        """Return the node to believe. A refusal aborts the call, and so does an authenticator that fails."""
        if self._authenticator is None:
            return claimed
        peer = peer_of(call)
        try:
            return await self._authenticator(peer, claimed)
        except RefusedError as refusal:
            facts = {"node": claimed.id[:LONGEST_NAME], "subject": peer.subject, "reason": refusal.reason}
            self.log("client refused", peer.address, cause=refusal.reason, **facts)
            await call.abort(refusal.code, refusal.reason)
        except Exception:
            # Fail closed, whatever it is. The client learns nothing of what broke.
            logger.exception("authenticator failed", extra={"node": claimed.id[:LONGEST_NAME], "peer": peer.address})
            await call.abort(grpc.StatusCode.UNAVAILABLE, "the client cannot be authenticated now")

    def log(self, message: str, peer: str, *, cause: str, **facts: str) -> None:
        """Warn of something a client did, unless the same was said of its host and the cause within the last minute.

        What clients claim is no part of the cause: with ever new names they could fill the log.
        """
        host = peer.rpartition(":")[0]
        left_out = self._repeats.count(message, host, cause)
        if left_out is not None:
            logger.warning(message, extra={"peer": peer, "left_out": left_out, **facts})
