"""What entries of Envoy's access logs say, as plain figures. Pure: bytes in, figures out.

Of all that an entry holds only names, numbers and times are looked at. Paths, user agents, addresses and whatever else
Envoy sends unasked is never read and goes with the message. Figures that cannot be true are left out and counted.
"""

import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from envoy.service.accesslog.v3 import als_pb2

from penstock_envoy.access_logs import FIRST_BYTE_TAG
from penstock_envoy.token_usage import (
    CACHE_READ_KEY,
    CACHE_WRITE_KEY,
    CACHED_KEY,
    OUTPUT_KEY,
    PROMPT_KEY,
    STREAM_KEY,
    USAGE,
)

MOST_TOKENS: Final = 10_000_000
"""Of one request, prompt or output. The engine's own limit of what a request can have."""
LONGEST: Final = 86_400.0
"""Seconds that a request can take."""
_GREATEST_STATUS: Final = 999

_QUOTA_USED_UP: Final = 429
_ERRORS: Final = 500
_GOOD: Final = range(200, 300)

# Fields of `ResponseFlags` that say the client ended it; every other that comes with an answer says that it broke.
_CLIENT_LEFT: Final = frozenset({"downstream_connection_termination", "downstream_remote_reset"})
# Those that say something of an answer that is whole all the same.
_WHOLE: Final = frozenset({"upstream_retry_limit_exceeded", "delay_injected", "fault_injected", "rate_limited"})


class Ended(NamedTuple):
    """One request that has ended."""

    route: str
    """The route's name: class, policy and model."""
    cluster: str
    """The one whose answer the client got; empty where none answered."""
    failed: bool
    """Ended with a 5xx, a 429 or a stream that broke; not one that its client left."""
    metered: bool
    """Said its tokens, and did not fail."""
    unmetered: bool
    """Was answered well and did not say its tokens."""
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    seconds: float
    first_token: float | None
    """Seconds from sending the request to the cluster to the first token of a stream; None where there was none."""
    refused: int
    """Figures that could not be true."""


class Message(NamedTuple):
    """One message of a stream."""

    node_id: str
    """Empty in all but the first message of a stream, as ``node_cluster``."""
    node_cluster: str
    entries: Sequence[Any]
    """For :func:`read`, one by one: a message may hold thousands."""


def parse(message: bytes) -> Message:
    """Read a ``StreamAccessLogsMessage``, its entries not yet.

    Raises:
        google.protobuf.message.DecodeError: these are not the bytes of one.
    """
    parsed = als_pb2.StreamAccessLogsMessage.FromString(message)
    node = parsed.identifier.node
    return Message(node.id, node.cluster, parsed.http_logs.log_entry)


def read(entry: Any) -> Ended:  # noqa: ANN401 - the message has no stubs
    """Read one ``HTTPAccessLogEntry``."""
    common = entry.common_properties
    refused = 0
    # 0 where the client left before there was one.
    status = entry.response.response_code.value
    if status > _GREATEST_STATUS:
        status, refused = 0, 1
    took = common.duration
    seconds = took.seconds + took.nanos / 1e9
    if not 0.0 <= seconds <= LONGEST:
        seconds, refused = 0.0, refused + 1
    # Set by the headers of the attempt that the client's answer came from: what Envoy says by itself has none.
    answered = common.HasField("time_to_first_upstream_rx_byte")
    failed = status >= _ERRORS or status == _QUOTA_USED_UP or _broken(common.response_flags)
    prompt = cached = output = 0
    counted = stream = False
    told = common.metadata.filter_metadata.get(USAGE)
    if told is not None:
        fields = told.fields
        stream = STREAM_KEY in fields
        tokens = _tokens(fields)
        if tokens is None:
            refused += 1
        else:
            counted, prompt, cached, output = tokens
    first_token: float | None = None
    if stream and not failed and (text := common.custom_tags.get(FIRST_BYTE_TAG)):
        microseconds = _whole_number(text, int(LONGEST * 1e6))
        if microseconds is None:
            refused += 1
        else:
            first_token = microseconds / 1e6
    return Ended(
        common.route_name,
        common.upstream_cluster if answered else "",
        failed,
        counted and not failed,
        answered and not failed and not counted and status in _GOOD,
        prompt,
        cached,
        output,
        seconds,
        first_token,
        refused,
    )


def _whole_number(text: str, greatest: int) -> int | None:
    """Read a number that Envoy wrote; None for anything else."""
    # isdecimal() alone takes other scripts' digits, and int() takes blanks and underscores.
    if not (text.isascii() and text.isdecimal()) or len(text) > len(str(greatest)):
        return None
    number = int(text)
    return number if number <= greatest else None


def _broken(flags: Any) -> bool:  # noqa: ANN401 - the message has no stubs
    return any(field.name not in _CLIENT_LEFT and field.name not in _WHOLE for field, _ in flags.ListFields())


def _tokens(fields: Any) -> tuple[bool, int, int, int] | None:  # noqa: ANN401 - the message has no stubs
    """Give whether tokens were told, and prompt, cached and output tokens; None when they cannot be true."""
    told = {key: value.number_value for key, value in fields.items()}
    prompt, output = told.get(PROMPT_KEY), told.get(OUTPUT_KEY)
    if prompt is None and output is None:
        return False, 0, 0, 0
    cached = told.get(CACHED_KEY, 0.0)
    if CACHE_READ_KEY in told or CACHE_WRITE_KEY in told:
        # Anthropic's count of input leaves out what came from its cache or went there.
        cached = told.get(CACHE_READ_KEY, 0.0)
        prompt = (prompt or 0.0) + cached + told.get(CACHE_WRITE_KEY, 0.0)
    figures = (prompt or 0.0, cached, output or 0.0)
    if not all(math.isfinite(figure) and 0 <= figure <= MOST_TOKENS for figure in figures):
        return None
    return True, int(figures[0]), min(int(cached), int(figures[0])), int(figures[2])
