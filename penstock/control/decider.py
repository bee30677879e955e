"""The loop that keeps the decision in force true to the world: observe, decide, prove, publish, record.

Owns the policy, the overrides and the decision in force. Everything happens on the event loop's thread, and
:meth:`Decider.decide_now` runs from start to end without giving it up, so two decisions never interleave. It is called
once a second by :meth:`Decider.run`, at once when a source says that something changed (:meth:`Decider.notify`), and
directly by an operator's command.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

from penstock.control.history import WeightHistory
from penstock.control.publisher import Publisher
from penstock.control.recorder import Recorder
from penstock.signals.board import ObservationBoard
from penstock_envoy.residency import ResidencyBreach
from penstock_policies.decision import Decision
from penstock_policies.engine import decide
from penstock_policies.overrides import Drain, Overrides
from penstock_policies.policyset import PolicySet
from penstock_policies.serial import material_digest

logger = logging.getLogger(__name__)

# The engine's rules count in seconds (dwell, ramps, ages): a finer tick would change nothing, as every event that must
# not wait wakes the loop by itself.
TICK_SECONDS: Final = 1.0


class Decider:
    """The decision in force, and what it was made of."""

    def __init__(
        self,
        *,
        board: ObservationBoard,
        publisher: Publisher,
        recorder: Recorder,
        history: WeightHistory,
        clock: Callable[[], float],
        published: Callable[[Decision], None],
    ) -> None:
        self._board = board
        self._publisher = publisher
        self._recorder = recorder
        self._history = history
        self._clock = clock
        self._on_published = published
        self._wake = asyncio.Event()
        self._published = ""
        self.policy: PolicySet | None = None
        self.overrides = Overrides()
        self.decision: Decision | None = None
        self.withheld = ""
        """Why the latest decision was not published; empty when it was."""

    def restore(self, decision: Decision) -> None:
        """Start from the decision that was in force before a restart, so that the restart moves no weight."""
        self.decision = decision

    def notify(self) -> None:
        """Something changed that should not wait for the tick."""
        self._wake.set()

    def set_drains(self, drains: dict[str, Drain]) -> None:
        """Put operators' drains in force, from the next decision on."""
        self.overrides = Overrides(drains=dict(drains))

    async def adopt(self, policy: PolicySet) -> None:
        """Put a policy in force: all of it, or on an error nothing.

        Raises:
            ResidencyBreach: what it generates could let data out; the policy before stays in force.
            CompileError: nothing can be generated from it; likewise.
        """
        draft = decide(policy, self._board.snapshot(self._clock()), self.overrides, self.decision, self._clock())
        await self._publisher.prepare(policy, draft)
        before = self.policy
        self.policy = policy
        self._published = ""
        try:
            self._decide(policy)
        except BaseException:
            self.policy = before
            raise

    def decide_now(self) -> None:
        """Decide on what is known now and publish it. A decision that fails its proof is withheld and reported."""
        if self.policy is None:
            return
        try:
            self._decide(self.policy)
        except ResidencyBreach as error:
            self.withheld = str(error)
            logger.critical("decision withheld: residency proof failed", extra={"breach": str(error)})

    def _decide(self, policy: PolicySet) -> None:
        now = self._clock()
        decision = decide(policy, self._board.snapshot(now), self.overrides, self.decision, now)
        digest = material_digest(decision)
        if digest != self._published:
            self._publisher.publish(policy, decision)
            self._published = digest
            self._recorder.record(decision)
            self._on_published(decision)
        self.withheld = ""
        self.decision = decision
        if self._history.add(decision):
            logger.info("weights changed", extra={"decision": decision.id, **_summary(decision)})

    async def run(self) -> None:
        """Decide until cancelled. An error in one decision keeps the last one in force and is logged."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            try:
                self.decide_now()
            except Exception as error:
                # A defect in the engine must not end the process: Envoys keep the last decision, and this says so.
                self.withheld = f"{type(error).__name__}: {error}"
                logger.exception("decision failed; the last one stays in force")


def _summary(decision: Decision) -> dict[str, str]:
    """Weights in one short field a row."""
    return {
        f"{key.policy}/{key.region}/{key.model}": ",".join(
            f"{name}={weight / 100:g}%" for name, weight in row.weights.items() if weight
        )
        or "refused"
        for key, row in decision.rows.items()
    }
