"""Real generations of a few tokens: one task per cluster that has them, on a budget of tokens.

Owned by the composition root, which calls :meth:`Generations.apply` for every new policy set (after the board's own
``apply``). One task a cluster, so never more than one generation in flight there; its endpoints take turns, at a beat
of the cluster's own. None is spent on an endpoint that shallower probes already find failing, and none while requests
prove that it generates, except where a generation failed before: a request that succeeds may well be another
endpoint's. A failure that leaves a doubt is looked into at once, if the purse allows.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from penstock.signals.beat import JITTER, Beat
from penstock.signals.board import ObservationBoard
from penstock.signals.credentials import Keyring
from penstock.signals.endpoint_asking import Asker
from penstock.signals.generation_count import GenerationCount
from penstock.signals.generation_probe import Generated, GenerationProbe, GenerationTarget, Verdict, dearest
from penstock.signals.live_proof import proven_endpoints
from penstock.signals.load_endpoints import EndpointLoad
from penstock.signals.probe_book import Key, ProbeBook
from penstock.signals.purse import Purse
from penstock.signals.workers import Workers
from penstock_policies.policyset import PolicySet
from penstock_policies.probing import Generation, Health
from penstock_policies.schema import Endpoint

logger = logging.getLogger(__name__)

CONCURRENCY: Final = 64
"""Generations in flight at once, of all clusters: a hung server holds one for its time-out, which is long."""


@dataclass(frozen=True, slots=True)
class PurseFacts:
    """What generations of a cluster may cost."""

    tokens_per_day: int
    held: float
    """Tokens that could be spent now."""
    period: float
    """Seconds from one generation in the cluster to the next, while nothing is in doubt."""


@dataclass(frozen=True, slots=True)
class _Assignment:
    endpoints: tuple[Endpoint, ...]
    health: Health
    generation: Generation
    model: str

    @property
    def cost(self) -> float:
        return float(sum(dearest(self.generation)))


EndpointLoads = Callable[[str], Mapping[str, Mapping[str, EndpointLoad]]]
"""Of a cluster: edge region, ``address:port`` to what is reported of that endpoint."""


class Generations:
    """Has endpoints generate. ``probe``, ``sleep``, ``monotonic`` and ``chance`` are replaced in tests."""

    def __init__(
        self,
        board: ObservationBoard,
        book: ProbeBook,
        clock: Callable[[], float],
        notify: Callable[[], None],
        *,
        keyring: Keyring | None = None,
        endpoint_loads: EndpointLoads = lambda _: {},
        failed_before: Mapping[Key, int] = MappingProxyType({}),
        probe: Callable[[GenerationTarget], Awaitable[Generated]] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic: Callable[[], float] | None = None,
        chance: random.Random | None = None,
        concurrency: int = CONCURRENCY,
    ) -> None:
        self._board = board
        self._book = book
        self._clock = clock
        self._notify = notify
        self._endpoint_loads = endpoint_loads
        self._failed_before = dict(failed_before)
        """What this process was told of earlier ones, until it is taken up."""
        self._chance = chance or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._asker = Asker()
        self._probe = probe or GenerationProbe(self._asker, keyring or Keyring(), self._chance)
        self._sleep = sleep
        self._monotonic = monotonic
        self._gate = asyncio.Semaphore(concurrency)
        self._purses: dict[str, tuple[_Assignment, Purse]] = {}
        self._counts: dict[Key, tuple[Health, GenerationCount]] = {}
        self._workers = Workers[str, _Assignment]("generation", self._work)

    async def apply(self, policy_set: PolicySet) -> None:
        """Have the endpoints of this policy set generate and no others."""
        wanted = {
            name: _Assignment(spec.endpoints, spec.health, generation, generation.model or spec.models[0])
            for name, spec in ((name, cluster.spec) for name, cluster in sorted(policy_set.clusters.items()))
            if (generation := spec.health.generation) is not None
        }
        self._purses = {name: self._purse(name, assignment) for name, assignment in wanted.items()}
        self._counts = {
            (name, endpoint.key): self._count((name, endpoint.key), assignment.health)
            for name, assignment in wanted.items()
            for endpoint in assignment.endpoints
        }
        # What was told of others is of no use any more: they are not asked by this policy, or no more as they were.
        self._failed_before.clear()
        self._workers.apply(wanted)
        await self._workers.settled()

    async def stop(self) -> None:
        """End all generations. They may begin again by :meth:`apply`."""
        await self._workers.stop()
        await self._asker.close()

    def purse(self, cluster: str) -> PurseFacts | None:
        """Return what generations of a cluster may cost; None where there are none."""
        known = self._purses.get(cluster)
        if known is None:
            return None
        assignment, purse = known
        return PurseFacts(assignment.generation.tokens_per_day, purse.held(self._now()), _period(assignment, purse))

    def _now(self) -> float:
        return (self._monotonic or asyncio.get_running_loop().time)()

    def _purse(self, name: str, assignment: _Assignment) -> tuple[_Assignment, Purse]:
        """Keep a purse over edits that do not touch its terms: an edit must neither fill nor empty it."""
        known = self._purses.get(name)
        generation = assignment.generation
        if known is not None and (known[0].generation.tokens_per_day, known[0].cost) == (
            generation.tokens_per_day,
            assignment.cost,
        ):
            return assignment, known[1]
        return assignment, Purse(generation.tokens_per_day, int(assignment.cost), self._now())

    def _count(self, key: Key, health: Health) -> tuple[Health, GenerationCount]:
        known = self._counts.get(key)
        if known is not None and known[0] == health:
            return known
        failed = self._failed_before.pop(key, 0)
        self._book.generations_begin(key, failed)
        count = GenerationCount(
            unhealthy_threshold=health.unhealthy_threshold, healthy_threshold=health.healthy_threshold, failed=failed
        )
        return health, count

    async def _work(self, cluster: str, assignment: _Assignment) -> None:
        purse = self._purses[cluster][1]
        beat = Beat(_period(assignment, purse), self._chance, self._now())
        turn = 0
        while True:
            await self._sleep(self._wait(cluster, assignment, beat, purse))
            endpoint = self._whose_turn(cluster, assignment, turn)
            turn += 1
            if endpoint is None or not purse.take(assignment.cost, self._now()):
                continue
            target = GenerationTarget(endpoint, assignment.model, assignment.generation, assignment.health.credential)
            async with self._gate:
                generated = await self._probe(target)
            purse.settle(assignment.cost, generated.prompt_tokens + generated.output_tokens, self._now())
            self._take((cluster, endpoint.key), assignment.generation, generated)

    def _wait(self, cluster: str, assignment: _Assignment, beat: Beat, purse: Purse) -> float:
        """Return the seconds until the next turn."""
        urgent = any(self._counts[cluster, endpoint.key][1].urgent for endpoint in assignment.endpoints)
        if urgent and purse.held(self._now()) >= assignment.cost:
            return assignment.health.interval * self._chance.uniform(1, 1 + JITTER)
        return beat.wait(self._now())

    def _whose_turn(self, cluster: str, assignment: _Assignment, turn: int) -> Endpoint | None:
        """Choose the next endpoint to generate: one in doubt before others, none that need not."""
        count = len(assignment.endpoints)
        proven = self._proven(cluster, assignment)
        chosen: Endpoint | None = None
        for endpoint in (assignment.endpoints[(turn + offset) % count] for offset in range(count)):
            of = self._counts[cluster, endpoint.key][1]
            probe = self._board.probe_of(cluster, endpoint.key)
            if probe is not None and probe.consecutive_failed > 0:
                continue
            if of.urgent:
                return endpoint
            if of.failed == 0 and endpoint.key in proven:
                self._book.paused((cluster, endpoint.key))
            elif chosen is None:
                chosen = endpoint
        return chosen

    def _proven(self, cluster: str, assignment: _Assignment) -> frozenset[str]:
        """Name the endpoints that requests prove to generate."""
        keys = frozenset(endpoint.key for endpoint in assignment.endpoints)
        told, loads = self._endpoint_loads(cluster), self._board.loads_of(cluster)
        return proven_endpoints(told, loads, keys, self._clock())

    def _take(self, key: Key, generation: Generation, generated: Generated) -> None:
        count = self._counts[key][1]
        crossed = False
        if generated.verdict in {Verdict.GOOD, Verdict.FAILED}:
            crossed = count.add(good=generated.verdict is Verdict.GOOD)
        else:
            count.nothing_learnt()
        warn, ttft = generation.ttft_warn, generated.ttft
        self._book.generated(key, generated, count.failed, slow=warn is not None and ttft is not None and ttft > warn)
        if crossed:
            facts = {"cluster": key[0], "endpoint": key[1], "generates": not count.failing, "detail": generated.detail}
            logger.warning("endpoint crossed a threshold of generations", extra=facts)
            self._notify()


def _period(assignment: _Assignment, purse: Purse) -> float:
    return max(assignment.generation.interval / len(assignment.endpoints), purse.period(assignment.cost))
