"""Credentials of a server with mutual TLS, from files that may be replaced while it runs.

gRPC asks for the certificates at each handshake, on a thread of its own; looking at three files' times costs
microseconds beside it. Files that do not fit together (a rotation that is half done) are never served: the last good
ones stay, and a warning says so.
"""

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import grpc

from penstock_xds.errors import CertificateError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where the PEM files of a server are."""

    certificate: Path
    """The server's certificate, then those between it and its root."""
    key: Path
    client_authorities: Path
    """The certificates that may have signed a client's."""

    def read(self) -> grpc.ServerCertificateConfiguration:
        """Read and check them.

        Raises:
            CertificateError: a file cannot be read, is no PEM, or certificate and key do not fit together.

        """
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate, self.key)
            context.load_verify_locations(self.client_authorities)
            pair = (self.key.read_bytes(), self.certificate.read_bytes())
            return grpc.ssl_server_certificate_configuration([pair], self.client_authorities.read_bytes())
        except (OSError, ValueError) as error:
            raise CertificateError(str(self.certificate), str(error)) from error

    def marks(self) -> tuple[tuple[int, int, int], ...]:
        """Return what changes when a file is written or replaced, symbolic links followed; nothing if one is gone."""
        try:
            states = [path.stat() for path in (self.certificate, self.key, self.client_authorities)]
        except OSError:
            return ()
        return tuple((state.st_mtime_ns, state.st_ino, state.st_size) for state in states)


class _Reloading:
    """Hands gRPC new certificates when the files have changed. Called from gRPC's threads."""

    def __init__(self, files: CertificateFiles) -> None:
        self._files = files
        self._lock = Lock()
        # Marks first: a change while reading is then seen at the next handshake.
        self._marks = files.marks()
        self.first = files.read()

    def fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the certificates if they are others than the last; None to go on with those."""
        with self._lock:
            marks = self._files.marks()
            if marks == self._marks:
                return None
            self._marks = marks
            try:
                configuration = self._files.read()
            except CertificateError as error:
                logger.warning("new certificates cannot be used, the old ones stay", extra={"error": str(error)})
                return None
        logger.info("certificates reloaded", extra={"certificate": str(self._files.certificate)})
        return configuration


def mutual_tls(files: CertificateFiles, *, require_client_certificate: bool = True) -> grpc.ServerCredentials:
    """Return server credentials that follow their files.

    Args:
        files: the certificates.
        require_client_certificate: refuse handshakes of clients without a certificate of one of the authorities. If
            not, clients are not even asked for one: encryption alone.

    Raises:
        CertificateError: the files cannot be used.

    """
    reloading = _Reloading(files)
    return grpc.dynamic_ssl_server_credentials(
        reloading.first,
        reloading.fetch,  # type: ignore[arg-type]  # the stubs leave out that None means no change
        require_client_authentication=require_client_certificate,
    )
