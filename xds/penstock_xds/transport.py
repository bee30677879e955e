"""How the gRPC server is set up: the channel options, each with its reason."""

from collections.abc import Sequence
from typing import Final

from penstock_xds.ageing import Ageing

# A reconnecting Delta client repeats the name and version of all it holds: the default of 4 MiB locks large ones out.
_MAX_REQUEST_BYTES: Final = 64 * 1024 * 1024

# From 1 000 on that it has read and the event loop has not yet taken, gRPC refuses calls at random (as CANCELLED), from
# 3 000 on all: thousands of Envoys that reconnect at once would be turned away. They wait instead, for 30 s at most.
_MAX_CALLS_WAITING: Final = 100_000

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", _MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", -1),
    ("grpc.server.max_pending_requests", _MAX_CALLS_WAITING),
    ("grpc.server.max_pending_requests_hard_limit", _MAX_CALLS_WAITING),
    # Find dead clients behind silent networks, and let clients ping as they like: one told off for it reconnects.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.http2.max_ping_strikes", 0),
)


def options(*, reuse_port: bool, ageing: Ageing | None) -> Sequence[tuple[str, int]]:
    """Return the channel options of a server.

    Args:
        reuse_port: let other processes listen on the same port. If not, a second server on it fails to start instead
            of taking half of the clients unseen.
        ageing: how old streams get; their connections are told in time to end with them.

    """
    chosen = [*_OPTIONS, ("grpc.so_reuseport", int(reuse_port))]
    if ageing is not None:
        # gRPC by default lets the streams of such a connection end when they like.
        chosen.append(("grpc.max_connection_age_ms", max(1, int(ageing.connection_age * 1000))))
    return chosen
