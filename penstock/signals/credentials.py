"""The keys that probes show, and how they stay secret.

A policy names a variable or a file (:class:`penstock_policies.probing.Credential`); what is in it is read here, at
every use, and leaves in a request's header alone: a :class:`Secret` shows itself to nobody else. An error names the
place and never quotes what was found there.
"""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from penstock_policies.probing import Credential

MOST_BYTES: Final = 16 * 1024
"""Of a key: tokens signed by an identity provider have some kilobytes, and servers refuse longer headers."""


class CredentialError(Exception):
    """A key cannot be had; the text says why, and names where it was looked for."""


class Secret:
    """A text that is not shown."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text, to be sent to whom it is for."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    __hash__ = None  # type: ignore[assignment]  # nobody needs a table of secrets


class Keyring:
    """Finds keys. ``directory`` is where files are looked for; without one there are none."""

    def __init__(self, directory: Path | None = None, environment: Mapping[str, str] = os.environ) -> None:
        self._directory = directory
        self._environment = environment

    async def header(self, credential: Credential) -> tuple[str, Secret]:
        """Return the name of the header a key is sent in, and its value.

        Raises:
            CredentialError: the key cannot be had.

        """
        if credential.env is not None:
            where, text = f"variable {credential.env}", self._environment.get(credential.env)
            if text is None:
                raise CredentialError(f"{where} is not set")
        else:
            where = f"file {credential.file}"
            text = await asyncio.to_thread(self._read, credential.file or "")
        key = text.strip()
        if not key:
            raise CredentialError(f"{where} is empty")
        if len(text) > MOST_BYTES or not all(" " <= character <= "~" for character in key):
            # A line break would end the header, and begin another of the writer's choosing.
            raise CredentialError(f"{where} holds no key: expected one line of printable characters")
        return credential.header, Secret(f"{credential.scheme} {key}" if credential.scheme else key)

    def _read(self, name: str) -> str:
        if self._directory is None:
            raise CredentialError(f"no directory for file {name}: penstock serve --credentials DIR")
        try:
            with (self._directory / name).open("rb") as file:
                return file.read(MOST_BYTES + 1).decode("ascii")
        except OSError as error:
            raise CredentialError(f"file {name} cannot be read: {error.strerror or type(error).__name__}") from None
        except UnicodeDecodeError:
            raise CredentialError(f"file {name} holds no key: expected one line of printable characters") from None
