"""Asking a price server over HTTP, within limits: the one place where feeds touch the network.

A request is made of plain data (:class:`Ask`) and answered with plain data, so that all who know an API's shape stay
free of I/O. What can go wrong with a server goes wrong here: redirects (refused, for the policy names the source),
addresses that may not be asked, bodies too large or too slow, servers that are busy. Busy ones are asked again after
what ``Retry-After`` says, or ever later with chance in it; one that wants to be left alone for longer than a read may
take is not waited for: the error says for how long, and the feed's own pause grows by it.

No error tells a secret: those that an ask carries are struck out of every message.
"""

import asyncio
import email.utils
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

import aiohttp
from yarl import URL

from penstock.signals.addresses import AddressRefusedError, check_host
from penstock.signals.price_errors import PriceSourceError
from penstock_policies.feed_apis import Reach

ANSWER_SECONDS: Final = 10.0
"""For one answer, from connecting to its last byte."""
MOST_TRIES: Final = 3
FIRST_PAUSE: Final = 0.5
"""Seconds before a busy server is asked for the second time; doubled by each further one, and half of it is chance."""
LONGEST_PAUSE: Final = 10.0
"""Seconds that a read waits for a busy server."""
LONGEST_LEAVE: Final = 86400.0
"""Seconds that a server may ask to be left alone: more is no rate limit."""
_BUSY: Final = frozenset({429, 500, 502, 503, 504})


class AskError(PriceSourceError):
    """A server gave no usable answer."""

    def __init__(self, text: str, *, status: int | None = None, leave_alone: float = 0.0) -> None:
        super().__init__(text, leave_alone=leave_alone)
        self.status = status


@dataclass(frozen=True, slots=True)
class Ask:
    """A request. ``repr`` tells neither query nor headers: there may be secrets in both."""

    url: str = field(repr=False)
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What no message may hold."""
    busy_words: tuple[bytes, ...] = ()
    """What a body says when an error is a rate limit whatever its status."""
    read_errors: bool = False
    """Whether the body of a 4xx answer is wanted: some APIs put their reason there."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said: 200 or 304, or with ``read_errors`` any 4xx."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class Allowance:
    """What one read of a feed may take in all; used up as it goes."""

    bytes: int
    answers: int


class Asker:
    """Asks the servers of one feed. ``sleep`` and ``jitter`` are replaced in tests, ``clock`` reads Unix time."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        reach: Reach,
        clock: Callable[[], float],
        *,
        tries: int = MOST_TRIES,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: random.Random | None = None,
    ) -> None:
        self._session = session
        self._reach = reach
        self._clock = clock
        self._tries = tries
        self._sleep = sleep
        self._jitter = jitter or random.Random()  # noqa: S311 - spreads load, guards nothing

    async def answer(self, ask: Ask, allowance: Allowance) -> Answer:
        """Ask until there is an answer or a reason to give up; raises :class:`AskError`."""
        pause = FIRST_PAUSE
        for attempt in range(1, self._tries + 1):
            try:
                answer = await self._once(ask, allowance)
            except AskError as error:
                if attempt == self._tries or error.status is not None:
                    raise
                wait = pause * self._jitter.uniform(0.5, 1.0)
            else:
                if not _is_busy(ask, answer):
                    return _usable(ask, answer)
                asked = self._asked(answer)
                wait = max(asked, pause * self._jitter.uniform(0.5, 1.0))
                if attempt == self._tries or wait > LONGEST_PAUSE:
                    raise AskError(f"HTTP {answer.status}, busy", status=answer.status, leave_alone=asked)
            await self._sleep(wait)
            pause *= 2
        raise AssertionError("the last attempt returns or raises")

    async def _once(self, ask: Ask, allowance: Allowance) -> Answer:
        if allowance.answers <= 0:
            raise AskError("more pages than a read may take", status=0)
        allowance.answers -= 1
        try:
            # Encoded already: a signature is made of these very bytes.
            url = URL(ask.url, encoded=True)
            check_host(url.host, self._reach)
            async with (
                asyncio.timeout(ANSWER_SECONDS),
                self._session.request(
                    ask.method, url, headers=ask.headers, data=ask.body, allow_redirects=False
                ) as response,
            ):
                body = await _limited(response, allowance)
                return Answer(response.status, response.headers, body)
        except TimeoutError as error:
            raise AskError(f"no answer within {ANSWER_SECONDS:g} s") from error
        except aiohttp.InvalidURL as error:
            raise AskError("not a URL", status=0) from error
        except AddressRefusedError as error:
            raise AskError(str(error), status=0) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise AskError(struck(str(error) or type(error).__name__, ask.secrets)) from None

    def _asked(self, answer: Answer) -> float:
        """Give for how many seconds the server asks to be left alone; 0 where it says nothing of sense."""
        told = answer.headers.get("retry-after", "").strip()
        if told.isdecimal() and len(told) < 10:
            seconds = float(told)
        else:
            try:
                when = email.utils.parsedate_tz(told)
                seconds = email.utils.mktime_tz(when) - self._clock() if when is not None else 0.0
            except (ValueError, OverflowError):
                seconds = 0.0
        return max(0.0, min(seconds, LONGEST_LEAVE))


def _is_busy(ask: Ask, answer: Answer) -> bool:
    return answer.status in _BUSY or (
        answer.status >= 400 and any(word in answer.body[:4096] for word in ask.busy_words)
    )


def _usable(ask: Ask, answer: Answer) -> Answer:
    status = answer.status
    if status in {200, 304} or (ask.read_errors and 400 <= status < 500):
        return answer
    if 300 <= status < 400:
        host = URL(answer.headers.get("location", "")).host
        where = f" to {host}" if host is not None else ""
        raise AskError(f"HTTP {status}, a redirect{where}: redirects are not followed", status=status)
    raise AskError(f"HTTP {status}", status=status)


async def _limited(response: aiohttp.ClientResponse, allowance: Allowance) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > allowance.bytes:
            raise AskError(f"more than {allowance.bytes} bytes", status=response.status)
    allowance.bytes -= len(content)
    return bytes(content)


def struck(text: str, secrets: tuple[str, ...]) -> str:
    """Strike secrets out of a text, as they are and as a URL has them."""
    for secret in secrets:
        for form in (secret, quote(secret, safe="")):
            if form:
                text = text.replace(form, "***")
    return text
