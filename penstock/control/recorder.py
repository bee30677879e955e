"""Writing to the store what happens by itself, decisions and audit entries, without ever holding it up.

One task writes; :meth:`Recorder.record` and :meth:`Recorder.audit` only put into a bounded queue. While the store is
away, the queue fills and then the oldest of what is unwritten is given up, counted and logged: serving goes on
(DESIGN.md, "State and replicas"). What an operator does is not written here: that is recorded before it is done.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from penstock.state.errors import StoreError
from penstock.state.store import SELF, Store
from penstock_policies.decision import Decision
from penstock_policies.serial import material_digest, to_json

logger = logging.getLogger(__name__)

# Decisions that differ come about once a second at the very worst: some minutes of a store that is away.
_CAPACITY: Final = 600
_RETRY_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class AuditNote:
    """An audit entry to come."""

    kind: str
    detail: Mapping[str, object]


class Recorder:
    """The one writer of decisions and of what the audit log tells of Penstock's own doings."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queue: deque[Decision | AuditNote] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.lost = 0
        """Records given up because the store was away for too long."""

    def record(self, decision: Decision) -> None:
        """Have a decision written soon."""
        self._put(decision)

    def audit(self, kind: str, detail: Mapping[str, object]) -> None:
        """Have an audit entry written soon; ``detail`` must be plain JSON."""
        self._put(AuditNote(kind, detail))

    def _put(self, record: Decision | AuditNote) -> None:
        if len(self._queue) >= _CAPACITY:
            given_up = self._queue.popleft()
            self.lost += 1
            what = given_up.id if isinstance(given_up, Decision) else given_up.kind
            logger.error("not recorded", extra={"record": what, "lost": self.lost})
        self._queue.append(record)
        self._idle.clear()
        self._wake.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                record = self._queue[0]
                try:
                    await self._write(record)
                except StoreError as error:
                    logger.warning("store is away, records wait", extra={"error": str(error)})
                    await asyncio.sleep(_RETRY_SECONDS)
                    continue
                if self._queue and self._queue[0] is record:
                    self._queue.popleft()
            self._idle.set()

    async def drained(self, timeout: float) -> None:  # noqa: ASYNC109 -- the caller's shutdown budget, not a cancel scope
        """Wait up to ``timeout`` seconds until all is written: for an orderly end."""
        try:
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        except TimeoutError:
            logger.warning("ended with some of it not recorded", extra={"count": len(self._queue)})

    async def _write(self, record: Decision | AuditNote) -> None:
        if isinstance(record, AuditNote):
            await self._store.append_audit(record.kind, SELF, record.detail)
            return
        await self._store.record_decision(
            record.id, record.at, material_digest(record), to_json(record), record.policy_digest
        )
