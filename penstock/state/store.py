"""The store: drains, decisions and the audit log over one database.

Owned by the composition root; any task may call it at any time. Whatever changes an operator's override is written in
one transaction with its audit entry: neither is ever there without the other. Every method may raise
:class:`~penstock.state.errors.StoreError`; callers on the serving path must go on without the store then, for a failed
database freezes nothing and stops nothing. A caller that is cancelled leaves its request behind, which is carried out
whole.
"""

import functools
import json
import logging
from collections.abc import Callable, Coroutine, Mapping
from types import TracebackType
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar

from sqlalchemy import Select, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import ColumnElement

from penstock.state import chain
from penstock.state.database import Database
from penstock.state.errors import StoreError, StoreSchemaError
from penstock.state.records import AuditEntry, StoredDecision
from penstock.state.tables import NewerSchemaError, audit, audit_head, decisions, drains, migrate, policies
from penstock_policies.overrides import Drain

__all__ = ["Store", "StoreError"]

logger = logging.getLogger(__name__)

SELF: Final = "penstock"
"""The actor of what happens by itself."""

_ONLY: Final = 1


P = ParamSpec("P")
R = TypeVar("R")


def _to_its_end(
    method: Callable[Concatenate["Store", P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate["Store", P], Coroutine[Any, Any, R]]:
    """Let a cancelled caller go, and the transaction it began go on."""

    @functools.wraps(method)
    async def begun(store: "Store", /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await store._database.finish(method(store, *args, **kwargs))  # noqa: SLF001 - a method of the class

    return begun


class Store:
    """State that outlives the process. Made by :meth:`open`, ended by :meth:`close` or as a context manager."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    @classmethod
    async def open(cls, url: str, clock: Callable[[], float], *, failed: Callable[[], None] = lambda: None) -> Self:
        """Open ``sqlite:///FILE`` or ``postgresql://...``, creating or migrating its tables.

        ``clock`` gives Unix seconds, for the times in the audit log; ``failed`` is called at every failure.

        Raises:
            StoreUrlError: the URL names no database this installation can open.
            StoreUnavailableError: out of reach, locked, read-only or full.
            StoreCorruptError: the file is damaged or no database.
            StoreSchemaError: a newer Penstock wrote it.

        """
        database = Database(url, failed)
        try:
            await database.finish(_prepare(database, clock()))
        except NewerSchemaError as error:
            await database.close()
            raise StoreSchemaError("open", database.shown, str(error)) from error
        except BaseException:
            await database.close()
            raise
        return cls(database, clock)

    async def close(self) -> None:
        """Close the database. The store is of no more use."""
        await self._database.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # Drains

    @_to_its_end
    async def add_drain(self, drain: Drain, actor: str, detail: Mapping[str, object] | None = None) -> Drain | None:
        """Record a drain, in place of the cluster's earlier one, which is returned.

        ``detail`` goes into the audit entry beside the drain itself: whether it was forced, the arithmetic shown.
        """
        async with self._database.writing("add drain") as connection:
            earlier = await _drain(connection, drain.cluster)
            await connection.execute(delete(drains).where(drains.c.cluster == drain.cluster))
            await connection.execute(insert(drains).values(**_fields(drain)))
            facts: dict[str, object] = {**(detail or {}), "drain": _fields(drain)}
            if earlier is not None:
                facts["replaced"] = _fields(earlier)
            kind = "drain.added" if earlier is None else "drain.replaced"
            await _append(connection, self._clock(), kind, actor, facts)
        return earlier

    @_to_its_end
    async def remove_drain(self, cluster: str, actor: str, reason: str) -> Drain | None:
        """End a cluster's drain before its time and return it; None, and nothing is recorded, when it has none."""
        async with self._database.writing("remove drain") as connection:
            drain = await _drain(connection, cluster)
            if drain is None:
                return None
            await connection.execute(delete(drains).where(drains.c.cluster == cluster))
            facts = {"drain": _fields(drain), "reason": reason}
            await _append(connection, self._clock(), "drain.removed", actor, facts)
        return drain

    @_to_its_end
    async def drains(self, now: float) -> dict[str, Drain]:
        """Drains that are not over at ``now``, by cluster; one that is yet to begin is among them."""
        async with self._database.reading("read drains") as connection:
            rows = await connection.execute(select(drains).where(drains.c.until > now).order_by(drains.c.cluster))
            return {row.cluster: Drain(**row._asdict()) for row in rows}

    @_to_its_end
    async def expire_drains(self, now: float) -> list[Drain]:
        """Remove drains that are over at ``now`` and return them; each is audited as expired, once."""
        over = drains.c.until <= now
        async with self._database.reading("expire drains") as connection:
            # The usual answer is "none": found without taking the writers' lock.
            if await connection.scalar(select(func.count()).select_from(drains).where(over)) == 0:
                return []
        async with self._database.writing("expire drains") as connection:
            rows = await connection.execute(select(drains).where(over).order_by(drains.c.until, drains.c.cluster))
            expired = [Drain(**row._asdict()) for row in rows]
            await connection.execute(delete(drains).where(over))
            for drain in expired:
                await _append(connection, self._clock(), "drain.expired", SELF, {"drain": _fields(drain)})
        return expired

    # Decisions

    @_to_its_end
    async def record_decision(
        self,
        id: str,  # noqa: A002 - callers name it so
        at: float,
        material_digest: str,
        json_text: str,
        policy_digest: str,
    ) -> None:
        """Record a decision; one that is recorded already is left as it is."""
        async with self._database.writing("record decision") as connection:
            if await connection.scalar(select(decisions.c.sequence).where(decisions.c.id == id)) is not None:
                return
            await connection.execute(
                insert(decisions).values(
                    id=id, at=at, material_digest=material_digest, policy_digest=policy_digest, json=json_text
                )
            )

    @_to_its_end
    async def latest_decision(self) -> str | None:
        """Return the JSON text of the decision recorded last."""
        async with self._database.reading("read latest decision") as connection:
            newest = select(decisions.c.json).order_by(decisions.c.sequence.desc()).limit(1)
            text: str | None = await connection.scalar(newest)
            return text

    @_to_its_end
    async def decisions(self, limit: int, before: float | None = None) -> list[StoredDecision]:
        """Return at most ``limit`` decisions older than ``before`` (Unix time), newest first."""
        return await self._decisions(None if before is None else decisions.c.at < before, limit)

    @_to_its_end
    async def decision(self, id: str) -> StoredDecision | None:  # noqa: A002 - callers name it so
        """One decision."""
        found = await self._decisions(decisions.c.id == id, 1)
        return found[0] if found else None

    async def _decisions(self, which: ColumnElement[bool] | None, limit: int) -> list[StoredDecision]:
        wanted = select(decisions).order_by(decisions.c.at.desc(), decisions.c.sequence.desc()).limit(limit)
        if which is not None:
            wanted = wanted.where(which)
        async with self._database.reading("read decisions") as connection:
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

    @_to_its_end
    async def prune(self, now: float, keep_seconds: float) -> int:
        """Remove decisions older than ``keep_seconds`` and return how many; the latest stays, however old.

        The audit log is never pruned: it is small, and its chain must begin at its first entry. It gets an entry that
        says what was removed.
        """
        horizon = now - keep_seconds
        async with self._database.writing("prune") as connection:
            newest = select(func.max(decisions.c.sequence)).scalar_subquery()
            removed = await connection.execute(
                delete(decisions).where(decisions.c.at < horizon, decisions.c.sequence < newest)
            )
            count = removed.rowcount
            if count:
                await _append(connection, self._clock(), "decisions.pruned", SELF, {"before": horizon, "count": count})
        return count

    # Policies

    @_to_its_end
    async def save_policy(self, digest: str, files: Mapping[str, str]) -> None:
        """Record the text of a policy set that is in force from now on, by its digest."""
        text = chain.canonical(files)
        async with self._database.writing("save policy") as connection:
            newest = select(policies.c.digest, policies.c.files).order_by(policies.c.sequence.desc()).limit(1)
            latest = (await connection.execute(newest)).one_or_none()
            if latest is not None and (latest.digest, latest.files) == (digest, text):
                return
            await connection.execute(delete(policies).where(policies.c.digest == digest))
            await connection.execute(insert(policies).values(digest=digest, at=self._clock(), files=text))

    @_to_its_end
    async def latest_policy(self) -> Mapping[str, str] | None:
        """Return the text of the policy set that was in force last: name to text."""
        return await self._policy(select(policies.c.files).order_by(policies.c.sequence.desc()).limit(1))

    @_to_its_end
    async def policy(self, digest: str) -> Mapping[str, str] | None:
        """Return the text of the policy set with a digest, such as the one a decision was made by."""
        return await self._policy(select(policies.c.files).where(policies.c.digest == digest))

    async def _policy(self, wanted: Select[str]) -> Mapping[str, str] | None:
        async with self._database.reading("read policy") as connection:
            text = await connection.scalar(wanted)
        return None if text is None else json.loads(text)

    # The audit log

    @_to_its_end
    async def append_audit(self, kind: str, actor: str, detail: Mapping[str, object]) -> AuditEntry:
        """Append an entry. ``detail`` must be plain JSON.

        Raises:
            TypeError: ``detail`` holds something JSON cannot.
            ValueError: ``detail`` holds NaN or an infinity.

        """
        async with self._database.writing("append audit") as connection:
            link = await _append(connection, self._clock(), kind, actor, detail)
        return _entry(link)

    @_to_its_end
    async def audit(self, limit: int, before: int | None = None) -> list[AuditEntry]:
        """Return at most ``limit`` entries with a number below ``before``, newest first."""
        wanted = select(audit).order_by(audit.c.sequence.desc()).limit(limit)
        if before is not None:
            wanted = wanted.where(audit.c.sequence < before)
        async with self._database.reading("read audit") as connection:
            return [_entry(chain.Link(**row._asdict())) for row in await connection.execute(wanted)]

    @_to_its_end
    async def verify_audit(self) -> int | None:
        """Return the number of the first entry of the chain that is not what was written; None when all are."""
        async with self._database.reading("verify audit") as connection:
            head = await _head(connection)
            rows = await connection.execute(select(audit).order_by(audit.c.sequence))
            return chain.first_broken((chain.Link(**row._asdict()) for row in rows), head)


async def _prepare(database: Database, now: float) -> None:
    async with database.writing("open") as connection:
        await connection.run_sync(migrate, now)


async def _drain(connection: AsyncConnection, cluster: str) -> Drain | None:
    row = (await connection.execute(select(drains).where(drains.c.cluster == cluster))).one_or_none()
    return None if row is None else Drain(**row._asdict())


async def _head(connection: AsyncConnection) -> tuple[int, str]:
    row = (await connection.execute(select(audit_head.c.sequence, audit_head.c.digest))).one_or_none()
    return (0, chain.GENESIS) if row is None else (row.sequence, row.digest)


async def _append(
    connection: AsyncConnection, at: float, kind: str, actor: str, detail: Mapping[str, object]
) -> chain.Link:
    """Append to the chain within the caller's writing transaction."""
    head = await _head(connection)
    link = chain.append(head, at, kind, actor, detail)
    row = {name: getattr(link, name) for name in audit.c.keys()}  # noqa: SIM118 - a column collection, not a mapping
    await connection.execute(insert(audit).values(**row))
    if head[0] == 0:
        await connection.execute(insert(audit_head).values(only=_ONLY, sequence=link.sequence, digest=link.digest))
    else:
        await connection.execute(update(audit_head).values(sequence=link.sequence, digest=link.digest))
    logger.info("audited", extra={"sequence": link.sequence, "kind": kind, "actor": actor, "digest": link.digest})
    return link


def _fields(drain: Drain) -> dict[str, object]:
    return {column.name: getattr(drain, column.name) for column in drains.columns}


def _entry(link: chain.Link) -> AuditEntry:
    return AuditEntry(
        sequence=link.sequence,
        at=link.at,
        kind=link.kind,
        actor=link.actor,
        detail=json.loads(link.detail),
        previous=link.previous,
        digest=link.digest,
    )
