"""The loop that keeps the decision in force true to the world: observe, decide, prove, publish, record.

Owns the policy, the overrides and the decision in force. A large fleet's decision takes longer than an event loop may
be held up, so deciding, generating and proving run in one worker thread of the decider's own; what is in force is read
and changed on the event loop's thread alone. A lock lets one decision be made at a time, from its inputs to its
publication. It is made once a second by :meth:`Decider.run`, at once when a source says that something changed
(:meth:`Decider.notify`), and directly by an operator's command.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, ParamSpec, TypeVar

from penstock.control.engine_version import engine_version
from penstock.control.entries import Rates, Scopes, rates
from penstock.control.feed_watch import FeedWatch
from penstock.control.history import WeightHistory
from penstock.control.ledger import LedgerKeeper
from penstock.control.publisher import Publication, Publisher, Served
from penstock.control.recorder import Recorder
from penstock.control.standing import Standing
from penstock.signals.board import ObservationBoard
from penstock_envoy.residency import ResidencyBreach
from penstock_policies.decision import Decision
from penstock_policies.engine import decide
from penstock_policies.inputs import DecisionInputs
from penstock_policies.overrides import Drain, Overrides
from penstock_policies.policyset import PolicySet
from penstock_policies.serial import material_digest, row_name

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

# The engine's rules count in seconds (dwell, ramps, ages): a finer tick would change nothing, as every event that must
# not wait wakes the loop by itself.
TICK_SECONDS: Final = 1.0

# Rows a log line names when their weights change: when more do at once, the decision's id leads to all of them.
_ROWS_TOLD: Final = 16


@dataclass(frozen=True, slots=True)
class _Made:
    """What the worker thread hands back."""

    decision: Decision
    digest: str
    publication: Publication | None
    """None when it is as published already."""
    rates: Rates
    moved: dict[str, str]
    """Row to its weights, of rows whose weights changed."""
    seconds: float
    """That the engine took."""


class Decider:
    """The decision in force, and what it was made of."""

    def __init__(
        self,
        *,
        board: ObservationBoard,
        publisher: Publisher,
        recorder: Recorder,
        history: WeightHistory,
        ledger: LedgerKeeper,
        clock: Callable[[], float],
        published: Callable[[Decision], None],
        decided: Callable[[Decision, float], None] = lambda _, __: None,
    ) -> None:
        """``decided`` is told of every decision and how many seconds it took, ``published`` of those that changed."""
        self._board = board
        self._publisher = publisher
        self._standing = Standing(recorder)
        self._refused = FeedWatch()
        self._history = history
        self._ledger = ledger
        self._clock = clock
        self._on_published = published
        self._on_decided = decided
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()
        # Of its own: whatever else waits for a thread must not keep an operator's word waiting.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="decide")
        self._published = ""
        self.policy: PolicySet | None = None
        self.overrides = Overrides()
        self.decision: Decision | None = None
        self.withheld = ""
        """Why the latest decision was not published; empty when it was."""

    def close(self) -> None:
        """Let the worker thread go; nothing is decided any more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def restore(self, decision: Decision) -> None:
        """Start from the decision that was in force before a restart, so that the restart moves no weight."""
        self.decision = decision

    def stands_for(self, decision_id: str) -> str | None:
        """Name the recorded decision that says the same but for figures; None for a decision not remembered."""
        return self._standing.stands_for(decision_id)

    def notify(self) -> None:
        """Something changed that should not wait for the tick."""
        self._wake.set()

    def set_drains(self, drains: dict[str, Drain]) -> None:
        """Put operators' drains in force, from the next decision on."""
        self.overrides = Overrides(drains=dict(drains))

    async def aside(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Do pure work of the engine's size in the worker thread, in its turn."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*args, **kwargs))

    async def adopt(self, policy: PolicySet) -> None:
        """Put a policy in force: all of it, or on an error nothing.

        Raises:
            ResidencyBreach: what it generates could let data out; the policy before stays in force.
            CompileError: nothing can be generated from it; likewise.
        """
        draft = self._inputs(policy, self._clock())
        decision = await self.aside(_decide, policy, draft)
        await self._publisher.prepare(policy, decision)
        async with self._turn:
            await self._make(policy)

    async def decide_now(self) -> None:
        """Decide on what is known now and publish it. A decision that fails its proof is withheld and reported."""
        async with self._turn:
            if self.policy is None:
                return
            try:
                await self._make(self.policy)
            except ResidencyBreach as error:
                self.withheld = str(error)
                logger.critical("decision withheld: residency proof failed", extra={"breach": str(error)})

    async def _make(self, policy: PolicySet) -> None:
        now = self._clock()
        self._board.set_spend(self._ledger.run_to(now))
        inputs = self._inputs(policy, now)
        known = self._published if policy is self.policy else ""
        served = self._publisher.served(policy)
        scopes, before = self._ledger.scopes, self._ledger.rates
        made = await self.aside(_made, policy, inputs, self._publisher, served, known, scopes, before)
        self._on_decided(made.decision, made.seconds)
        if made.publication is not None:
            self._publish(policy, made.publication)
            self._published = made.digest
            self._on_published(made.decision)
            self._history.add(made.decision)
        self._standing.take(made.decision, inputs, material=made.publication is not None)
        self._refused.look(policy, made.decision)
        self.withheld = ""
        self.decision = made.decision
        self._ledger.take(made.rates)
        if made.moved:
            told = dict(sorted(made.moved.items())[:_ROWS_TOLD])
            facts = {"decision": made.decision.id, "rows": len(made.moved), **told}
            logger.info("weights changed", extra=facts)

    def _publish(self, policy: PolicySet, publication: Publication) -> None:
        # In force already while it is handed over: whoever is told of it may ask where a resource came from.
        before, self.policy = self.policy, policy
        try:
            self._publisher.serve(publication)
        except BaseException:
            self.policy = before
            raise

    def _inputs(self, policy: PolicySet, now: float) -> DecisionInputs:
        observations = self._board.snapshot(now)
        return DecisionInputs(policy.digest, observations, self.overrides, self.decision, now, engine_version())

    async def run(self) -> None:
        """Decide until cancelled. An error in one decision keeps the last one in force and is logged."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            began = asyncio.get_running_loop().time()
            try:
                await self.decide_now()
            except Exception as error:
                # A defect in the engine must not end the process: Envoys keep the last decision, and this says so.
                self.withheld = f"{type(error).__name__}: {error}"
                logger.exception("decision failed; the last one stays in force")
            # A large fleet's load reports bring news all the time: half of it is left to operators and to Envoys.
            await asyncio.sleep(min(TICK_SECONDS, asyncio.get_running_loop().time() - began))


def _decide(policy: PolicySet, inputs: DecisionInputs) -> Decision:
    return decide(policy, inputs.observations, inputs.overrides, inputs.previous, inputs.now)


def _made(  # noqa: PLR0917 - what crosses to the worker thread, all of it immutable
    policy: PolicySet,
    inputs: DecisionInputs,
    publisher: Publisher,
    served: Served,
    known: str,
    scopes: Scopes,
    before: Rates | None,
) -> _Made:
    """Decide, and build what is to be published unless ``known`` is the digest of it. In the worker thread."""
    began = time.perf_counter()
    decision = _decide(policy, inputs)
    seconds = time.perf_counter() - began
    digest = material_digest(decision)
    return _Made(
        decision=decision,
        digest=digest,
        publication=None if digest == known else publisher.build(policy, decision, served),
        rates=rates(policy, decision, scopes, before),
        moved=_moved(inputs.previous, decision),
        seconds=seconds,
    )


def _moved(before: Decision | None, after: Decision) -> dict[str, str]:
    """Weights in one short field a row, of rows whose weights changed."""
    rows = {} if before is None else before.rows
    return {
        row_name(key): ",".join(f"{name}={weight / 100:g}%" for name, weight in row.weights.items() if weight)
        or "refused"
        for key, row in after.rows.items()
        if key not in rows or rows[key].weights != row.weights
    }
