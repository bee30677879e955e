"""Certificates for tests, made by the openssl command line."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Issued:
    certificate: Path
    key: Path

    def read(self) -> tuple[bytes, bytes]:
        return self.key.read_bytes(), self.certificate.read_bytes()


class Authority:
    """A certificate authority in a folder."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self.certificate = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        _openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"),
            *("-keyout", self._key, "-out", self.certificate, "-subj", f"/CN={name}"),
            *("-addext", "keyUsage=critical,keyCertSign"),
        )

    def issue(self, file: str, *names: str) -> Issued:
        """Issues a certificate for these alternative names, each like `DNS:localhost` or `URI:spiffe://...`."""
        issued = Issued(self._folder / f"{file}.pem", self._folder / f"{file}.key")
        _openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"),
            *("-CA", self.certificate, "-CAkey", self._key, "-keyout", issued.key, "-out", issued.certificate),
            *("-subj", f"/CN={file}", "-addext", f"subjectAltName={','.join(names)}"),
            *("-addext", "basicConstraints=critical,CA:FALSE"),
        )
        return issued


def self_signed(folder: Path, common_name: str) -> Issued:
    """A certificate that answers for itself."""
    issued = Issued(folder / f"{common_name}.crt", folder / f"{common_name}.key")
    _openssl(
        *("req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "1"),
        *("-subj", f"/CN={common_name}", "-out", issued.certificate, "-keyout", issued.key),
    )
    return issued


def _openssl(*arguments: str | Path) -> None:
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("the openssl command makes the certificates of this test (.ci/run installs it)")
    subprocess.run([program, *map(str, arguments)], check=True, capture_output=True, timeout=30)
