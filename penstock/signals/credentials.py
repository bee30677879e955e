"""The secrets that policies name, and how they stay secret: the keys that probes show, the credentials of cost feeds.

A policy names a variable or a file (:class:`penstock_policies.secret_places.SecretPlace`) of those that the operator
set aside for policies; what is in it is read here, at every use, and leaves in a request alone: a :class:`Secret` shows
itself to nobody else. Nothing else reads a secret for a policy. An error names the place and never quotes what was
found there.
"""

import asyncio
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from penstock_policies.probing import Credential
from penstock_policies.secret_places import SecretPlace

MOST_BYTES: Final = 16 * 1024
"""Of a key: tokens signed by an identity provider have some kilobytes, and servers refuse longer headers."""
MOST_FILE_BYTES: Final = 64 * 1024
"""Of a file of many keys, such as AWS's with a profile for every account."""


class CredentialError(Exception):
    """A secret cannot be had; the text says why, and names where it was looked for."""


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
    """Finds secrets. ``directory`` is where files are looked for; without one there are none."""

    def __init__(self, directory: Path | None = None, environment: Mapping[str, str] = os.environ) -> None:
        self._directory = directory
        self._environment = environment

    async def key(self, place: SecretPlace) -> Secret:
        """Return the key that is in a place, without the spaces and line breaks about it.

        Raises:
            CredentialError: it cannot be had.

        """
        if place.env is not None:
            where, found = f"variable {place.env}", self.variable(place.env)
            if found is None:
                raise CredentialError(f"{where} is not set")
        else:
            where, found = f"file {place.file}", await self.file(place.file or "")
        text = found.reveal()
        key = text.strip()
        if not key:
            raise CredentialError(f"{where} is empty")
        if len(text) > MOST_BYTES or not is_key(key):
            raise CredentialError(f"{where} holds no key: expected one line of printable characters")
        return Secret(key)

    async def header(self, credential: Credential) -> tuple[str, Secret]:
        """Return the name of the header a key is sent in, and its value.

        Raises:
            CredentialError: the key cannot be had.

        """
        key = (await self.key(credential)).reveal()
        return credential.header, Secret(f"{credential.scheme} {key}" if credential.scheme else key)

    def variable(self, name: str) -> Secret | None:
        """Return what a variable holds; None where it is not set."""
        text = self._environment.get(name)
        return None if text is None else Secret(text)

    async def file(self, name: str) -> Secret:
        """Return the whole text of a file of the directory. ``name`` is one that a policy may write.

        Raises:
            CredentialError: it cannot be had.

        """
        if self._directory is None:
            raise CredentialError(f"no directory for file {name}: penstock serve --credentials DIR")
        try:
            # Errors of the operating system name the path and never the content.
            content = await asyncio.to_thread(_content, self._directory, name)
        except OSError as error:
            raise CredentialError(f"file {name} cannot be read: {error.strerror or type(error).__name__}") from None
        if len(content) > MOST_FILE_BYTES:
            raise CredentialError(f"file {name} is larger than {MOST_FILE_BYTES} bytes")
        return Secret(content.decode(errors="replace"))


def is_key(text: str) -> bool:
    """Tell whether a text can be sent in a header: a line break would begin another one of the writer's choosing."""
    return bool(text) and all(" " <= character <= "~" for character in text)


def _content(directory: Path, name: str) -> bytes:
    """Read a file, one byte more than any may have.

    Links within the directory are how Kubernetes rotates secrets. Those that lead out of it are refused: it may be one
    that others write as well, such as a checkout of git, which keeps links.
    """
    path = os.path.realpath(directory / name, strict=True)
    if not Path(path).is_relative_to(os.path.realpath(directory)):
        raise CredentialError(f"file {name} is a link that leads out of the credentials directory")
    # Non-blocking, or opening a FIFO would hold a thread for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise CredentialError(f"file {name} is not a regular file")
        return file.read(MOST_FILE_BYTES + 1)
