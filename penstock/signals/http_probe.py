"""One HTTP health probe of one endpoint: a GET on a fresh connection, judged by its status line alone."""

import asyncio
from dataclasses import dataclass
from typing import Final, Self

import aiohttp
from yarl import URL

from penstock.signals.probe_count import Answer, ProbeResult, judge_status
from penstock.signals.trust import trust
from penstock_policies.schema import Endpoint

LATE: Final = 0.25
"""Seconds past its time-out at which a probe's failure says more about this process (its event loop was held up, the
machine was asleep) than about the endpoint."""

DETAIL_CHARACTERS: Final = 200
"""Of an error's text: enough to act on, short enough for a table cell and a log line."""


@dataclass(frozen=True, slots=True)
class Target:
    """What to ask, and for how long to wait."""

    endpoint: Endpoint
    path: str
    timeout: float
    """Seconds, for the whole of connecting, TLS and the answer's head."""


class HttpProbe:
    """Probes over one HTTP client session. Use as a context manager, on the event loop."""

    def __init__(self) -> None:
        # A fresh connection each time, so that a server that no longer accepts any is noticed.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True, limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"user-agent": "penstock-health"},
            auto_decompress=False,
        )

    async def close(self) -> None:
        """Close the session."""
        await self._session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def __call__(self, target: Target) -> ProbeResult:
        """Probe once. Never raises for what the endpoint does."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            status = await self._status(target)
        except TimeoutError:
            took = loop.time() - begun
            if took > target.timeout + LATE:
                return ProbeResult(Answer.UNKNOWN, detail=f"this process was held up for {took - target.timeout:.1f} s")
            return ProbeResult(Answer.FAILED, detail=f"no answer within {target.timeout:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return ProbeResult(Answer.FAILED, detail=_words(error))
        return judge_status(status, loop.time() - begun)

    async def _status(self, target: Target) -> int:
        endpoint = target.endpoint
        scheme = "http" if endpoint.tls is None else "https"
        url = URL(f"{scheme}://{endpoint.key}{target.path}", encoded=True)
        headers = {} if endpoint.tls is None else {"host": endpoint.tls.sni}
        async with (
            asyncio.timeout(target.timeout),
            self._session.get(
                url,
                headers=headers,
                allow_redirects=False,
                ssl=True if endpoint.tls is None else await asyncio.to_thread(trust, endpoint.tls.ca_file),
                server_hostname=None if endpoint.tls is None else endpoint.tls.sni,
                timeout=aiohttp.ClientTimeout(total=None),
            ) as response,
        ):
            # The body is never read: leaving the block closes the connection.
            return response.status


def _words(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        # Its own text shows an SSL context as Python sees it, which tells nobody anything.
        error = error.os_error
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return text if len(text) <= DETAIL_CHARACTERS else f"{text[: DETAIL_CHARACTERS - 3]}..."
