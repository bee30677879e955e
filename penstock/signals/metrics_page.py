"""Fetching the page of metrics that an engine serves, over HTTP."""

import asyncio
from enum import Enum
from typing import Final

import aiohttp
from yarl import URL

from penstock.signals.trust import trust
from penstock_policies.schema import Endpoint

HTTP_SECONDS: Final = 1.5
"""For the whole of a page: less than the interval between two, so that a hung server is noticed by the next."""

MOST_BYTES: Final = 2 * 1024 * 1024
"""A vLLM server with every series there is has some hundred kilobytes."""

_PATH: Final = "/metrics"


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

    async def __call__(self, endpoint: Endpoint) -> str:
        """Return an endpoint's page.

        Raises:
            ScrapeError: it gave none.

        """
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"user-agent": "penstock-metrics"},
            )
        tls = endpoint.tls
        url = URL(f"{'http' if tls is None else 'https'}://{endpoint.key}{_PATH}", encoded=True)
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
                content = await _limited(response)
        except TimeoutError as error:
            raise ScrapeError(Scrape.UNREACHABLE, f"no answer within {HTTP_SECONDS:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ScrapeError(Scrape.UNREACHABLE, str(error) or type(error).__name__) from error
        return content.decode(errors="replace")


async def _limited(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > MOST_BYTES:
            raise ScrapeError(Scrape.NOT_METRICS, f"more than {MOST_BYTES} bytes")
    return bytes(content)
