"""Health probes: one task per endpoint of the policy set in force, writing to the board.

Owned by the composition root, which calls :meth:`Prober.apply` for every new policy set (after the board's own
``apply``). Endpoints that did not change keep their task and their counts. Starts are spread and intervals jittered, so
that a thousand endpoints are not probed in one beat; how many probes are in flight at once is bounded. ``notify`` is
called only when an endpoint crosses a threshold: a fleet that flaps below its thresholds causes no decisions.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from penstock.signals.board import ObservationBoard
from penstock.signals.http_probe import HttpProbe, Target
from penstock.signals.probe_count import Answer, ProbeCount, ProbeResult
from penstock.signals.workers import Workers
from penstock_policies.policyset import PolicySet
from penstock_policies.probing import Health
from penstock_policies.schema import Endpoint
from penstock_policies.words import Vantage

logger = logging.getLogger(__name__)

CONCURRENCY: Final = 256
"""Probes in flight at once: enough that some hundred hung endpoints hold up no other, and few enough sockets."""

SPREAD: Final = 1.0
"""Seconds over which the first probes of new endpoints are spread, unless their interval is shorter."""

JITTER: Final = 0.1
"""Share of the interval by which it varies either way."""


@dataclass(frozen=True, slots=True)
class ProbeFacts:
    """How the probing of one endpoint has gone since it began, for metrics and people."""

    probes: int = 0
    failures: int = 0
    unknown: int = 0
    """Probes that were not counted, because this process was held up."""
    credential_refused: bool = False
    """The last answer was 401 or 403. An alarm for people; traffic does not move for it."""


@dataclass(frozen=True, slots=True)
class _Assignment:
    endpoint: Endpoint
    health: Health


class Prober:
    """Probes every endpoint there is. ``probe``, ``sleep`` and ``jitter`` are replaced in tests."""

    def __init__(
        self,
        board: ObservationBoard,
        clock: Callable[[], float],
        notify: Callable[[], None],
        *,
        probe: Callable[[Target], Awaitable[ProbeResult]] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: random.Random | None = None,
        concurrency: int = CONCURRENCY,
        failed: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._board = board
        self._clock = clock
        self._notify = notify
        self._http: HttpProbe | None = None
        self._probe = probe
        self._sleep = sleep
        self._jitter = jitter or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._gate = asyncio.Semaphore(concurrency)
        self._failed = failed
        self._facts: dict[tuple[str, str], ProbeFacts] = {}
        self._workers = Workers[tuple[str, str], _Assignment]("probe", self._work)

    async def apply(self, policy_set: PolicySet) -> None:
        """Probe the endpoints of this policy set and no others."""
        if self._probe is None:
            self._http = HttpProbe()
            self._probe = self._http
        wanted = {
            (name, endpoint.key): _Assignment(endpoint, cluster.spec.health)
            for name, cluster in policy_set.clusters.items()
            # The edge's own word on what it reaches would only be muddied by ours.
            if cluster.spec.health.vantage is Vantage.CONTROL_PLANE
            for endpoint in cluster.spec.endpoints
        }
        self._facts = {key: facts for key, facts in self._facts.items() if key in wanted}
        self._workers.apply(wanted)
        await self._workers.settled()

    async def stop(self) -> None:
        """End all probing. The prober may be told to begin again by :meth:`apply`."""
        await self._workers.stop()
        if self._http is not None:
            await self._http.close()
            self._http = self._probe = None

    def facts(self) -> Mapping[tuple[str, str], ProbeFacts]:
        """Return how the probing goes, by cluster and endpoint key."""
        return dict(self._facts)

    async def _work(self, key: tuple[str, str], assignment: _Assignment) -> None:
        health = assignment.health
        target = Target(assignment.endpoint, health.path, health.timeout)
        count = ProbeCount(unhealthy_threshold=health.unhealthy_threshold, healthy_threshold=health.healthy_threshold)
        await self._sleep(self._jitter.uniform(0, min(SPREAD, health.interval)))
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            self._take(key, count, await self._ask(target))
            pause = health.interval * self._jitter.uniform(1 - JITTER, 1 + JITTER)
            await self._sleep(max(0.0, pause - (loop.time() - begun)))

    async def _ask(self, target: Target) -> ProbeResult:
        if self._probe is None:
            raise RuntimeError("the prober was stopped")
        async with self._gate:
            return await self._probe(target)

    def _take(self, key: tuple[str, str], count: ProbeCount, result: ProbeResult) -> None:
        cluster, endpoint = key
        before = self._facts.get(key, ProbeFacts())
        self._facts[key] = ProbeFacts(
            probes=before.probes + 1,
            failures=before.failures + (result.answer is Answer.FAILED),
            unknown=before.unknown + (result.answer is Answer.UNKNOWN),
            credential_refused=result.credential_refused,
        )
        if result.answer is Answer.FAILED:
            self._failed(cluster)
        if result.credential_refused and not before.credential_refused:
            logger.warning(
                "probe credential refused",
                extra={"cluster": cluster, "endpoint": endpoint, "detail": result.detail},
            )
        probe, crossed = count.add(result, self._clock())
        if probe is not None:
            self._board.set_probe(cluster, endpoint, probe)
        if crossed:
            logger.info(
                "endpoint crossed a health threshold",
                extra={
                    "cluster": cluster,
                    "endpoint": endpoint,
                    "alive": result.answer is Answer.ALIVE,
                    "detail": result.detail,
                },
            )
            self._notify()
