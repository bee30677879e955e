"""Recorded decisions and what they were made of: the statements behind the store's methods about them.

A decision is written together with its inputs and an entry of the audit log that holds the digests of both, so that
neither can be changed later without the chain showing it.
"""

import hashlib
from typing import Final

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import ColumnElement

from penstock.state.records import PackedInputs, StoredDecision, StoredInputs
from penstock.state.tables import decision_inputs, decisions

RECORDED: Final = "decision.recorded"
"""The kind of the audit entries about decisions."""


def entry_detail(decision: StoredDecision, inputs: PackedInputs) -> dict[str, object]:
    """What the audit log says of a decision: enough to tell, for ever, whether its record is what was written."""
    return {
        "id": decision.id,
        "at": decision.at,
        "decision": digest_of(decision.json),
        "inputs": inputs.digest,
        "policy": decision.policy_digest,
    }


def digest_of(text: str) -> str:
    """Return the SHA-256 of a text, in hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


async def known(connection: AsyncConnection, decision_id: str) -> bool:
    """Whether a decision is recorded."""
    return await connection.scalar(select(decisions.c.sequence).where(decisions.c.id == decision_id)) is not None


async def add(connection: AsyncConnection, decision: StoredDecision) -> None:
    """Record a decision that is not recorded yet."""
    await connection.execute(
        insert(decisions).values(
            id=decision.id,
            at=decision.at,
            material_digest=decision.material_digest,
            policy_digest=decision.policy_digest,
            json=decision.json,
        )
    )


async def add_inputs(connection: AsyncConnection, decision_id: str, inputs: PackedInputs, entry: int) -> None:
    """Record what a decision was made of; ``entry`` is the number of the audit entry about it."""
    row = {"id": decision_id, "digest": inputs.digest, "entry": entry, "data": inputs.data}
    await connection.execute(insert(decision_inputs).values(**row))


async def inputs_of(connection: AsyncConnection, decision_id: str) -> StoredInputs | None:
    """Return what a decision was made of."""
    found = (await connection.execute(select(decision_inputs).where(decision_inputs.c.id == decision_id))).one_or_none()
    return None if found is None else StoredInputs(found.id, found.digest, found.entry, bytes(found.data))


async def newest(connection: AsyncConnection, which: ColumnElement[bool] | None, limit: int) -> list[StoredDecision]:
    """Return decisions, newest first."""
    wanted = select(decisions).order_by(decisions.c.at.desc(), decisions.c.sequence.desc()).limit(limit)
    if which is not None:
        wanted = wanted.where(which)
    return [
        StoredDecision(
            id=row.id,
            at=row.at,
            policy_digest=row.policy_digest,
            json=row.json,
            material_digest=row.material_digest,
        )
        for row in await connection.execute(wanted)
    ]


async def next_at(connection: AsyncConnection, at: float) -> float | None:
    """Return the time of the first decision after a time."""
    found: float | None = await connection.scalar(select(func.min(decisions.c.at)).where(decisions.c.at > at))
    return found


async def prune(connection: AsyncConnection, horizon: float) -> int:
    """Remove decisions older than a time, all but the latest, and return how many."""
    latest = select(func.max(decisions.c.sequence)).scalar_subquery()
    over = (decisions.c.at < horizon) & (decisions.c.sequence < latest)
    await connection.execute(
        delete(decision_inputs).where(decision_inputs.c.id.in_(select(decisions.c.id).where(over)))
    )
    removed = await connection.execute(delete(decisions).where(over))
    return removed.rowcount
