"""Health probes: one task per endpoint of the policy set in force, writing to the board.

Owned by the composition root, which calls :meth:`Prober.apply` for every new policy set (after the board's own
``apply``). Endpoints that did not change keep their task and their counts. First probes are spread, later ones keep a
:class:`~penstock.signals.beat.Beat` of their own, so that a thousand endpoints are never probed in one beat; how many
probes are in flight at once is bounded. ``notify`` is called only when an endpoint crosses a threshold: a fleet that
flaps below its thresholds causes no decisions.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from penstock.signals.beat import Beat
from penstock.signals.board import ObservationBoard
from penstock.signals.credentials import Keyring
from penstock.signals.http_probe import HttpProbe, Target
from penstock.signals.probe_book import Key, ProbeBook
from penstock.signals.probe_count import Answer, ProbeCount, ProbeResult
from penstock.signals.questions import Layer
from penstock.signals.workers import Workers
from penstock_policies.policyset import PolicySet
from penstock_policies.probing import Health
from penstock_policies.schema import Endpoint
from penstock_policies.words import Engine, Vantage

logger = logging.getLogger(__name__)

CONCURRENCY: Final = 256
"""Probes in flight at once: enough that some hundred hung endpoints hold up no other, and few enough sockets."""

SPREAD: Final = 1.0
"""Seconds over which the first probes of new endpoints are spread, unless their interval is shorter."""

FIRST_A_SECOND: Final = 200
"""First probes a second: of a large fleet they are spread for longer, up to the interval. Nothing is known of a new
endpoint until then, and the engine is optimistic meanwhile."""

MODELS_SECONDS: Final = 60.0
"""From one look at an endpoint's list of models to the next: it changes with deployments. While none of the cluster's
models is in it, or our key is refused, every probe looks: what was mended is to be known at once."""


@dataclass(frozen=True, slots=True)
class _Assignment:
    endpoint: Endpoint
    health: Health
    models: tuple[str, ...]
    engine: Engine


class Prober:
    """Probes every endpoint there is. ``probe``, ``sleep``, ``monotonic`` and ``jitter`` are replaced in tests."""

    def __init__(
        self,
        board: ObservationBoard,
        book: ProbeBook,
        clock: Callable[[], float],
        notify: Callable[[], None],
        *,
        keyring: Keyring | None = None,
        probe: Callable[[Target], Awaitable[ProbeResult]] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic: Callable[[], float] | None = None,
        jitter: random.Random | None = None,
        concurrency: int = CONCURRENCY,
        failed: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._board = board
        self._book = book
        self._clock = clock
        self._notify = notify
        self._keyring = keyring or Keyring()
        self._http: HttpProbe | None = None
        self._probe = probe
        self._sleep = sleep
        self._monotonic = monotonic
        self._jitter = jitter or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._gate = asyncio.Semaphore(concurrency)
        self._failed = failed
        self._spread = SPREAD
        self._workers = Workers[Key, _Assignment]("probe", self._work)

    async def apply(self, policy_set: PolicySet) -> None:
        """Probe the endpoints of this policy set and no others."""
        if self._probe is None:
            self._http = HttpProbe(self._keyring)
            self._probe = self._http
        wanted = {
            (name, endpoint.key): _Assignment(endpoint, cluster.spec.health, cluster.spec.models, cluster.spec.engine)
            for name, cluster in policy_set.clusters.items()
            # The edge's own word on what it reaches would only be muddied by ours.
            if cluster.spec.health.vantage is Vantage.CONTROL_PLANE
            for endpoint in cluster.spec.endpoints
        }
        self._spread = max(SPREAD, len(wanted) / FIRST_A_SECOND)
        self._workers.apply(wanted)
        await self._workers.settled()

    async def stop(self) -> None:
        """End all probing. The prober may be told to begin again by :meth:`apply`."""
        await self._workers.stop()
        if self._http is not None:
            await self._http.close()
            self._http = self._probe = None

    async def _work(self, key: Key, assignment: _Assignment) -> None:
        health = assignment.health
        count = ProbeCount(unhealthy_threshold=health.unhealthy_threshold, healthy_threshold=health.healthy_threshold)
        now = self._monotonic or asyncio.get_running_loop().time
        await self._sleep(self._jitter.uniform(0, min(self._spread, health.interval)))
        beat = Beat(health.interval, self._jitter, now())
        models_at, again = now(), False
        while True:
            deep = health.models and (again or now() >= models_at)
            result = await self._ask(_target(assignment, deep=deep))
            if deep and result.layer is Layer.MODELS and result.answer is not Answer.UNKNOWN:
                models_at = now() + MODELS_SECONDS
                again = result.answer is Answer.FAILED or bool(result.credential)
            self._take(key, count, result)
            await self._sleep(beat.wait(now()))

    async def _ask(self, target: Target) -> ProbeResult:
        if self._probe is None:
            raise RuntimeError("the prober was stopped")
        async with self._gate:
            return await self._probe(target)

    def _take(self, key: Key, count: ProbeCount, result: ProbeResult) -> None:
        cluster, endpoint = key
        self._book.probed(key, result)
        if result.answer is Answer.FAILED:
            self._failed(cluster)
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


def _target(assignment: _Assignment, *, deep: bool) -> Target:
    health = assignment.health
    return Target(
        endpoint=assignment.endpoint,
        path=health.path,
        timeout=health.timeout,
        models=assignment.models if deep else (),
        engine=assignment.engine,
        credential=health.credential,
    )
