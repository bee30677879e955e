"""Putting the parts together, in the order in which they may rely on one another.

The start: the store (what was in force), the cost feeds, the policy directory and the first decision, and only then the
ports: no Envoy is ever answered from half-loaded state. The end goes the other way round; Envoys keep serving with what
they have. A background task that dies of a defect ends the process (its supervisor restarts it, the Envoys do not
notice), because a control plane with a dead limb would look alive.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from penstock.admin.app import AddressError, AdminServer
from penstock.admin.metrics import Metrics
from penstock.admin.ports import FeedStatus
from penstock.admin.usage_metrics import UsageMetrics
from penstock.admin.xds_state import Queue
from penstock.control.decider import Decider
from penstock.control.drains import Drains
from penstock.control.edge_votes import edge_probing
from penstock.control.envoys import connected, resource_states
from penstock.control.errors import StartError
from penstock.control.failing_generations import failing_generations
from penstock.control.history import WeightHistory
from penstock.control.ledger import LedgerKeeper
from penstock.control.mixtures import Mixtures
from penstock.control.noticed_board import NoticedBoard
from penstock.control.notices import Notices
from penstock.control.plane import Plane
from penstock.control.policies import PolicyKeeper
from penstock.control.publisher import Publisher
from penstock.control.quarantine import QuarantineLog
from penstock.control.recorder import Recorder
from penstock.control.signal_views import SignalViews
from penstock.control.sources import Sources
from penstock.control.xds_events import XdsEvents
from penstock.control.xds_port import XdsPort
from penstock.policy_source import PolicyDirectory
from penstock.signals.access_logs import AccessLogs
from penstock.signals.credentials import Keyring
from penstock.signals.engine_metrics import EngineMetrics
from penstock.signals.feeds import CostFeeds
from penstock.signals.hds import HealthDiscovery
from penstock.signals.lrs import LoadReports
from penstock.signals.probing import Probing
from penstock.signals.usage_sums import UsageSums
from penstock.state.errors import StoreError
from penstock.state.store import Store
from penstock_envoy.compiler import Compiler
from penstock_policies.policyset import PolicySet
from penstock_policies.serial import from_json
from penstock_xds import BindError, SnapshotCache, XdsServer

logger = logging.getLogger(__name__)

Clock = Callable[[], float]

# How long a stop waits for streams to end and decisions to be written: within any supervisor's patience.
_STOP_SECONDS: Final = 2.0
_HOUSEKEEPING_SECONDS: Final = 1.0
_PRUNE_EVERY_SECONDS: Final = 3600.0
# Decisions are kept for a quarter: long enough for an audit's questions, small enough for one file.
_KEEP_SECONDS: Final = 92 * 86400.0
# One decision a minute is kept for its figures alone; after two days, one an hour.
_KEEP_MINUTES_SECONDS: Final = 2 * 86400.0
# A year's comparison, and a month to make it in.
_KEEP_LEDGER_SECONDS: Final = 400 * 86400.0
# Budgets count the quarters of an hour of a month at most, from midnights anywhere.
_KEEP_QUARTERS_SECONDS: Final = 35 * 86400.0


_PLAIN: Final = XdsPort()
_NO_FILES: Final = Keyring()


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where to listen, as ``host:port``."""

    xds: str
    admin: str


