"""The health discovery service: Envoys probe clusters for us, and the board gets what most of each region say.

``envoy.service.health.v3.HealthDiscoveryService/StreamHealthCheck``, a gRPC handler to be registered on the xDS
server's port (:meth:`HealthDiscovery.handler`). The protocol: an Envoy opens one stream and names itself in its first
message; we tell it what to check whenever that changes, and nothing at all while it has nothing to check; from then on
it reports without being asked. Where the port asks for client certificates, the name must be one of the certificate's.

One coroutine per stream reads, another writes the newest that its Envoy is to be told, never a queue of it; one task
(:meth:`HealthDiscovery.run`) settles four times a second who checks what and how the votes stand. All decisions are
:class:`~penstock.signals.edge_probing.EdgeProbing`'s.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from penstock.signals.board import ObservationBoard
from penstock.signals.edge_checks import checks_of, places_of
from penstock.signals.edge_probing import Checker, EdgeProbing
from penstock.signals.health_reports import MOST_BYTES, RefusedReportError, read_introduction, read_report
from penstock.signals.votes import Tally
from penstock_envoy.health_checks import author_health_check
from penstock_policies.policyset import PolicySet
from penstock_policies.schema import Cluster
from penstock_policies.words import Vantage
from penstock_xds import Authenticator, Node, RefusedError
from penstock_xds.security import peer_of

logger = logging.getLogger(__name__)

SERVICE: Final = "envoy.service.health.v3.HealthDiscoveryService"
METHOD: Final = "StreamHealthCheck"

SETTLE_EVERY: Final = 0.25
"""Seconds."""

MOST_STREAMS: Final = 20_000
"""Envoys that offer to probe: several times the largest fleet one process serves."""

_BURST: Final = 10.0
_A_SECOND: Final = 4.0
"""Reports a stream may send: so many at once, and so many a second after that. Envoys are asked for one at most."""
_WRITE_SECONDS: Final = 30.0
"""In which an Envoy must take what it is told."""
_FIRST_MESSAGE_SECONDS: Final = 30.0

_Context = grpc.aio.ServicerContext[bytes, bytes]


@dataclass(frozen=True, slots=True)
class EdgeHealthFacts:
    """How probing from the edge goes, for metrics and people."""

    streams: int = 0
    checkers: Mapping[str, int] = field(default_factory=dict)
    """Region to Envoys that have something to check."""
    silent: int = 0
    """Envoys that fell silent and are not asked for a while."""
    unplaced: int = 0
    """Envoys of no node group, which are asked nothing."""
    reports: int = 0
    refused: int = 0
    """Reports, and parts of them, that were not asked for or made no sense."""
    expired: int = 0
    """Votes that nobody renewed."""
    told: int = 0
    """Times that an Envoy was told what to check."""


@dataclass(frozen=True, slots=True)
class EdgeVotes:
    """How the votes of a region on a cluster stand."""

    checkers: int
    """Envoys of the region that are asked."""
    endpoints: Mapping[str, Tally]
    """Endpoint key to the live votes."""


@dataclass(slots=True, eq=False)
class _Stream:
    checker: Checker
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when there is something to be told, or another stream has come in the name of the same Envoy."""
    allowance: float = _BURST
    counted_at: float = 0.0
    warned: bool = False


