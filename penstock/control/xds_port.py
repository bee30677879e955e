"""How the xDS port is served: in plain text or over TLS, who is believed, how long streams live, how they are ended."""

import logging
from dataclasses import dataclass
from pathlib import Path

import grpc

from penstock.admin.address import AddressError, parse_address
from penstock.admin.security import is_loopback
from penstock.control.errors import StartError
from penstock_xds import Authenticator, CertificateError, CertificateFiles, mutual_tls, san_authenticator

logger = logging.getLogger(__name__)

DEFAULT_DRAIN_WINDOW = 1.0
"""Seconds. Enough to keep a thousand Envoys from reconnecting in the same instant, and well within the 10 s that the
least patient of common supervisors (docker stop) waits before it kills."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files. They are read again when they change."""

    certificate: Path
    key: Path
    client_authorities: Path | None = None
    """Those who may have signed an Envoy's certificate; None asks Envoys for none."""


@dataclass(frozen=True, slots=True)
class XdsPort:
    """Times in seconds."""

    tls: TlsFiles | None = None
    """None serves plain text."""
    max_age: float | None = None
    """A stream is ended in good order after four fifths of this to all of it, by chance; None: never."""
    drain_window: float = DEFAULT_DRAIN_WINDOW
    """When Penstock stops, streams are ended evenly over this time."""
    refusal_tolerance: float = 0.0
    """The share of a group's Envoys, from 0 to below 1, that may refuse a version that the others accept before it is
    quarantined for all of them. 0: the first refusal does."""

    def credentials(self) -> grpc.ServerCredentials | None:
        """Return what the port is served with; None for plain text.

        Raises:
            StartError: the files cannot be used.
        """
        if self.tls is None:
            return None
        authorities = self.tls.client_authorities
        # Without client certificates nothing is ever checked against the authorities, but gRPC wants to be told some.
        files = CertificateFiles(self.tls.certificate, self.tls.key, authorities or self.tls.certificate)
        try:
            return mutual_tls(files, require_client_certificate=authorities is not None)
        except CertificateError as error:
            raise StartError(f"cannot serve xDS over TLS: {error}") from error

    def authenticator(self) -> Authenticator | None:
        """Return who decides which Envoy to believe: with client certificates, its node id must be one of the names."""
        return None if self.tls is None or self.tls.client_authorities is None else san_authenticator()

    def warn_if_open(self, address: str) -> None:
        """Say so when anybody who reaches the port is served.

        Raises:
            StartError: ``address`` is no address.
        """
        try:
            host, _ = parse_address(address)
        except AddressError as error:
            raise StartError(f"cannot serve xDS: {error}") from error
        if self.authenticator() is None and not is_loopback(host):
            logger.warning("xds port asks for no client certificate and is open beyond loopback", extra={"host": host})
