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

from penstock.control.inputs import pack
from penstock.state.errors import StoreError
from penstock.state.figures import packed
from penstock.state.records import PackedInputs
from penstock.state.store import SELF, Store
from penstock_policies.decision import Decision
from penstock_policies.inputs import DecisionInputs
from penstock_policies.serial import material_digest, to_json

logger = logging.getLogger(__name__)

# Decisions that differ come about once a second at the very worst: some minutes of a store that is away.
_CAPACITY: Final = 600
# A row on twenty clusters takes about 8 KB, twice with the decision before: some hundred megabytes at the very most.
_MOST_ROWS: Final = 20_000
_RETRY_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class AuditNote:
    """An audit entry to come."""

    kind: str
    detail: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Made:
    """A decision to be recorded, and what it was made of."""

    decision: Decision
    inputs: DecisionInputs | None
    figures_alone: bool = False
    """Whether it differs from the one recorded before it in figures alone."""


class Recorder:
    """The one writer of decisions and of what the audit log tells of Penstock's own doings."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queue: deque[Made | AuditNote] = deque()
        self._rows = 0
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.lost = 0
        """Records given up because the store was away for too long."""

    def record(self, decision: Decision, inputs: DecisionInputs | None = None) -> None:
        """Have a decision written soon, with what it was made of."""
        self._put(Made(decision, inputs))

    def record_figures(self, decision: Decision, inputs: DecisionInputs) -> None:
        """Have a decision written soon that differs from the one recorded before it in figures alone."""
        self._put(Made(decision, inputs, figures_alone=True))

    def audit(self, kind: str, detail: Mapping[str, object]) -> None:
        """Have an audit entry written soon; ``detail`` must be plain JSON."""
        self._put(AuditNote(kind, detail))

    def _put(self, record: Made | AuditNote) -> None:
        while self._queue and (len(self._queue) >= _CAPACITY or self._rows + _rows(record) > _MOST_ROWS):
            given_up = self._take()
            self.lost += 1
            what = given_up.decision.id if isinstance(given_up, Made) else given_up.kind
            logger.error("not recorded", extra={"record": what, "lost": self.lost})
        self._queue.append(record)
        self._rows += _rows(record)
        self._idle.clear()
        self._wake.set()

    def _take(self) -> Made | AuditNote:
        record = self._queue.popleft()
        self._rows -= _rows(record)
        return record

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
                    self._take()
            self._idle.set()

    async def drained(self, timeout: float) -> None:  # noqa: ASYNC109 -- the caller's shutdown budget, not a cancel scope
        """Wait up to ``timeout`` seconds until all is written: for an orderly end."""
        try:
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        except TimeoutError:
            logger.warning("ended with some of it not recorded", extra={"count": len(self._queue)})

    async def _write(self, record: Made | AuditNote) -> None:
        if isinstance(record, AuditNote):
            await self._store.append_audit(record.kind, SELF, record.detail)
            return
        decision = record.decision
        if record.figures_alone and record.inputs is not None:
            figures, of = await asyncio.to_thread(_packed, decision, record.inputs)
            await self._store.record_figures(decision.id, decision.at, decision.policy_digest, figures, of)
            return
        text, material, inputs = await asyncio.to_thread(_written, record)
        await self._store.record_decision(decision.id, decision.at, material, text, decision.policy_digest, inputs)


def _rows(record: Made | AuditNote) -> int:
    return len(record.decision.rows) if isinstance(record, Made) else 0


def _written(record: Made) -> tuple[str, str, PackedInputs | None]:
    """Write out a decision, its material digest and its inputs: too much work for the event loop's thread."""
    inputs = None if record.inputs is None else pack(record.inputs)
    return to_json(record.decision), material_digest(record.decision), inputs


def _packed(decision: Decision, inputs: DecisionInputs) -> tuple[bytes, PackedInputs]:
    return packed(to_json(decision)), pack(inputs)
