"""What a server tells of its streams: views for people, callbacks for programs."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ParamSpec, Protocol

from penstock_xds.core.messages import TypeView, Variant

logger = logging.getLogger(__name__)

P = ParamSpec("P")


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

    def on_connect(self, view: StreamView) -> None:
        """Note that a client was admitted to its group."""

    def on_disconnect(self, view: StreamView, reason: str) -> None:
        """Note that the stream ended, for whatever reason."""

    def on_push(self, view: StreamView, type_url: str, bytes_count: int) -> None:
        """Note that a response is being written; its acknowledgement is always told after this."""

    def on_ack(self, view: StreamView, type_url: str, version: str, seconds: float) -> None:
        """Note that the client accepted a response, `seconds` after its content was published."""

    def on_nack(self, view: StreamView, type_url: str, names: tuple[str, ...], version: str, message: str) -> None:
        """Note that the client refused the named resources and keeps what it had."""


def tell(callback: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    """Call a listener; its fault must not cost a client its configuration."""
    try:
        callback(*args, **kwargs)
    except Exception:
        logger.exception("xds listener failed", extra={"callback": callback.__qualname__})
