"""The notices' rows: the statements that read and write them, within the caller's transaction."""

from typing import NamedTuple

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock.state.tables import notices


class NoticeRecord(NamedTuple):
    """What is kept of a notice."""

    id: str
    text: str | None
    """Its JSON; None where it is to be forgotten."""


async def put(connection: AsyncConnection, record: NoticeRecord) -> None:
    """Keep a notice, in place of what was kept of it, or forget it."""
    await connection.execute(delete(notices).where(notices.c.id == record.id))
    if record.text is not None:
        await connection.execute(insert(notices).values(id=record.id, json=record.text))


async def everything(connection: AsyncConnection) -> dict[str, str]:
    """Return the JSON of every notice, by id."""
    rows = await connection.execute(select(notices.c.id, notices.c.json).order_by(notices.c.id))
    return {row.id: row.json for row in rows}
