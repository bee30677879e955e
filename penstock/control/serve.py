"""Starting and stopping the whole control plane: ``penstock serve``.

Order of the start: the store (what was in force), the cost feeds, the policy directory and the first decision, and
only then the ports: no Envoy is ever answered from half-loaded state. The end goes the other way round; Envoys keep
serving with what they have.
"""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web

from penstock.admin.app import create_app
from penstock.admin.metrics import Metrics
from penstock.admin.ports import ConnectedEnvoy, SyncStatus, TypeState
from penstock.control import logs
from penstock.control.decider import Decider
from penstock.control.history import WeightHistory
from penstock.control.plane import Plane
from penstock.control.policies import PolicyKeeper
from penstock.control.publisher import Publisher
from penstock.control.recorder import Recorder
from penstock.control.xds_events import XdsEvents
from penstock.policy_source import PolicyDirectory
from penstock.signals.board import ObservationBoard
from penstock.signals.feeds import CostFeeds
from penstock.signals.lrs import LoadReports
from penstock.signals.probes import Prober
from penstock.state.store import Store, StoreError
from penstock_envoy.compiler import Compiler
from penstock_policies.policyset import PolicySet
from penstock_policies.serial import from_json
from penstock_xds import SnapshotCache, StreamView, XdsServer

logger = logging.getLogger(__name__)

# How long a stop waits for streams to end and decisions to be written: within any supervisor's patience.
_STOP_SECONDS: Final = 2.0
_HOUSEKEEPING_SECONDS: Final = 1.0
_PRUNE_EVERY_SECONDS: Final = 3600.0
# Decisions are kept for a quarter by default: long enough for an audit's questions, small enough for one file.
_KEEP_SECONDS: Final = 92 * 86400.0
# A feed that does not answer must not hold up the start; its keys go by their declared prices until it does.
_FIRST_PRICES_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How to serve. Addresses are ``host:port``; port 0 lets the kernel choose, and the log says what it chose."""

    policies: Path
    state: str = "sqlite:///penstock.db"
    xds_address: str = "127.0.0.1:18000"
    admin_address: str = "127.0.0.1:18080"
    log_format: logs.LogFormat = "text"
    log_level: str = "info"


class StartError(Exception):
    """Why the control plane could not start."""


def run(options: ServeOptions) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        StartError: a port is taken, or the state store cannot be opened.
    """
    logs.configure(options.log_format, options.log_level)
    asyncio.run(_serve_until_signalled(options))


async def _serve_until_signalled(options: ServeOptions) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serving(options):
        await stop.wait()
        logger.info("stopping")


@asynccontextmanager
async def serving(options: ServeOptions) -> AsyncIterator[Plane]:
    """The control plane, serving inside the block.

    Raises:
        StartError: see :func:`run`.
    """
    clock = time.time
    async with AsyncExitStack() as stack:
        try:
            store = await Store.open(options.state, clock)
        except StoreError as error:
            raise StartError(f"cannot open the state store: {error}") from error
        stack.push_async_callback(store.close)

        board = ObservationBoard()
        cache = SnapshotCache()
        publisher = Publisher(cache, Compiler())
        recorder = Recorder(store)
        history = WeightHistory()
        metrics = Metrics()
        decider = Decider(
            board=board,
            publisher=publisher,
            recorder=recorder,
            history=history,
            clock=clock,
            decided=metrics.on_decision,
        )
        prober = Prober(board, clock=clock, notify=decider.notify)
        feeds = CostFeeds(board, clock=clock, notify=decider.notify)
        reports = LoadReports(board, clock=clock, notify=decider.notify, group_region=_region_of(decider))

        async def before_adoption(policy: PolicySet) -> None:
            board.apply(policy)
            await feeds.apply(policy, options.policies)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(feeds.first_read(), _FIRST_PRICES_SECONDS)

        async def after_adoption(policy: PolicySet) -> None:
            await prober.apply(policy)

        keeper = PolicyKeeper(
            directory=PolicyDirectory(options.policies),
            decider=decider,
            store=store,
            clock=clock,
            before_adoption=before_adoption,
            after_adoption=after_adoption,
        )
        try:
            decider.set_drains(dict(await store.drains(clock())))
            if (text := await store.latest_decision()) is not None:
                decider.restore(from_json(text))
        except (StoreError, ValueError) as error:
            raise StartError(f"cannot read the state store: {error}") from error
        raise NotImplementedError
        yield
