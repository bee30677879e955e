"""Where a price document is fetched from: a file or an HTTP server. Each source remembers what spares a fetch.

A source is asked by one task at a time. It returns the document, or None for "as before", or raises
:class:`PriceSourceError`; it never hands out part of a document.
"""

import asyncio
import os
import stat
from pathlib import Path
from typing import Final, Protocol

import aiohttp

from penstock_policies.feeds import CostFeedSpec

MOST_BYTES: Final = 1024 * 1024
"""Some ten thousand prices; a feed that sends more is broken or hostile."""

MOST_FOREIGN_BYTES: Final = 8 * 1024 * 1024
"""Of documents in others' shapes, which say more than prices: LiteLLM's price map has 3.5 MB (1.110.2), and grows."""

HTTP_SECONDS: Final = 10.0
"""For the whole of a fetch."""


class PriceSourceError(Exception):
    """The document could not be had; the text says why."""


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

    def __init__(self, url: str, session: aiohttp.ClientSession, most_bytes: int = MOST_BYTES) -> None:
        self._url = url
        self._session = session
        self._most_bytes = most_bytes
        self._etag: str | None = None

    async def fetch(self) -> bytes | None:
        """Return the body, None on 304; raises :class:`PriceSourceError`."""
        headers = {} if self._etag is None else {"if-none-match": self._etag}
        try:
            async with (
                asyncio.timeout(HTTP_SECONDS),
                self._session.get(self._url, headers=headers, allow_redirects=False) as response,
            ):
                if response.status == 304 and self._etag is not None:
                    return None
                if response.status != 200:
                    raise PriceSourceError(f"HTTP {response.status}")
                content = await _limited(response, self._most_bytes)
                self._etag = response.headers.get("etag")
                return content
        except TimeoutError as error:
            raise PriceSourceError(f"no answer within {HTTP_SECONDS:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise PriceSourceError(str(error) or type(error).__name__) from error

    def forget(self) -> None:
        """Ask without an entity tag next time."""
        self._etag = None


async def _limited(response: aiohttp.ClientResponse, most_bytes: int) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > most_bytes:
            raise PriceSourceError(f"more than {most_bytes} bytes")
    return bytes(content)


def _most_bytes(spec: CostFeedSpec) -> int:
    return MOST_FOREIGN_BYTES if spec.figures or spec.format != "penstock" else MOST_BYTES


def file_source(path: str, spec: CostFeedSpec, base: Path) -> FileSource:
    """Make the source of a feed that is a file, below ``base`` where the path is relative."""
    return FileSource(base / path, _most_bytes(spec))


def source_of(spec: CostFeedSpec, base: Path, session: aiohttp.ClientSession) -> PriceSource:
    """Make the source a feed's specification names; a relative path is one below ``base``.

    Raises:
        PriceSourceError: it names none, which the policy loader refuses before.

    """
    if spec.type == "file" and spec.path is not None:
        return file_source(spec.path, spec, base)
    if spec.type == "http" and spec.url is not None:
        return HttpSource(spec.url, session, _most_bytes(spec))
    raise PriceSourceError(f"a {spec.type} feed without its {'path' if spec.type == 'file' else 'url'}")
