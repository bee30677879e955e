"""An open-loop load generator: requests arrive when they arrive, however slow the answers are.

One task per kind of traffic draws arrivals (Poisson or even, from a seed) and one short-lived task carries each
request, so a slow cluster meets as many users as a fast one, as in life. A request succeeds only with a 2xx answer
that is complete: a JSON body to its end, or a stream up to ``[DONE]``. Event loop only; rates may be changed at any
time.
"""

import asyncio
import json
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Self

import aiohttp

from penstock.demo.receipts import DEMO_CLASS_HEADER, RESTRICTED_MARKER
from penstock.demo.tally import NOWHERE, Outcome, Tally
from penstock_policies.words import DataClass

logger = logging.getLogger(__name__)

CLUSTER_HEADER: Final = "x-penstock-cluster"
ATTEMPTS_HEADER: Final = "x-penstock-attempts"

REQUEST_TIMEOUT_SECONDS: Final = 60.0
"""A request without an end after this long has failed; far above what any simulated queue can take."""

MAX_IN_FLIGHT: Final = 4000
"""Beyond this the generator's own machine is what is being measured: arrivals are counted as not sent."""

_TAIL_BYTES: Final = 2048
"""The end of a stream that is kept: the usage event and ``[DONE]`` fit well."""

_DONE: Final = b"data: [DONE]"


@dataclass(frozen=True, slots=True)
class Traffic:
    """One kind of traffic to one edge."""

    name: str
    url: str
    """Base URL of the edge's listener."""
    data_class: DataClass = DataClass.PUBLIC
    rate: float = 0.0
    """Requests per second at the start."""
    model: str = "llama-3-70b"
    prompt_tokens: int = 100
    output_tokens: int = 32
    streaming_share: float = 0.3

    def body(self, *, stream: bool) -> bytes:
        """The request; restricted traffic carries the marker that the simulators count."""
        marker = f"{RESTRICTED_MARKER.decode()} " if self.data_class is DataClass.RESTRICTED else ""
        prompt = (marker + "water " * self.prompt_tokens)[: 4 * self.prompt_tokens]
        fields: dict[str, object] = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": self.output_tokens,
        }
        if stream:
            fields |= {"stream": True, "stream_options": {"include_usage": True}}
        return json.dumps(fields).encode()


