"""Fetching the page of metrics that an engine serves, over HTTP.

Nothing of a page or of its path gets into the text of an error: either may hold what no log should.
"""

import asyncio
from enum import Enum
from typing import Final

import aiohttp
from yarl import URL

from penstock.signals.engine_pages import EnginePage
from penstock.signals.trust import trust

HTTP_SECONDS: Final = 1.5
"""For the whole of a page: less than the interval between two, so that a hung server is noticed by the next."""

MOST_BYTES: Final = 4 * 1024 * 1024
"""A vLLM server with every series there is has some hundred kilobytes; a Ray node has that of each of its replicas."""

_OPENMETRICS: Final = "application/openmetrics-text"
_ACCEPTED: Final = f"text/plain;version=0.0.4,{_OPENMETRICS};version=1.0.0;q=0.5,*/*;q=0.1"
_OTHER: Final = frozenset({"text/html", "application/json"})
"""What proxies, sign-in pages and APIs answer with. Other types are let pass: not every server says what it sends."""


class Scrape(Enum):
    """Why an endpoint gave no reading."""

    UNREACHABLE = "unreachable"
    NOT_METRICS = "answers, but not with metrics"


class ScrapeError(Exception):
    """An endpoint gave no reading; the text says why."""

    def __init__(self, kind: Scrape, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


class MetricsPages:
    """Asks over one HTTP client session, made at the first page. On the event loop."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the session; the next page opens another."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def __call__(self, page: EnginePage) -> str:
        """Return a page.

        Raises:
            ScrapeError: it gave none.

        """
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                # Compressed, a small answer could become a huge one.
                headers={"user-agent": "penstock-metrics", "accept": _ACCEPTED, "accept-encoding": "identity"},
                auto_decompress=False,
            )
        tls = page.endpoint.tls
        url = URL(f"{'http' if tls is None else 'https'}://{page.endpoint.key}{page.path}", encoded=True)
        try:
            async with (
                asyncio.timeout(HTTP_SECONDS),
                self._session.get(
                    url,
                    headers={} if tls is None else {"host": tls.sni},
                    allow_redirects=False,
                    ssl=True if tls is None else await asyncio.to_thread(trust, tls.ca_file),
                    server_hostname=None if tls is None else tls.sni,
                ) as response,
            ):
                if response.status != 200:
                    raise ScrapeError(Scrape.NOT_METRICS, f"HTTP {response.status}")
                if response.content_type in _OTHER:
                    raise ScrapeError(Scrape.NOT_METRICS, f"answers with {response.content_type}")
                if response.headers.get("content-encoding", "identity") != "identity":
                    raise ScrapeError(Scrape.NOT_METRICS, "answers compressed, unasked")
                text = (await _limited(response)).decode(errors="replace")
                openmetrics = response.content_type == _OPENMETRICS
        except TimeoutError as error:
            raise ScrapeError(Scrape.UNREACHABLE, f"no answer within {HTTP_SECONDS:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ScrapeError(Scrape.UNREACHABLE, _words(error)) from None
        if not text.endswith(("# EOF", "# EOF\n") if openmetrics else "\n"):
            raise ScrapeError(Scrape.NOT_METRICS, "a page that ends in the middle")
        return text


async def _limited(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > MOST_BYTES:
            raise ScrapeError(Scrape.NOT_METRICS, f"more than {MOST_BYTES} bytes")
    return bytes(content)


def _words(error: Exception) -> str:
    """Say what went wrong without the address asked, whose path may hold a key, and without what was answered."""
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
