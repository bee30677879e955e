"""From bytes to requests, from responses to bytes.

A response's bytes are built once and shared by all streams that are sent the same content; only the nonce differs, and
it is appended: protobuf parsers merge concatenated messages, so `body + nonce field` is the whole message.
"""

from functools import lru_cache

from google.protobuf.message import DecodeError

from penstock_xds.core.messages import DeltaRequest, Response, SotwRequest, Variant
from penstock_xds.core.snapshot import Resource
from penstock_xds.errors import MalformedRequestError
from penstock_xds.node import Node
from penstock_xds.protos import DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse

# Streams of a group are sent the same few responses at about the same time; older ones are not asked for again.
_SHARED_BODIES = 128


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
    error_message = None if refusal is None else (refusal.message or f"code {refusal.code}, no message")
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


class ResponseEncoder:
    """Writes responses, sharing the bytes of equal ones."""

    def __init__(self, identifier: str) -> None:
        """Encode for the control plane of this name, which clients show to whoever debugs them."""
        self._identifier = identifier
        self._body = lru_cache(maxsize=_SHARED_BODIES)(self._build)

    def encode(self, variant: Variant, response: Response) -> bytes:
        """Return the response as bytes."""
        body = self._body(variant, response.type_url, response.version, response.resources, response.removed)
        nonce = (DeltaDiscoveryResponse if variant is Variant.DELTA else DiscoveryResponse)(nonce=response.nonce)
        suffix: bytes = nonce.SerializeToString()
        return body + suffix

    def _build(
        self, variant: Variant, type_url: str, version: str, resources: tuple[Resource, ...], removed: tuple[str, ...]
    ) -> bytes:
        if variant is Variant.DELTA:
            message = DeltaDiscoveryResponse(type_url=type_url, system_version_info=version, removed_resources=removed)
            for resource in resources:
                entry = message.resources.add(name=resource.name, version=resource.version)
                entry.resource.type_url, entry.resource.value = type_url, resource.body
        else:
            message = DiscoveryResponse(type_url=type_url, version_info=version)
            for resource in resources:
                message.resources.add(type_url=type_url, value=resource.body)
        message.control_plane.identifier = self._identifier
        data: bytes = message.SerializeToString(deterministic=True)
        return data
