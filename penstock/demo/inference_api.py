"""The HTTP API of a simulated endpoint: OpenAI's inference paths and vLLM's health, version and metrics.

Every request passes two doors before its handler: one counts what data arrived, the next applies the fault in force.
Event loop only; owned by :class:`~penstock.demo.endpoint.SimulatedEndpoint`.
"""

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from penstock.demo import openai_wire
from penstock.demo.endpoint_clock import SequenceClock
from penstock.demo.faults import FaultMode, FaultSwitch
from penstock.demo.receipts import Receipts, class_of
from penstock.demo.sequences import RETRY_AFTER_SECONDS, QueueFullError, Sequence
from penstock.demo.vllm_metrics import CONTENT_TYPE, VllmMetrics

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

SIMULATED_VERSION: Final = "0.32.0+simulated"
"""The vLLM whose API is imitated, marked so that nobody takes it for one."""

KV_TOKENS_PER_SLOT: Final = 2048
"""Size of the simulated KV cache: a full batch of long chats fills it."""

LOAD_FORMAT_HEADER: Final = "endpoint-load-metrics-format"
LOAD_HEADER: Final = "endpoint-load-metrics"

_BODY: Final = web.RequestKey("body", bytes)


@dataclass(frozen=True, slots=True)
class SimulatorOptions:
    """What kind of endpoint to be."""

    name: str
    model: str = "llama-3-70b"
    slots: int = 64
    """Sequences that run at once."""
    tokens_per_second: float = 4000.0
    """Decode throughput of the whole box, shared by the running sequences."""
    sequence_tokens_per_second: float = 80.0
    """The most one sequence gets, however empty the box is."""
    queue_limit: int = 256
    """Sequences that may wait; the next one gets 429."""


@dataclass(frozen=True, slots=True)
class _Begun:
    """When a request began, in seconds since it was submitted."""

    queued: float
    first_token: float


