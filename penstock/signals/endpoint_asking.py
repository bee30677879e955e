"""One HTTP question to one endpoint, on a fresh connection.

What all probes share. A fresh connection each time, so that a server that no longer accepts any is noticed. Only the
address that the policy names is ever connected to: no redirect is followed and no proxy of the environment is used. The
peer must prove its name before it is sent anything, keys above all. Nothing is decompressed, since a small answer could
become a huge one. Nothing an endpoint answers gets into an error's text but its status.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Final

import aiohttp
from yarl import URL

from penstock.signals.connection_failures import broken_off, not_connected
from penstock.signals.questions import AskError, HeldUpError, Layer, Question
from penstock.signals.trust import trust

LATE: Final = 0.25
"""Seconds past its time-out at which a failure says more about this process (its event loop was held up, the machine
was asleep) than about the endpoint."""

DIAGNOSIS_SECONDS: Final = 1.0
"""For finding out, after a connection took too long, whether it was for TCP or for TLS."""


@dataclass(slots=True)
class Reply:
    """The head of an answer, whose body is yet to be read."""

    response: aiohttp.ClientResponse
    sent_at: float
    """When the connection stood and the question was sent, by the loop's clock."""


class Asker:
    """Asks over one HTTP client session, which it makes at the first question. On the event loop."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the session; the next question opens another."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @asynccontextmanager
    async def answer(self, question: Question) -> AsyncIterator[Reply]:
        """Ask, and give the answer's head; what is read of its body within the block is under the same time-out.

        Raises:
            AskError: no answer, or it ended in the middle.
            HeldUpError: this process was held up beyond the time-out.

        """
        loop = asyncio.get_running_loop()
        begun = loop.time()
        phase = SimpleNamespace(connected_at=None)
        try:
            async with asyncio.timeout(question.timeout), await self._request(question, phase) as response:
                yield Reply(response, begun if phase.connected_at is None else phase.connected_at)
        except TimeoutError:
            late = loop.time() - begun - question.timeout
            if late > LATE:
                raise HeldUpError(f"this process was held up for {late:.1f} s") from None
            if phase.connected_at is None:
                raise await _slow_to_connect(question) from None
            raise AskError(question.layer, f"no answer within {question.timeout:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            failure = not_connected if phase.connected_at is None else broken_off
            raise failure(question, error) from None

    async def _request(self, question: Question, phase: SimpleNamespace) -> aiohttp.ClientResponse:
        if self._session is None:
            self._session = _session()
        endpoint = question.endpoint
        tls = endpoint.tls
        headers = {"accept-encoding": "identity", **question.headers}
        if tls is not None:
            headers["host"] = tls.sni
        if question.body is not None:
            headers["content-type"] = "application/json"
        if question.key is not None:
            name, secret = question.key
            headers[name] = secret.reveal()
        return await self._session.request(
            "GET" if question.body is None else "POST",
            URL(f"{'http' if tls is None else 'https'}://{endpoint.key}{question.path}", encoded=True),
            headers=headers,
            data=question.body,
            allow_redirects=False,
            ssl=True if tls is None else await asyncio.to_thread(trust, tls.ca_file),
            server_hostname=None if tls is None else tls.sni,
            trace_request_ctx=phase,
        )


def _session() -> aiohttp.ClientSession:
    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(_note_connected)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True, limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"user-agent": "penstock-health"},
        auto_decompress=False,
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        trace_configs=[trace],
    )


async def _note_connected(
    _: aiohttp.ClientSession, context: SimpleNamespace, __: aiohttp.TraceConnectionCreateEndParams
) -> None:
    context.trace_request_ctx.connected_at = asyncio.get_running_loop().time()


async def _slow_to_connect(question: Question) -> AskError:
    """Tell of a connection that took too long what it took too long for."""
    endpoint, within = question.endpoint, f"within {question.timeout:g} s"
    if endpoint.tls is None:
        return AskError(Layer.TCP, f"no connection {within}")
    try:
        async with asyncio.timeout(DIAGNOSIS_SECONDS):
            _, writer = await asyncio.open_connection(endpoint.address, endpoint.port)
    except OSError:
        return AskError(Layer.TCP, f"no connection {within}")
    writer.close()
    return AskError(Layer.TLS, f"connected, and no handshake {within}")
