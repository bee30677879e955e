"""AWS Signature Version 4, for POST requests with a body and no query: all that the price APIs need of it. Pure.

AWS IAM User Guide, "Create a signed AWS API request"; tested against AWS's published test vectors.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

_ALGORITHM: Final = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class AwsCredentials:
    """A key, its secret, and the token of a session where it is of one. ``repr`` tells none of them."""

    key_id: str = field(repr=False)
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may hold."""
        return (self.secret, self.key_id) if self.token is None else (self.secret, self.key_id, self.token)


def signed_headers(
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    credentials: AwsCredentials,
    *,
    region: str,
    service: str,
    at: float,
    method: str = "POST",
) -> dict[str, str]:
    """Give the headers to send: ``headers`` (lower-case names), the time (Unix), the token, the signature of all."""
    parts = urlsplit(url)
    moment = datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%SZ")
    sent = {name.lower(): value.strip() for name, value in headers.items()} | {"x-amz-date": moment}
    if credentials.token is not None:
        sent["x-amz-security-token"] = credentials.token
    default = {"https": ":443", "http": ":80"}.get(parts.scheme, "")
    canonical = {**sent, "host": parts.netloc.removesuffix(default)}
    names = ";".join(sorted(canonical))
    request = "\n".join(
        (
            method,
            parts.path or "/",
            parts.query,
            *(f"{name}:{canonical[name]}" for name in sorted(canonical)),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        )
    )
    scope = f"{moment[:8]}/{region}/{service}/aws4_request"
    text = "\n".join((_ALGORITHM, moment, scope, hashlib.sha256(request.encode()).hexdigest()))
    key = f"AWS4{credentials.secret}".encode()
    for part in (moment[:8], region, service, "aws4_request", text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    sent["authorization"] = (
        f"{_ALGORITHM} Credential={credentials.key_id}/{scope}, SignedHeaders={names}, Signature={key.hex()}"
    )
    return sent
