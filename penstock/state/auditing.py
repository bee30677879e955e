"""The audit log's rows: the statements that read and write entries, within the caller's transaction."""

import json
import logging
from collections.abc import Mapping
from typing import Final

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock.state import chain
from penstock.state.records import AuditEntry
from penstock.state.tables import audit, audit_head

logger = logging.getLogger(__name__)

_ONLY: Final = 1


async def head(connection: AsyncConnection) -> tuple[int, str]:
    """Return the number and the digest of the last entry."""
    row = (await connection.execute(select(audit_head.c.sequence, audit_head.c.digest))).one_or_none()
    return (0, chain.GENESIS) if row is None else (row.sequence, row.digest)


async def append(
    connection: AsyncConnection, at: float, kind: str, actor: str, detail: Mapping[str, object]
) -> chain.Link:
    """Append to the chain within the caller's writing transaction."""
    last = await head(connection)
    link = chain.append(last, at, kind, actor, detail)
    row = {name: getattr(link, name) for name in audit.c.keys()}  # noqa: SIM118 - a column collection, not a mapping
    await connection.execute(insert(audit).values(**row))
    if last[0] == 0:
        await connection.execute(insert(audit_head).values(only=_ONLY, sequence=link.sequence, digest=link.digest))
    else:
        await connection.execute(update(audit_head).values(sequence=link.sequence, digest=link.digest))
    logger.info("audited", extra={"sequence": link.sequence, "kind": kind, "actor": actor, "digest": link.digest})
    return link


def entry(link: chain.Link) -> AuditEntry:
    """Return an entry as it is handed out."""
    return AuditEntry(
        sequence=link.sequence,
        at=link.at,
        kind=link.kind,
        actor=link.actor,
        detail=json.loads(link.detail),
        previous=link.previous,
        digest=link.digest,
    )
