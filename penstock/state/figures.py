"""Decisions recorded for their figures alone: the statements behind the store's methods about them.

Between two decisions that differ in something an auditor asks about, demand and prices go on moving. So that a
moment's figures can be told later, a decision is kept now and then that differs in nothing else. No entry of the audit
log vouches for these, or the log, which is kept for good, would consist of little else; the recorded decision before
each, for which one does, says the same of all that matters. They are thinned out with age.
"""

import zlib
from typing import Final

from sqlalchemy import Integer, cast, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import ColumnElement

from penstock.state.records import UNVOUCHED, PackedInputs, StoredDecision, StoredInputs
from penstock.state.tables import figures

_LEVEL: Final = 6
"""zlib's own default: a decision shrinks about tenfold."""
_HOUR: Final = 3600.0


def packed(text: str) -> bytes:
    """Compress the canonical text of a decision: for a large fleet too much work for the event loop's thread."""
    return zlib.compress(text.encode(), _LEVEL)


async def add(connection: AsyncConnection, decision: StoredDecision, text: bytes, inputs: PackedInputs) -> None:
    """Record a decision whose packed text is ``text``; one that is recorded already stays as is."""
    if await connection.scalar(select(figures.c.id).where(figures.c.id == decision.id)) is not None:
        return
    await connection.execute(
        insert(figures).values(
            id=decision.id,
            at=decision.at,
            policy_digest=decision.policy_digest,
            decision=text,
            inputs_digest=inputs.digest,
            inputs=inputs.data,
        )
    )


async def of_id(connection: AsyncConnection, decision_id: str) -> StoredDecision | None:
    """Return one of them."""
    return await _one(connection, figures.c.id == decision_id)


async def latest_by(connection: AsyncConnection, at: float, after: float) -> StoredDecision | None:
    """Return the last one made by a time, if it was made later than ``after``."""
    return await _one(connection, (figures.c.at <= at) & (figures.c.at > after))


async def inputs_of(connection: AsyncConnection, decision_id: str) -> StoredInputs | None:
    """Return what one of them was made of."""
    wanted = select(figures.c.id, figures.c.inputs_digest, figures.c.inputs).where(figures.c.id == decision_id)
    row = (await connection.execute(wanted)).one_or_none()
    return None if row is None else StoredInputs(row.id, row.inputs_digest, UNVOUCHED, bytes(row.inputs))


async def thin(connection: AsyncConnection, horizon: float) -> int:
    """Keep the first of each hour of those older than a time, and return how many were removed."""
    hour = cast(figures.c.at / _HOUR, Integer)
    kept = select(func.min(figures.c.at)).where(figures.c.at < horizon).group_by(hour)
    removed = await connection.execute(delete(figures).where(figures.c.at < horizon, figures.c.at.not_in(kept)))
    return removed.rowcount


async def prune(connection: AsyncConnection, horizon: float) -> None:
    """Remove those older than a time."""
    await connection.execute(delete(figures).where(figures.c.at < horizon))


async def _one(connection: AsyncConnection, which: ColumnElement[bool]) -> StoredDecision | None:
    wanted = select(figures.c.id, figures.c.at, figures.c.policy_digest, figures.c.decision)
    row = (await connection.execute(wanted.where(which).order_by(figures.c.at.desc()).limit(1))).one_or_none()
    if row is None:
        return None
    return StoredDecision(row.id, row.at, row.policy_digest, _unpacked(bytes(row.decision)), figures_alone=True)


def _unpacked(data: bytes) -> str:
    try:
        return zlib.decompress(data).decode()
    except (zlib.error, UnicodeDecodeError):
        # Damaged: whoever reads it is told that it is no decision.
        return ""
