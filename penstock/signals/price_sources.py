"""Where a price document is fetched from: a file or an HTTP server. Each source remembers what spares a fetch.

A source is asked by one task at a time. It returns the document, or None for "as before", or raises
:class:`PriceSourceError`; it never hands out part of a document.
"""

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Protocol

from yarl import URL

from penstock.signals.asking import MOST_TRIES, Allowance, Ask, Asker
from penstock.signals.credentials import Secret
from penstock.signals.price_errors import PriceSourceError
from penstock_policies.feeds import CostFeedSpec

MOST_BYTES: Final = 1024 * 1024
"""Some ten thousand prices; a feed that sends more is broken or hostile."""

MOST_FOREIGN_BYTES: Final = 8 * 1024 * 1024
"""Of documents in others' shapes, which say more than prices: LiteLLM's price map has 3.5 MB (1.110.2), and grows."""


class PriceSource(Protocol):
    """Something that has a price document."""

    async def fetch(self) -> bytes | None:
        """Return the document, None when it is the one returned before.

        Raises:
            PriceSourceError: it could not be had.

        """
        ...

    def forget(self) -> None:
        """Hand out the document again next time: the caller could not use it, so "as before" would be no answer."""
        ...


class FileSource:
    """A file, read anew each time."""

    def __init__(self, path: Path, most_bytes: int = MOST_BYTES) -> None:
        self._path = path
        self._most_bytes = most_bytes

    async def fetch(self) -> bytes:
        """Return the file's content; raises :class:`PriceSourceError`."""
        try:
            return await asyncio.to_thread(self._read)
        except OSError as error:
            raise PriceSourceError(f"{self._path}: {error.strerror or error}") from error

    def forget(self) -> None:
        """Nothing to do: a file is always handed out."""

    def _read(self) -> bytes:
        # Non-blocking, or opening a FIFO would hold a thread for ever.
        descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise PriceSourceError(f"{self._path}: not a regular file")
            content = file.read(self._most_bytes + 1)
        if len(content) > self._most_bytes:
            raise PriceSourceError(f"{self._path}: more than {self._most_bytes} bytes")
        return content


class HttpSource:
    """A URL, asked with the entity tag of the last answer. Redirects are refused: the policy names the source."""

    def __init__(
        self,
        url: str,
        asker: Asker,
        most_bytes: int = MOST_BYTES,
        token: Callable[[], Awaitable[Secret]] | None = None,
    ) -> None:
        """``token`` reads what is sent as a bearer token, at each fetch anew."""
        self._url = url
        self._asker = asker
        self._most_bytes = most_bytes
        self._token = token
        self._etag: str | None = None

    async def fetch(self) -> bytes | None:
        """Return the body, None on 304; raises :class:`PriceSourceError`."""
        token = (await self._token()).reveal() if self._token is not None else ""
        headers = {**bearer(token), **({} if self._etag is None else {"if-none-match": self._etag})}
        try:
            url = str(URL(self._url))
        except ValueError as error:
            raise PriceSourceError("not a URL") from error
        answer = await self._asker.answer(
            Ask(url, headers=headers, secrets=(token,)), Allowance(self._most_bytes, MOST_TRIES)
        )
        if answer.status == 304:
            if self._etag is None:
                raise PriceSourceError("HTTP 304")
            return None
        self._etag = answer.headers.get("etag")
        return answer.body

    def forget(self) -> None:
        """Ask without an entity tag next time."""
        self._etag = None


def bearer(token: str) -> dict[str, str]:
    """Give the header that a token is sent in; none without one."""
    return {"authorization": f"Bearer {token}"} if token else {}


def most_bytes(spec: CostFeedSpec) -> int:
    """Give how large a feed's document may be."""
    return MOST_FOREIGN_BYTES if spec.figures or spec.format != "penstock" else MOST_BYTES


def file_source(path: str, spec: CostFeedSpec, base: Path) -> FileSource:
    """Make the source of a feed that is a file, below ``base`` where the path is relative."""
    return FileSource(base / path, most_bytes(spec))
