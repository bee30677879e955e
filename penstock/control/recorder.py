"""Writing decisions to the store without ever holding up the deciding.

One task writes; :meth:`Recorder.record` only puts into a bounded queue. While the store is away, the queue fills and
then the oldest unwritten decision is given up, counted and logged: serving goes on (DESIGN.md, "State and replicas").
"""

import asyncio
import logging
from collections import deque
from typing import Final

from penstock.state.errors import StoreError
from penstock.state.store import Store
from penstock_policies.decision import Decision
from penstock_policies.serial import material_digest, to_json

logger = logging.getLogger(__name__)

# Decisions that differ come about once a second at the very worst: some minutes of a store that is away.
_CAPACITY: Final = 600
_RETRY_SECONDS: Final = 1.0


class Recorder:
    """The one writer of decisions."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queue: deque[Decision] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.lost = 0
        """Decisions given up because the store was away for too long."""

    def record(self, decision: Decision) -> None:
        """Have a decision written soon."""
        if len(self._queue) >= _CAPACITY:
            given_up = self._queue.popleft()
            self.lost += 1
            logger.error("decision not recorded", extra={"decision": given_up.id, "lost": self.lost})
        self._queue.append(decision)
        self._idle.clear()
        self._wake.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                decision = self._queue[0]
                try:
                    await self._write(decision)
                except StoreError as error:
                    logger.warning("store is away, decisions wait", extra={"error": str(error)})
                    await asyncio.sleep(_RETRY_SECONDS)
                    continue
                if self._queue and self._queue[0] is decision:
                    self._queue.popleft()
            self._idle.set()

    async def drained(self, timeout: float) -> None:  # noqa: ASYNC109 -- the caller's shutdown budget, not a cancel scope
        """Wait up to ``timeout`` seconds until all is written: for an orderly end."""
        try:
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        except TimeoutError:
            logger.warning("ended with decisions not recorded", extra={"count": len(self._queue)})

    async def _write(self, decision: Decision) -> None:
        await self._store.record_decision(
            decision.id, decision.at, material_digest(decision), to_json(decision), decision.policy_digest
        )
