"""What cost feeds show to their servers: a token, or AWS's key and its secret. Where they are is the keyring's matter.

A message names the variable or file that is at fault, never what it holds.
"""

import configparser
from collections.abc import Mapping
from typing import Final

from penstock.signals.aws_signature import AwsCredentials
from penstock.signals.credentials import CredentialError, Keyring, Secret, is_key
from penstock.signals.price_errors import PriceSourceError
from penstock_policies.feed_apis import Credentials

_AWS_VARIABLES: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


async def token_of(given: Credentials, keyring: Keyring) -> Secret:
    """Read a token.

    Raises:
        PriceSourceError: it is not there, or is none.

    """
    try:
        return await keyring.key(given)
    except CredentialError as error:
        raise PriceSourceError(f"no credentials: {error}") from None


async def aws_credentials(given: Credentials | None, keyring: Keyring) -> AwsCredentials:
    """Read AWS's credentials: of a shared credentials file, or else of AWS's own environment variables.

    Raises:
        PriceSourceError: they are not there, or are none.

    """
    if given is None or given.file is None:
        where = "the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        found = {name.lower(): keyring.variable(name) for name in _AWS_VARIABLES}
        known: Mapping[str, str] = {name: secret.reveal() for name, secret in found.items() if secret is not None}
    else:
        where = f"profile {given.profile} of file {given.file}"
        try:
            known = _profile(await keyring.file(given.file), given)
        except CredentialError as error:
            raise PriceSourceError(f"no credentials: {error}") from None
    key_id, secret, token = (known.get(name.lower(), "").strip() for name in _AWS_VARIABLES)
    if not key_id or not secret:
        raise PriceSourceError(f"no credentials: {where} lack the key or its secret")
    if not all(is_key(each) for each in (key_id, secret, token) if each):
        raise PriceSourceError(f"no credentials: {where}: a value is not one line of printable characters")
    return AwsCredentials(key_id, secret, token or None)


def _profile(text: Secret, given: Credentials) -> Mapping[str, str]:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text.reveal())
    except configparser.Error:
        # The parser's own message quotes the line.
        raise CredentialError(f"file {given.file} is no shared credentials file") from None
    if not parser.has_section(given.profile):
        raise CredentialError(f"file {given.file} has no profile {given.profile}")
    return dict(parser.items(given.profile))
