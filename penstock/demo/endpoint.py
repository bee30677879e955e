"""A simulated LLM cluster endpoint as an object: its ports, its box, its faults.

There is no model in it. It stands where a vLLM server would, takes the time one would take
(:mod:`penstock.demo.sequences`), answers as one would (:mod:`penstock.demo.inference_api`) and counts what data it was
given (:mod:`penstock.demo.receipts`). It has two ports: the one Envoy uses, and a control port for
``/simulator/fault`` and ``/simulator/counters`` that answers during an outage too (the first port serves both as well,
while it is up). Everything runs on the event loop that started it.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from typing import Final, Self

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from penstock.demo.endpoint_clock import SequenceClock
from penstock.demo.faults import SLOWDOWN, Fault, FaultMode, FaultSwitch
from penstock.demo.inference_api import InferenceApi, SimulatorOptions
from penstock.demo.receipts import Receipts, ReceiptsView
from penstock.demo.sequences import ContinuousBatch

logger = logging.getLogger(__name__)

KEEPALIVE_SECONDS: Final = 3600.0
"""Longer than any test: an endpoint that closes idle connections makes races that are not what is being tested."""

MAX_BODY_BYTES: Final = 64 * 1024 * 1024

LISTEN_BACKLOG: Final = 1024
"""A failover brings all connections at once; they must not be dropped for want of a place in the kernel's queue."""


class FaultRequest(BaseModel):
    """Body of ``POST /simulator/fault``."""

    model_config = ConfigDict(extra="forbid")

    mode: FaultMode
    cut_streams: bool = True


class SimulatedEndpoint:
    """One endpoint: ``async with SimulatedEndpoint(options) as endpoint``, or ``start`` and ``stop``."""

    def __init__(self, options: SimulatorOptions, *, wall_clock: Callable[[], float] = time.time) -> None:
        self.options = options
        self.port = 0
        self.control_port = 0
        self._wall_clock = wall_clock
        self._receipts = Receipts()
        self._faults = FaultSwitch()
        self._clock: SequenceClock | None = None
        self._api: InferenceApi | None = None
        self._runner: web.AppRunner | None = None
        self._control: web.AppRunner | None = None
        self._site: web.SockSite | None = None
        self._socket: socket.socket | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def fault(self) -> Fault:
        """The fault in force."""
        return self._faults.current

    @property
    def url(self) -> str:
        """Where the API is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def control_url(self) -> str:
        """Where faults are switched, also during an outage."""
        return f"http://127.0.0.1:{self.control_port}"

    async def start(self, port: int = 0, control_port: int = 0) -> int:
        """Listen on loopback; returns the port Envoy is to use (0 asks the kernel for a free one)."""
        options = self.options
        batch = ContinuousBatch(
            slots=options.slots,
            tokens_per_second=options.tokens_per_second,
            sequence_tokens_per_second=options.sequence_tokens_per_second,
            queue_limit=options.queue_limit,
            now=asyncio.get_running_loop().time(),
        )
        self._clock = SequenceClock(batch)
        self._api = InferenceApi(
            options, clock=self._clock, faults=self._faults, receipts=self._receipts, wall_clock=self._wall_clock
        )
        self._control = await self._prepare(web.Application(), [])
        control_socket = _bind(control_port)
        self.control_port = control_socket.getsockname()[1]
        await web.SockSite(self._control, control_socket).start()
        self._runner = await self._prepare(
            web.Application(
                middlewares=[self._api.count_receipts, self._api.apply_fault], client_max_size=MAX_BODY_BYTES
            ),
            self._api.routes(),
        )
        self._socket = _bind(port)
        self.port = self._socket.getsockname()[1]
        await self._listen()
        return self.port

    async def stop(self) -> None:
        """Cut everything and free the ports."""
        self._faults.set(Fault())
        for runner in (self._runner, self._control):
            if runner is not None:
                await runner.cleanup()
        if self._socket is not None:
            self._socket.close()
        if self._clock is not None:
            self._clock.close()

    async def set_fault(self, fault: Fault) -> None:
        """Put a fault in force, or end the one that is (``Fault()``)."""
        if self._clock is None:
            raise RuntimeError("the endpoint is not started")
        before = self.fault
        self._faults.set(fault)
        self._clock.slow_down(SLOWDOWN if fault.mode is FaultMode.SLOW else 1.0)
        if fault.mode is FaultMode.REFUSE:
            await self._vanish(cut_streams=fault.cut_streams)
        elif before.mode is FaultMode.REFUSE:
            await self._listen()
        logger.info("fault switched", extra={"endpoint": self.options.name, "mode": str(fault.mode)})

    def counters(self) -> ReceiptsView:
        """What data arrived so far."""
        return self._receipts.view()

    async def _prepare(self, app: web.Application, routes: list[web.RouteDef]) -> web.AppRunner:
        app.add_routes(
            [
                *routes,
                web.post("/simulator/fault", self._post_fault),
                web.get("/simulator/counters", self._get_counters),
            ]
        )
        # Handlers are cancelled when the client goes away, so that abandoned sequences leave the batch.
        runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, keepalive_timeout=KEEPALIVE_SECONDS, shutdown_timeout=0.1
        )
        await runner.setup()
        return runner

    async def _listen(self) -> None:
        if self._runner is None or self._socket is None:
            raise RuntimeError("the endpoint is not started")
        self._site = web.SockSite(self._runner, self._socket, backlog=LISTEN_BACKLOG)
        await self._site.start()

    async def _vanish(self, *, cut_streams: bool) -> None:
        if self._runner is None or self._runner.server is None or self._api is None:
            raise RuntimeError("the endpoint is not started")
        if self._site is not None:
            await self._site.stop()
            self._site = None
            # Bound but not listening: connects are refused, and nobody else is given the port meanwhile.
            self._socket = _bind(self.port)
        for connection in self._runner.server.connections:
            transport = connection.transport
            if isinstance(transport, asyncio.Transport) and (cut_streams or transport not in self._api.streaming):
                transport.abort()

    async def _post_fault(self, request: web.Request) -> web.Response:
        try:
            wanted = FaultRequest.model_validate_json(await request.read())
        except ValidationError as error:
            problems = error.errors(include_url=False, include_context=False, include_input=False)
            return web.json_response({"error": problems}, status=400)
        await self.set_fault(Fault(wanted.mode, cut_streams=wanted.cut_streams))
        return web.json_response({"name": self.options.name, "mode": str(wanted.mode)})

    async def _get_counters(self, _: web.Request) -> web.Response:
        return web.json_response({"name": self.options.name, **self.counters()})


def _bind(port: int) -> socket.socket:
    """A loopback socket, bound and not yet listening."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    bound.setblocking(False)  # noqa: FBT003 - the standard library's own signature
    return bound
