"""From bytes to requests, from responses to bytes.

A response's bytes are built once and shared by all streams that are sent the same content; only the nonce differs, and
it is appended: protobuf parsers merge concatenated messages, so `body + nonce field` is the whole message.
"""

import time
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import DecodeError

from penstock_xds.core.messages import DeltaRequest, Response, SotwRequest, Variant
from penstock_xds.errors import MalformedRequestError
from penstock_xds.node import Node
from penstock_xds.protos import (
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
    DiscoveryRequest,
    DiscoveryResponse,
    ResourceProto,
)
from penstock_xds.types import VIRTUAL_HOST

# Streams of a group are sent the same few responses at about the same time; older ones are not asked for again.
_SHARED_BODIES: Final = 128

# Envoy cuts its own errors at this length; nobody's may fill logs and memory here.
_LONGEST_ERROR: Final = 4096

_NANOSECONDS: Final = 1_000_000_000

# `nonce` is field 5 of both response messages, of wire type 2: this tag, one byte of length (a nonce of this library is
# far below 128 bytes), the bytes. Writing it by hand costs a tenth of a message object.
_NONCE_TAG = bytes((5 << 3 | 2,))


def decode_node(variant: Variant, data: bytes) -> Node | None:
    """Read the node of a request; None if it has none, as all but the first of a stream may.

    Raises:
        MalformedRequestError: no such message.

    """
    message = _parse(variant, data)
    return Node.of(message.node) if message.HasField("node") else None


def decode(variant: Variant, data: bytes, *, implied_type: str = "") -> SotwRequest | DeltaRequest:
    """Read a request, without its node.

    Args:
        variant: which message it is.
        data: the message.
        implied_type: the type URL of a per-type stream, which its requests may leave out.

    Raises:
        MalformedRequestError: no such message, no type URL, or another type than the stream's.

    """
    message = _parse(variant, data)
    type_url: str = message.type_url or implied_type
    if not type_url:
        raise MalformedRequestError("type_url is missing; it is mandatory on an aggregated stream")
    if implied_type and type_url != implied_type:
        raise MalformedRequestError(f"type_url {type_url} on a stream of {implied_type}")
    refusal = message.error_detail if message.HasField("error_detail") else None
    error_message = None
    if refusal is not None:
        error_message = refusal.message[:_LONGEST_ERROR] or f"code {refusal.code}, no message"
    if variant is Variant.DELTA:
        return DeltaRequest(
            type_url=type_url,
            nonce=message.response_nonce,
            subscribe=tuple(message.resource_names_subscribe),
            unsubscribe=tuple(message.resource_names_unsubscribe),
            initial_versions=dict(message.initial_resource_versions),
            error=error_message,
        )
    return SotwRequest(
        type_url=type_url,
        version=message.version_info,
        nonce=message.response_nonce,
        names=tuple(message.resource_names),
        error=error_message,
    )


def _parse(variant: Variant, data: bytes) -> DeltaDiscoveryRequest | DiscoveryRequest:
    try:
        return (DeltaDiscoveryRequest if variant is Variant.DELTA else DiscoveryRequest).FromString(data)
    except DecodeError as error:
        raise MalformedRequestError(f"not a {variant} discovery request: {error}") from error


@dataclass(frozen=True, slots=True)
class _Shared:
    """The bytes of a response, and the response: while it is kept, the identities of its resources are its own."""

    response: Response
    body: bytes


class ResponseEncoder:
    """Writes responses, sharing the bytes of equal ones. For use by one thread."""

    def __init__(self, identifier: str) -> None:
        """Encode for the control plane of this name, which clients show to whoever debugs them."""
        self._identifier = identifier
        self._shared: dict[tuple[object, ...], _Shared] = {}

    def encode(self, variant: Variant, response: Response) -> tuple[bytes, float | None]:
        """Return the response as bytes, and the seconds it took to build them; None if another stream's were shared."""
        # Streams of a group share the resources themselves, so their identities tell as much as their contents, and
        # cost far less to look up.
        key = (
            variant,
            response.type_url,
            response.version,
            response.removed,
            response.errors,
            response.expires,
            *map(id, response.resources),
            None,
            *map(id, response.heartbeats),
        )
        found = self._shared.get(key)
        seconds: float | None = None
        if found is None:
            started = time.perf_counter()
            found = _Shared(response, self._build(variant, response))
            seconds = time.perf_counter() - started
            if len(self._shared) >= _SHARED_BODIES:
                del self._shared[next(iter(self._shared))]
            self._shared[key] = found
        nonce = response.nonce.encode()
        return b"".join((found.body, _NONCE_TAG, bytes((len(nonce),)), nonce)), seconds

    def _build(self, variant: Variant, response: Response) -> bytes:
        build = _delta if variant is Variant.DELTA else _sotw
        message = build(response)
        for error in response.errors:
            entry = message.resource_errors.add()
            entry.resource_name.name = error.name
            entry.error_detail.code, entry.error_detail.message = error.code, error.message
        message.control_plane.identifier = self._identifier
        data: bytes = message.SerializeToString(deterministic=True)
        return data


def _delta(response: Response) -> DeltaDiscoveryResponse:
    type_url = response.type_url
    message = DeltaDiscoveryResponse(
        type_url=type_url, system_version_info=response.version, removed_resources=response.removed
    )
    for resource in response.resources:
        entry = message.resources.add(name=resource.name, version=resource.version)
        entry.resource.type_url, entry.resource.value = type_url, resource.body
        if type_url == VIRTUAL_HOST:
            # Envoy asks by alias and resumes the requests that wait for it once a response bears it.
            entry.aliases.append(resource.name)
        if response.expires and resource.ttl is not None:
            entry.ttl.FromNanoseconds(round(resource.ttl * _NANOSECONDS))
    for resource in response.heartbeats:
        entry = message.resources.add(name=resource.name, version=resource.version)
        entry.ttl.FromNanoseconds(round((resource.ttl or 0.0) * _NANOSECONDS))
    return message


def _sotw(response: Response) -> DiscoveryResponse:
    type_url = response.type_url
    message = DiscoveryResponse(type_url=type_url, version_info=response.version)
    for resource in response.resources:
        if response.expires and resource.ttl is not None:
            wrapper = ResourceProto(name=resource.name, version=resource.version)
            wrapper.resource.type_url, wrapper.resource.value = type_url, resource.body
            wrapper.ttl.FromNanoseconds(round(resource.ttl * _NANOSECONDS))
            message.resources.add().Pack(wrapper, deterministic=True)
        else:
            message.resources.add(type_url=type_url, value=resource.body)
    return message
