"""What a server tells of its streams: views for people, callbacks for programs.

A view is made when it is asked for and costs as much as a push. Callbacks get a `Client`, which exists once per stream.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, ParamSpec, Protocol

from penstock_xds.core.messages import Acked, Nacked, TypeView, Variant
from penstock_xds.node import Node
from penstock_xds.services import Method

logger = logging.getLogger(__name__)

P = ParamSpec("P")

WRITE_TIMED_OUT: Final = "the client did not take a response"
"""How the reason of `Listener.on_disconnect` begins when a stream was ended because its client does not read."""


@dataclass(frozen=True, slots=True)
class Client:
    """Who is at the other end of one stream, from its first request to its end."""

    stream_id: str
    node: Node
    group: str
    peer: str
    """The client's address as gRPC names it, such as `ipv4:127.0.0.1:53112`."""
    method: Method
    connected_at: float
    """Unix time, in seconds."""

    @property
    def variant(self) -> Variant:
        """How the client talks."""
        return self.method.variant


@dataclass(frozen=True, slots=True)
class Pushed:
    """One response that is being written."""

    type_url: str
    version: str
    resources: int
    """How many resources it carries."""
    bytes: int
    mailbox_seconds: float
    """How long the snapshot it comes from waited for this stream to have a free hand; 0 if no new one led to it."""
    build_seconds: float | None
    """What building its bytes took; None if those built for another stream were used."""


@dataclass(frozen=True, slots=True)
class StreamView:
    """One stream at one moment."""

    stream_id: str
    node_id: str
    node_cluster: str
    group: str
    peer: str
    """The client's address as gRPC names it, such as `ipv4:127.0.0.1:53112`."""
    variant: Variant
    connected_at: float
    """Unix time, in seconds."""
    types: Mapping[str, TypeView]
    """By type URL, in the order of service; the types the client asked for."""


class Listener(Protocol):
    """Callbacks of a server, called on its event loop. They must be quick.

    One that raises is logged and costs no client anything.
    """

    def on_connect(self, client: Client) -> None:
        """Note that a client was admitted to its group."""

    def on_disconnect(self, client: Client, reason: str) -> None:
        """Note that the stream ended, for whatever reason."""

    def on_push(self, client: Client, pushed: Pushed) -> None:
        """Note that a response is being written; its acknowledgement is always told after this."""

    def on_ack(self, client: Client, acked: Acked) -> None:
        """Note that the client accepted a response."""

    def on_nack(self, client: Client, nacked: Nacked) -> None:
        """Note that the client refused resources and keeps what it had.

        The library logs a refusal only where no listener is set; the listener knows better what it means.
        """

    def on_suppressed(self, client: Client, type_url: str, count: int) -> None:
        """Note that so many resources were not sent because the client holds them in that very version."""


def tell(callback: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    """Call a listener; its fault must not cost a client its configuration."""
    try:
        callback(*args, **kwargs)
    except Exception:
        logger.exception("xds listener failed", extra={"callback": callback.__qualname__})