class LoadGenerator:
    """Sends traffic and tallies what comes back: ``async with LoadGenerator(...) as load``."""

    def __init__(
        self,
        traffic: Sequence[Traffic],
        *,
        price_of: Callable[[str], float] = lambda _: 0.0,
        arrivals: Literal["poisson", "even"] = "poisson",
        seed: int = 0,
        on_outcome: Callable[[Outcome], None] | None = None,
    ) -> None:
        """Describe the load; nothing is sent before :meth:`start`.

        Args:
            traffic: the kinds of traffic, each under a name of its own.
            price_of: USD per million tokens at a cluster, asked when a request ends.
            arrivals: memoryless gaps, or equal ones.
            seed: of the gaps and of which requests stream.
            on_outcome: told of every request's end, after it is tallied.
        """
        self.tally = Tally()
        self._traffic = {kind.name: kind for kind in traffic}
        if len(self._traffic) != len(traffic):
            raise ValueError("each kind of traffic needs a name of its own")
        self._rates = {kind.name: kind.rate for kind in traffic}
        self._price_of = price_of
        self._poisson = arrivals == "poisson"
        self._seed = seed
        self._on_outcome = on_outcome
        self._rate_changed = asyncio.Event()
        self._session: aiohttp.ClientSession | None = None
        self._arrivals: list[asyncio.Task[None]] = []
        self._under_way: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def in_flight(self) -> int:
        """Requests sent and not ended."""
        return len(self._under_way)

    def rate(self, name: str) -> float:
        """The present rate of a kind of traffic, requests per second."""
        return self._rates[name]

    def set_rate(self, name: str, rate: float) -> None:
        """Change the rate of a kind of traffic from now on; 0 pauses it.

        Raises:
            KeyError: there is no such traffic.
            ValueError: the rate is negative.
        """
        if name not in self._rates:
            raise KeyError(name)
        if rate < 0:
            raise ValueError("a rate cannot be negative")
        self._rates[name] = rate
        self._rate_changed.set()
        self._rate_changed = asyncio.Event()

    async def start(self) -> None:
        """Begin to send."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_SECONDS),
        )
        for index, kind in enumerate(self._traffic.values()):
            chance = random.Random(f"{self._seed}/{index}")  # noqa: S311 -- arrivals, not secrets
            self._arrivals.append(asyncio.create_task(self._arrive(self._session, kind, chance)))

    async def stop(self, grace: float = 10.0) -> None:
        """Send no more, let what is under way end within ``grace`` seconds; what does not, counts as failed."""
        for task in self._arrivals:
            task.cancel()
        await asyncio.gather(*self._arrivals, return_exceptions=True)
        self._arrivals.clear()
        if self._under_way:
            _, late = await asyncio.wait(self._under_way, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _arrive(self, session: aiohttp.ClientSession, kind: Traffic, chance: random.Random) -> None:
        loop = asyncio.get_running_loop()
        bodies = {stream: kind.body(stream=stream) for stream in (False, True)}
        due = loop.time()
        while True:
            rate = self._rates[kind.name]
            changed = self._rate_changed
            if rate <= 0:
                await changed.wait()
                due = loop.time()
                continue
            due += chance.expovariate(rate) if self._poisson else 1 / rate
            # A new rate takes effect at once, even if the next arrival was far away.
            if await _wait_until(due, changed):
                due = loop.time()
                continue
            if len(self._under_way) >= MAX_IN_FLIGHT:
                self.tally.not_sent += 1
                continue
            stream = chance.random() < kind.streaming_share
            task = asyncio.create_task(self._carry(session, kind, bodies[stream]))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _carry(self, session: aiohttp.ClientSession, kind: Traffic, body: bytes) -> None:
        started = asyncio.get_running_loop().time()
        try:
            outcome = await self._exchange(session, kind, body, started)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            outcome = self._without_answer(kind, started, type(error).__name__)
        except asyncio.CancelledError:
            self._end(self._without_answer(kind, started, "not ended when the run did"))
            raise
        self._end(outcome)

    async def _exchange(self, session: aiohttp.ClientSession, kind: Traffic, body: bytes, started: float) -> Outcome:
        loop = asyncio.get_running_loop()
        headers = {"content-type": "application/json", DEMO_CLASS_HEADER: str(kind.data_class)}
        async with session.post(f"{kind.url}/v1/chat/completions", data=body, headers=headers) as response:
            cluster = response.headers.get(CLUSTER_HEADER, NOWHERE)
            streamed = response.content_type == "text/event-stream"
            tail = b""
            first_token: float | None = None
            truncated = ""
            try:
                async for data in response.content.iter_any():
                    if first_token is None:
                        first_token = loop.time() - started
                    tail = (tail + data)[-_TAIL_BYTES:] if streamed else tail + data
            except (aiohttp.ClientError, OSError) as error:
                truncated = f"cut off: {type(error).__name__}"
            tokens, failure = _judge(response.status, tail, streamed=streamed)
            return Outcome(
                traffic=kind.name,
                data_class=kind.data_class,
                status=response.status,
                cluster=cluster,
                attempts=_attempts(response.headers.get(ATTEMPTS_HEADER)),
                seconds=loop.time() - started,
                first_token_seconds=first_token if streamed else None,
                tokens=tokens,
                cost_usd=tokens * self._price_of(cluster) / 1e6,
                failure=truncated or failure,
            )

    def _without_answer(self, kind: Traffic, started: float, failure: str) -> Outcome:
        seconds = asyncio.get_running_loop().time() - started
        return Outcome(kind.name, kind.data_class, status=0, seconds=seconds, failure=failure)

    def _end(self, outcome: Outcome) -> None:
        self.tally.add(outcome)
        if outcome.failure and not outcome.refused_as_restricted:
            logger.warning(
                "request failed",
                extra={
                    "traffic": outcome.traffic,
                    "status": outcome.status,
                    "cluster": outcome.cluster,
                    "attempts": outcome.attempts,
                    "failure": outcome.failure,
                },
            )
        if self._on_outcome is not None:
            self._on_outcome(outcome)


async def _wait_until(due: float, event: asyncio.Event) -> bool:
    """Wait for a time of the event loop, or for the event; whether it was the event."""
    delay = due - asyncio.get_running_loop().time()
    if delay <= 0:
        return False
    try:
        async with asyncio.timeout(delay):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _judge(status: int, end: bytes, *, streamed: bool) -> tuple[int, str]:
    """Tokens billed, and why the answer is a failure (empty: it is not)."""
    if not 200 <= status < 300:
        return 0, f"status {status}"
    if streamed:
        if not end.rstrip().endswith(_DONE):
            return 0, "stream ended before [DONE]"
        events = [event for event in end.split(b"\n\n") if b'"usage":{' in event]
        document = events[-1].partition(b"data: ")[2] if events else b"{}"
    else:
        document = end
    try:
        usage = json.loads(document).get("usage") or {}
        return int(usage.get("total_tokens", 0)), ""
    except (ValueError, AttributeError):
        return 0, "the answer is not JSON"


def _attempts(header: str | None) -> int:
    return int(header) if header is not None and header.isdigit() else 1
