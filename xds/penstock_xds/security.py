"""Who is really there: the peer a connection proves, and the hook that decides which node to believe.

A node is a claim: anybody may write any id into it. An `Authenticator` is asked once a stream, before the node is
believed and before anything is served. It fails closed: whatever it raises, the client gets nothing.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import grpc

from penstock_xds.errors import XdsError
from penstock_xds.node import Node


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection, as TLS and gRPC know it. Nothing here is a mere claim but `authorization`."""

    address: str
    """As gRPC names it, such as `ipv4:127.0.0.1:53112`."""
    certificate: bytes = field(default=b"", repr=False)
    """The client's verified certificate as PEM; empty without mutual TLS."""
    subject: str = ""
    """The certificate's subject, as a distinguished name (`CN=...,O=...`)."""
    common_name: str = ""
    alternative_names: tuple[str, ...] = ()
    """The certificate's subject alternative names: DNS names, URIs (SPIFFE ids), addresses, as text."""
    authorization: str = field(default="", repr=False)
    """The `authorization` metadata of the call: a secret, so never shown and never to be logged."""


class RefusedError(XdsError):
    """An authenticator refuses a client. The reason is told to the client and logged: put no secret into it."""

    def __init__(self, reason: str, code: grpc.StatusCode = grpc.StatusCode.PERMISSION_DENIED) -> None:
        """Refuse.

        Args:
            reason: why, in a sentence of few words; the same words for the same cause, as repetitions are not logged.
            code: `PERMISSION_DENIED`, or `UNAUTHENTICATED` if the client has not proven to be anybody.

        """
        super().__init__(reason)
        self.reason = reason
        self.code = code


class Authenticator(Protocol):
    """Decides which node a peer is believed to be."""

    def __call__(self, peer: Peer, claimed: Node) -> Awaitable[Node]:
        """Return the node to believe: the claimed one, or one with what was claimed in vain taken out.

        The groups of the server are a function of that node alone, so leave nothing in it that they depend on and
        that the peer has not proven.

        Raises:
            RefusedError: the client is to be refused.

        """
        ...


class Metadata(Protocol):
    """The part of a gRPC call a peer is read from."""

    def peer(self) -> str:
        """Return the address."""
        ...

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """Return what the transport proved."""
        ...

    def invocation_metadata(self) -> "Iterable[tuple[str, str | bytes]] | None":
        """Return the headers of the call."""
        ...


def peer_of(call: Metadata) -> Peer:
    """Read the peer of a call."""
    proven = call.auth_context()

    def texts(key: str) -> tuple[str, ...]:
        return tuple(value.decode(errors="replace") for value in proven.get(key, ()))

    headers = call.invocation_metadata() or ()
    authorization = next((value for key, value in headers if key == "authorization"), "")
    return Peer(
        address=call.peer(),
        certificate=b"".join(proven.get("x509_pem_cert", ())),
        subject=next(iter(texts("x509_subject")), ""),
        common_name=next(iter(texts("x509_common_name")), ""),
        alternative_names=texts("x509_subject_alternative_name"),
        authorization=authorization.decode(errors="replace") if isinstance(authorization, bytes) else authorization,
    )


def _own_name(node: Node) -> tuple[str, ...]:
    return (node.id,)


def san_authenticator(names_of: Callable[[Node], Iterable[str]] = _own_name) -> Authenticator:
    """Believe a node only if the peer's certificate holds its name as a subject alternative name.

    Args:
        names_of: the alternative names that prove a node, any of which will do; the node's id itself unless told.
            If the groups depend on the node's cluster, let the name prove that, too:
            `lambda node: [f"spiffe://example.org/{node.cluster}/{node.id}"]`.

    """

    async def authenticate(peer: Peer, claimed: Node) -> Node:
        if not peer.certificate:
            raise RefusedError("a client certificate is needed", grpc.StatusCode.UNAUTHENTICATED)
        if not claimed.id or not set(names_of(claimed)) & set(peer.alternative_names):
            raise RefusedError("the client certificate does not prove the node id")
        return claimed

    return authenticate
