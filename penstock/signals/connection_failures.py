"""What a failed question failed at, in words that tell an operator where to look: TCP, TLS, or the answer itself."""

import os
import ssl
from collections.abc import Mapping
from typing import Final

import aiohttp

from penstock.signals.questions import AskError, Layer, Question

_CERTIFICATE: Final[Mapping[int, str]] = {
    9: "certificate not valid yet",
    10: "certificate expired",
    18: "certificate self-signed and not trusted",
    19: "certificate of no trusted root",
    20: "certificate of no trusted root",
    21: "certificate of no trusted root",
    62: "certificate of another name",
    64: "certificate of another address",
}
"""OpenSSL's verification results."""


def not_connected(question: Question, error: Exception) -> AskError:
    """Say why there was no connection."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return AskError(Layer.TLS, _certificate(question, error.certificate_error))
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return AskError(Layer.TCP, f"no address for {question.endpoint.address}")
    # A connector error's own text shows an SSL context as Python sees it, which tells nobody anything.
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, ssl.SSLError):
        return AskError(Layer.TLS, f"handshake failed{f': {cause.reason}' if cause.reason else ''}")
    closed = isinstance(cause, ConnectionResetError | ConnectionAbortedError | BrokenPipeError)
    if question.endpoint.tls is not None and closed:
        return AskError(Layer.TLS, "connected, and cut off during the handshake")
    return AskError(Layer.TCP, _words(cause))


def broken_off(question: Question, error: Exception) -> AskError:
    """Say why there was no whole answer on a connection that stood."""
    if isinstance(error, aiohttp.ClientResponseError | ValueError):
        return AskError(question.layer, "the answer is no HTTP")
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError):
        return AskError(question.layer, "the answer was cut off")
    return AskError(question.layer, _words(error))


def _certificate(question: Question, error: Exception) -> str:
    known = _CERTIFICATE.get(getattr(error, "verify_code", 0))
    if known is None:
        return f"certificate refused: {getattr(error, 'verify_message', '') or type(error).__name__}"
    tls = question.endpoint.tls
    return f"{known} than {tls.sni}" if known.startswith("certificate of another") and tls is not None else known


def _words(error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    text = os.strerror(number) if number is not None and number > 0 else str(error) or type(error).__name__
    return text[:1].lower() + text[1:]
