"""The secrets of feeds: read from where the policy says at each use, so that they may be rotated; never shown.

A message names the variable or file that is at fault, never what it holds.
"""

import asyncio
import configparser
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from penstock.signals.aws_signature import AwsCredentials
from penstock.signals.price_errors import PriceSourceError
from penstock_policies.feed_apis import Credentials

_MOST_BYTES: Final = 64 * 1024
_LONGEST_TOKEN: Final = 8 * 1024
"""Longer than any token that servers take in a header."""


async def token_of(given: Credentials, base: Path, environment: Mapping[str, str] = os.environ) -> str:
    """Read a token: one line of printable ASCII.

    Raises:
        PriceSourceError: it is not there, or is none.

    """
    if given.env is not None:
        where, text = f"the variable {given.env}", environment.get(given.env, "")
    else:
        path = base / (given.file or "")
        where, text = f"the file {path}", await asyncio.to_thread(_read, path)
    token = text.strip()
    if not token:
        raise PriceSourceError(f"no credentials: {where} is missing or empty")
    if len(token) > _LONGEST_TOKEN or not (token.isascii() and token.isprintable() and " " not in token):
        raise PriceSourceError(f"no credentials: {where} holds no token, which is one line without spaces")
    return token


async def aws_credentials(
    given: Credentials | None, base: Path, environment: Mapping[str, str] = os.environ
) -> AwsCredentials:
    """Read AWS's credentials: of a shared credentials file, or else of AWS's own environment variables.

    Raises:
        PriceSourceError: they are not there.

    """
    if given is None or given.file is None:
        known: Mapping[str, str] = {name.lower(): environment.get(name, "") for name in _AWS_VARIABLES}
        where = "the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    else:
        path = base / given.file
        known = _profile(await asyncio.to_thread(_read, path), path, given.profile)
        where = f"profile {given.profile} of the file {path}"
    key_id, secret = known.get("aws_access_key_id", "").strip(), known.get("aws_secret_access_key", "").strip()
    if not key_id or not secret:
        raise PriceSourceError(f"no credentials: {where} lack the key or its secret")
    return AwsCredentials(key_id, secret, known.get("aws_session_token", "").strip() or None)


_AWS_VARIABLES: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def _profile(text: str, path: Path, name: str) -> Mapping[str, str]:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        # The parser's own message quotes the line.
        raise PriceSourceError(f"no credentials: the file {path} is no shared credentials file") from None
    if not parser.has_section(name):
        raise PriceSourceError(f"no credentials: the file {path} has no profile {name}")
    return dict(parser.items(name))


def _read(path: Path) -> str:
    try:
        # Non-blocking, or opening a FIFO would hold a thread for ever.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            return file.read(_MOST_BYTES).decode(errors="replace")
    except OSError as error:
        raise PriceSourceError(f"no credentials: the file {path}: {error.strerror or error}") from error