class InferenceApi:
    """Handlers and middlewares over one box."""

    def __init__(
        self,
        options: SimulatorOptions,
        *,
        clock: SequenceClock,
        faults: FaultSwitch,
        receipts: Receipts,
        wall_clock: Callable[[], float],
    ) -> None:
        self.streaming: set[asyncio.BaseTransport] = set()
        """Connections on which an answer has begun to flow."""
        self._options = options
        self._clock = clock
        self._faults = faults
        self._receipts = receipts
        self._wall_clock = wall_clock
        self._metrics = VllmMetrics(options.model)
        self._ids = itertools.count(1)
        self._loop = asyncio.get_running_loop()

    def routes(self) -> list[web.RouteDef]:
        """The paths Envoy and probes use."""
        return [
            web.post("/v1/chat/completions", self._chat),
            web.post("/v1/completions", self._completions),
            web.get("/v1/models", self._models),
            web.get("/health", self._health),
            web.get("/ping", self._health),
            web.get("/version", self._version),
            web.get("/metrics", self._render_metrics),
        ]

    @web.middleware
    async def count_receipts(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Note what data came, whatever is answered."""
        if request.path.startswith("/simulator/"):
            return await handler(request)
        body = bytearray()
        try:
            async for data in request.content.iter_any():
                body += data
        finally:
            # Also when the client went away half way: what came, came.
            if request.method == "POST":
                self._receipts.count(class_of(request.headers, bytes(body)), len(body))
        request[_BODY] = bytes(body)
        return await handler(request)

    @web.middleware
    async def apply_fault(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer as the fault in force has it."""
        if request.path.startswith("/simulator/"):
            return await handler(request)
        await self._faults.wait_while_hanging(inference=request.method == "POST")
        mode = self._faults.current.mode
        if mode is FaultMode.ERROR_503:
            return _error(503, "The engine is not available.", "ServiceUnavailableError")
        if mode is FaultMode.ERROR_429 and request.method == "POST":
            return _error(429, "Quota is used up.", "RateLimitError")
        if mode is FaultMode.ERROR_401 and request.path != "/health":
            return _error(401, "Unauthorized", "AuthenticationError")
        return await handler(request)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, chat=True)

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, chat=False)

    async def _generate(self, request: web.Request, *, chat: bool) -> web.StreamResponse:
        try:
            generation = openai_wire.parse(request[_BODY], chat=chat)
        except openai_wire.BadRequestError as error:
            return _error(400, str(error), "BadRequestError")
        if generation.model != self._options.model:
            return _error(404, f"The model `{generation.model}` does not exist.", "NotFoundError")
        load_report = self._load_report(request)
        try:
            sequence = self._clock.submit(generation.prompt_tokens, generation.output_tokens)
        except QueueFullError as error:
            self._metrics.observe_refusal()
            return _error(429, str(error), "RateLimitError")
        envelope = openai_wire.Envelope(
            generation, f"{self._options.name}-{next(self._ids)}", created=int(self._wall_clock())
        )
        try:
            begun = await self._first_token(sequence)
            if generation.stream:
                return await self._stream(request, envelope, sequence, begun)
            await self._clock.produced(sequence, generation.output_tokens)
            self._finished(envelope, sequence, begun)
            return web.json_response(openai_wire.answer(envelope), headers=load_report)
        finally:
            self._clock.cancel(sequence)

    async def _stream(
        self, request: web.Request, envelope: openai_wire.Envelope, sequence: Sequence, begun: _Begun
    ) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
        )
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client left before its answer began")
        self.streaming.add(transport)
        try:
            await response.prepare(request)
            sent = 0
            while sent < sequence.output_tokens:
                produced = await self._clock.produced(sequence, sent + 1)
                await response.write(b"".join(openai_wire.chunk(envelope, index) for index in range(sent, produced)))
                sent = produced
            self._finished(envelope, sequence, begun)
            await response.write(openai_wire.ending(envelope))
            await response.write_eof()
        finally:
            self.streaming.discard(transport)
            if self._faults.current.mode is FaultMode.REFUSE:
                transport.close()
        return response

    async def _first_token(self, sequence: Sequence) -> _Begun:
        started = await self._clock.started(sequence)
        await self._clock.produced(sequence, 1)
        begun = _Begun(queued=started - sequence.submitted_at, first_token=self._loop.time() - sequence.submitted_at)
        self._metrics.observe_start(queued=begun.queued, ttft=begun.first_token, prompt_tokens=sequence.prompt_tokens)
        return begun

    def _finished(self, envelope: openai_wire.Envelope, sequence: Sequence, begun: _Begun) -> None:
        self._metrics.observe_finish(
            seconds=self._loop.time() - sequence.submitted_at,
            queued=begun.queued,
            ttft=begun.first_token,
            prompt_tokens=sequence.prompt_tokens,
            tokens=sequence.output_tokens,
            finished_reason=envelope.generation.finish_reason,
        )

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response(openai_wire.models(self._options.model, int(self._wall_clock())))

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response()

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": SIMULATED_VERSION})

    async def _render_metrics(self, _: web.Request) -> web.Response:
        self._clock.refresh()
        batch = self._clock.batch
        text = self._metrics.render(running=batch.running, waiting=batch.waiting, kv_cache_usage=self._kv_cache_usage())
        return web.Response(body=text, headers={"content-type": CONTENT_TYPE})

    def _kv_cache_usage(self) -> float:
        return min(1.0, self._clock.batch.tokens_held() / (self._options.slots * KV_TOKENS_PER_SLOT))

    def _load_report(self, request: web.Request) -> dict[str, str]:
        """ORCA, as vLLM does it: on request, on answers that are not streamed, as of the request's admission."""
        wanted = request.headers.get(LOAD_FORMAT_HEADER, "").upper()
        if wanted not in {"TEXT", "JSON"}:
            return {}
        self._clock.refresh()
        figures = {
            "num_requests_waiting": float(self._clock.batch.waiting),
            "kv_cache_usage_perc": round(self._kv_cache_usage(), 6),
        }
        if wanted == "JSON":
            return {LOAD_HEADER: "JSON " + json.dumps({"named_metrics": figures})}
        return {LOAD_HEADER: "TEXT " + ", ".join(f"named_metrics.{name}={value}" for name, value in figures.items())}


def _error(status: int, message: str, kind: str) -> web.Response:
    headers = {"retry-after": str(RETRY_AFTER_SECONDS)} if status in {429, 503} else {}
    return web.json_response(openai_wire.error(message, kind, status), status=status, headers=headers)