class HealthDiscovery:
    """Health as the Envoys find it.

    ``clock`` is that of the observations; all that is counted here goes by ``steady``, which nobody sets.
    ``authenticator`` decides who the Envoys are; without one, they are believed.
    """

    def __init__(
        self,
        board: ObservationBoard,
        clock: Callable[[], float],
        notify: Callable[[], None],
        *,
        authenticator: Authenticator | None = None,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._board = board
        self._clock = clock
        self._steady = steady
        self._notify = notify
        self._authenticator = authenticator
        self._probing = EdgeProbing()
        self._streams: dict[Checker, _Stream] = {}
        self._stopped = asyncio.Event()
        self._authored: dict[str, tuple[Cluster, bytes]] = {}
        self._reports = self._refused = self._told = 0

    def handler(self) -> "grpc.GenericRpcHandler[bytes, bytes]":
        """Return the handler to register on a gRPC server, before it starts."""
        # Bytes both ways: what is sent is put together from bytes, and what does not parse ends its stream.
        method = grpc.stream_stream_rpc_method_handler(self._serve)
        return grpc.method_handlers_generic_handler(SERVICE, {METHOD: method})

    async def apply(self, policy: PolicySet) -> None:
        """Have probed what this policy set says, by the Envoys it says. The board must know it already."""
        probed = {n: one for n, one in policy.clusters.items() if one.spec.health.vantage is Vantage.EDGE}
        self._authored = await asyncio.to_thread(_authored, probed, self._authored)
        told = {name: text for name, (_, text) in self._authored.items()}
        self._probing.apply(checks_of(policy, told), places_of(policy), self._steady())

    async def run(self) -> None:
        """Keep checkers told and the board's votes current until cancelled."""
        while True:
            self.settle()
            await asyncio.sleep(SETTLE_EVERY)

    def settle(self) -> None:
        """Tell checkers what has changed for them, and pin what most say on the board."""
        settled, ahead = self._probing.settle(self._steady()), self._ahead()
        for checker in settled.tell:
            stream = self._streams.get(checker)
            if stream is not None:
                stream.changed.set()
        for verdict in settled.verdicts:
            probe = replace(verdict.probe, at=verdict.probe.at + ahead)
            self._board.set_edge_probe(verdict.region, verdict.cluster, verdict.endpoint, probe)
        if settled.turned:
            self._notify()

    def stop(self) -> None:
        """End every stream, now and from now on, so that the gRPC server's own stop has nothing to wait for."""
        self._stopped.set()

    def facts(self) -> EdgeHealthFacts:
        """Return how probing from the edge goes."""
        return EdgeHealthFacts(
            streams=len(self._streams),
            checkers=self._probing.busy(),
            silent=self._probing.benched(self._steady()),
            unplaced=self._probing.unplaced(),
            reports=self._reports,
            refused=self._refused,
            expired=self._probing.expired,
            told=self._told,
        )

    def votes(self) -> dict[str, dict[str, EdgeVotes]]:
        """Return how the votes stand, by region and cluster: of every cluster that a region's Envoys are to check."""
        now, ahead = self._steady(), self._ahead()
        return {
            region: {
                name: EdgeVotes(
                    self._probing.checkers(region, name),
                    {
                        key: replace(counted, at=counted.at + ahead) if counted.live else counted
                        for key, counted in self._probing.tallies(region, name, now).items()
                    },
                )
                for name in sorted(clusters)
            }
            for region, clusters in self._probing.watched().items()
        }

    def _ahead(self) -> float:
        """Give the seconds that the clock of the observations is ahead of the steady one."""
        return self._clock() - self._steady()

    async def _serve(self, requests: AsyncIterator[bytes], context: _Context) -> None:
        """Serve one stream to its end."""
        if len(self._streams) >= MOST_STREAMS:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "more Envoys offer to probe than can be asked")
        checker = await self._introduced(requests, context)
        if checker is None:
            return
        stream = self._streams[checker] = _Stream(checker, counted_at=self._steady())
        parts = [
            asyncio.create_task(self._read(requests, stream)),
            asyncio.create_task(self._write(context, stream)),
            asyncio.create_task(self._stopped.wait()),
        ]
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in done:
                await part
        except DecodeError:
            self._refused += 1
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not a report")
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "what to check was not taken in time")
        finally:
            del self._streams[checker]
            self._probing.went(checker, self._steady())
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)

    async def _introduced(self, requests: AsyncIterator[bytes], context: _Context) -> Checker | None:
        try:
            async with asyncio.timeout(_FIRST_MESSAGE_SECONDS):
                first = await anext(requests, None)
            if first is None:
                return None
            told = read_introduction(first)
            node = Node(id=told.node_id, cluster=told.node_cluster)
            if self._authenticator is not None:
                node = await self._authenticator(peer_of(context), node)
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the client did not say in time who it is")
        except DecodeError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not a HealthCheckRequest")
        except RefusedReportError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except RefusedError as error:
            logger.warning("checker refused", extra={"peer": context.peer(), "reason": error.reason})
            await context.abort(error.code, error.reason)
        checker = self._probing.came(node.id, node.cluster, self._steady())
        for earlier, stream in self._streams.items():
            if earlier.node == node.id:
                stream.changed.set()
        return checker

    async def _read(self, requests: AsyncIterator[bytes], stream: _Stream) -> None:
        async for message in requests:
            now = self._steady()
            stream.allowance = min(_BURST, stream.allowance + _A_SECOND * max(0.0, now - stream.counted_at)) - 1
            stream.counted_at = now
            if stream.allowance < 0 or len(message) > MOST_BYTES:
                stream.allowance = max(0.0, stream.allowance)
                self._refuse(stream, 1, "reports too often, or too much")
                continue
            try:
                report = read_report(message, self._probing.questions(stream.checker))
            except RefusedReportError as error:
                self._refuse(stream, 1, str(error))
                continue
            self._reports += 1
            if report.refused:
                self._refuse(stream, report.refused, "speaks of what it was not asked")
            self._probing.heard(stream.checker, report, now)

    async def _write(self, context: _Context, stream: _Stream) -> None:
        """Tell an Envoy what to check, until another stream comes in its name."""
        sent = b""
        while self._probing.current(stream.checker):
            told = stream.checker.told
            if told != sent:
                sent = told
                async with asyncio.timeout(_WRITE_SECONDS):
                    await context.write(told)
                self._told += 1
                continue
            stream.changed.clear()
            await stream.changed.wait()

    def _refuse(self, stream: _Stream, parts: int, why: str) -> None:
        self._refused += parts
        if not stream.warned:
            stream.warned = True
            logger.warning(
                "health report refused; further ones of this stream are only counted",
                extra={"node_id": stream.checker.node, "why": why},
            )


def _authored(
    clusters: Mapping[str, Cluster], known: Mapping[str, tuple[Cluster, bytes]]
) -> dict[str, tuple[Cluster, bytes]]:
    """Author what checkers are told of clusters, but for those that are known and the same."""
    return {
        name: known[name] if name in known and known[name][0] == cluster else (cluster, author_health_check(cluster))
        for name, cluster in clusters.items()
    }