@asynccontextmanager
async def serving(
    policies: Path,
    state: str,
    addresses: Addresses,
    clock: Clock = time.time,
    xds_port: XdsPort = _PLAIN,
    *,
    keyring: Keyring = _NO_FILES,
) -> AsyncIterator[Plane]:
    """The control plane, serving inside the block.

    ``keyring`` has the secrets that policies name, for probes and cost feeds.

    Raises:
        StartError: a port is taken, a certificate cannot be used, or the state store cannot be opened or read.
    """
    xds_credentials = xds_port.credentials()
    async with AsyncExitStack() as stack:
        metrics = Metrics()
        store = await _open_store(state, clock, metrics)
        stack.push_async_callback(store.close)
        notices = Notices(store)
        board = NoticedBoard(notices)
        recorder = Recorder(store)
        mixtures = Mixtures()
        cache = SnapshotCache(
            listener=QuarantineLog(metrics, recorder, lambda: decider.policy, clock),
            refusal_tolerance=xds_port.refusal_tolerance,
            guard=mixtures.objection,
            wall_clock=clock,
        )
        publisher = Publisher(cache, Compiler(), mixtures)
        history = WeightHistory()
        sums = UsageSums()
        ledger = LedgerKeeper(store, clock, metered=sums.metered_regions, counted=metrics.counted)
        stack.push_async_callback(ledger.flush)
        decider = Decider(
            board=board,
            publisher=publisher,
            recorder=recorder,
            history=history,
            ledger=ledger,
            clock=clock,
            published=metrics.decision_published,
            decided=metrics.decided,
        )
        stack.callback(decider.close)
        drains = await _restore(store, decider, notices, clock)

        feeds = CostFeeds(board, clock, decider.notify, keyring=keyring, failed=metrics.feed_failed)
        reports = LoadReports(board, _regions(decider, publisher), clock, notify=decider.notify, measured=sums.measured)
        edge = HealthDiscovery(board, clock, decider.notify, authenticator=xds_port.authenticator())
        sources = Sources(
            board=board,
            ledger=ledger,
            sums=sums,
            feeds=feeds,
            probing=Probing(
                board,
                clock,
                decider.notify,
                keyring=keyring,
                audit=recorder.audit,
                meter=metrics,
                failed=metrics.probe_failed,
                endpoint_loads=reports.endpoints,
                failed_before=await failing_generations(store),
            ),
            edge=edge,
            engines=EngineMetrics(board, clock),
            reports=reports,
            policies=policies,
        )
        stack.push_async_callback(sources.stop)
        logs = AccessLogs(sums, _regions(decider, publisher), clock, ledger.take_usage)

        xds = XdsServer(
            cache,
            group_of=publisher.group_of,
            identifier="penstock",
            listener=XdsEvents(metrics, lambda: decider.policy),
            credentials=xds_credentials,
            authenticator=xds_port.authenticator(),
            max_age=xds_port.max_age,
            clock=time.monotonic,
            wall_clock=clock,
        )

        async def sources_before(policy: PolicySet) -> None:
            await sources.before(policy)
            drains.refresh()

        async def sources_after(policy: PolicySet) -> None:
            await sources.after(policy)
            xds.regroup()

        keeper = PolicyKeeper(
            directory=PolicyDirectory(policies),
            decider=decider,
            store=store,
            clock=clock,
            sources_before=sources_before,
            sources_after=sources_after,
        )
        reading = await keeper.start()

        xds_address = await _listen_for_envoys(stack, xds, addresses.xds, xds_port, beside=(reports, edge, logs))

        plane = Plane(
            decider=decider,
            drains=drains,
            notices=notices,
            publisher=publisher,
            keeper=keeper,
            board=board,
            history=history,
            store=store,
            clock=clock,
            signals=SignalViews(lambda: decider.policy, sources.engines, reports),
            feeds=lambda: [FeedStatus(s.name, s.refreshed_at, s.error) for s in feeds.states()],
            probed=sources.probing.probed,
            cache=cache,
            streams=lambda: [connected(view) for view in xds.streams()],
            resources=lambda stream: resource_states(
                xds.resource_views(stream), lambda at: clock() - (time.monotonic() - at)
            ),
            first_answers=lambda: Queue(*xds.first_answers),
            edge_probing=lambda: edge_probing(edge),
            xds_address=xds_address,
        )
        metrics.watch(plane, UsageMetrics(logs.facts, sums))
        admin = AdminServer(plane, metrics)
        admin_url = await _listen_for_operators(admin, addresses.admin)
        stack.push_async_callback(admin.stop)

        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        limbs = (
            decider.run(),
            recorder.run(),
            ledger.run(),
            reports.run(),
            edge.run(),
            logs.run(),
            keeper.run(reading),
            _keep_house(plane, store, clock),
        )
        running = [tasks.create_task(limb) for limb in limbs]
        logger.info("serving", extra={"xds": xds_address, "admin": admin_url, "policies": str(policies)})
        try:
            yield plane
        finally:
            await recorder.drained(_STOP_SECONDS)
            for task in running:
                task.cancel()


async def _listen_for_envoys(
    stack: AsyncExitStack,
    xds: XdsServer,
    address: str,
    xds_port: XdsPort,
    *,
    beside: Sequence[LoadReports | HealthDiscovery | AccessLogs],
) -> str:
    xds_port.warn_if_open(address)
    try:
        port = await xds.start(address, extra_handlers=[each.handler() for each in beside])
    except BindError as error:
        raise StartError(f"cannot serve xDS on {address}: {error}") from error
    stack.push_async_callback(xds.stop, _STOP_SECONDS, drain_window=xds_port.drain_window)
    for each in beside:
        stack.callback(each.stop)
    return f"{address.rpartition(':')[0]}:{port}"


async def _listen_for_operators(admin: AdminServer, address: str) -> str:
    try:
        host, port = await admin.start(address)
    except (OSError, AddressError) as error:
        raise StartError(f"cannot serve the admin API on {address}: {error}") from error
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _open_store(state: str, clock: Clock, metrics: Metrics) -> Store:
    try:
        return await Store.open(state, clock, failed=metrics.store_failed)
    except StoreError as error:
        raise StartError(f"cannot open the state store: {error}") from error


async def _restore(store: Store, decider: Decider, notices: Notices, clock: Clock) -> Drains:
    """Begin from what was in force: a restart must forget no drain or notice and move no weight."""
    drains = Drains(decider, notices, clock)
    try:
        await notices.restore(clock())
        drains.set(await store.drains(clock()))
        text = await store.latest_decision()
    except StoreError as error:
        raise StartError(f"cannot read the state store: {error}") from error
    if text is None:
        return drains
    try:
        decider.restore(from_json(text))
    except (ValueError, KeyError, TypeError) as error:
        # An older version's decision that this one cannot read: begin anew rather than not at all.
        logger.warning("last decision cannot be read, deciding afresh", extra={"error": str(error)})
    return drains


def _regions(decider: Decider, publisher: Publisher) -> Callable[[str, str], str | None]:
    """Tell the region of an Envoy from its node id and cluster, by the policy in force."""

    def region_of(_: str, node_cluster: str) -> str | None:
        policy, group = decider.policy, publisher.group_of_cluster(node_cluster)
        if policy is None or group is None or group not in policy.groups:
            return None
        return policy.groups[group].spec.region

    return region_of


async def _keep_house(plane: Plane, store: Store, clock: Clock) -> None:
    """Expire drains, follow notices, and prune old decisions and the ledger once an hour."""
    pruned = clock()
    while True:
        await asyncio.sleep(_HOUSEKEEPING_SECONDS)
        await plane.expire_drains()
        await plane.follow_notices()
        if clock() - pruned > _PRUNE_EVERY_SECONDS:
            pruned = clock()
            try:
                await store.prune(clock(), _KEEP_SECONDS)
                await store.thin_figures(clock() - _KEEP_MINUTES_SECONDS)
                await store.ledger.prune(clock() - _KEEP_LEDGER_SECONDS, clock() - _KEEP_QUARTERS_SECONDS)
            except StoreError as error:
                logger.warning("old records not pruned", extra={"error": str(error)})
