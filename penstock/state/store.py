"""The store: drains, notices, decisions, the ledger and the audit log over one database.

Owned by the composition root; any task may call it at any time. Whatever changes an operator's override is written in
one transaction with its audit entry: neither is ever there without the other. Every method may raise
:class:`~penstock.state.errors.StoreError`; callers on the serving path must go on without the store then, for a failed
database freezes nothing and stops nothing. A caller that is cancelled leaves its request behind, which is carried out
whole.
"""

import asyncio
import functools
import json
import logging
from collections.abc import Callable, Coroutine, Mapping
from types import TracebackType
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar

from sqlalchemy import Select, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import ColumnElement

from penstock.state import auditing, chain, figures, recorded
from penstock.state import notices as noticed
from penstock.state.database import Database
from penstock.state.errors import StoreError, StoreSchemaError
from penstock.state.ledger_book import LedgerBook
from penstock.state.records import AuditEntry, PackedInputs, StoredDecision, StoredInputs
from penstock.state.tables import NewerSchemaError, audit, decisions, drains, migrate, policies
from penstock_policies.overrides import Drain

__all__ = ["Store", "StoreError"]

logger = logging.getLogger(__name__)

SELF: Final = "penstock"
"""The actor of what happens by itself."""

_PAGE: Final = 1000
"""Audit entries read at once: some hundred kilobytes."""


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
        self.ledger: Final = LedgerBook(database)
        """What traffic came to."""

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
            await auditing.append(connection, self._clock(), kind, actor, facts)
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
            await auditing.append(connection, self._clock(), "drain.removed", actor, facts)
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
                await auditing.append(connection, self._clock(), "drain.expired", SELF, {"drain": _fields(drain)})
        return expired

    # Notices

    @_to_its_end
    async def put_notice(
        self, record: noticed.NoticeRecord, kind: str, actor: str, detail: Mapping[str, object]
    ) -> None:
        """Keep a notice or forget it, with its audit entry."""
        async with self._database.writing("put notice") as connection:
            await noticed.put(connection, record)
            await auditing.append(connection, self._clock(), kind, actor, detail)

    @_to_its_end
    async def notices(self) -> dict[str, str]:
        """Return the JSON of every notice kept, by id."""
        async with self._database.reading("read notices") as connection:
            return await noticed.everything(connection)

    # Decisions

    @_to_its_end
    async def record_decision(  # noqa: PLR0917 - what a record is made of, in the order of its columns
        self,
        id: str,  # noqa: A002 - callers name it so
        at: float,
        material_digest: str,
        json_text: str,
        policy_digest: str,
        inputs: PackedInputs | None = None,
    ) -> None:
        """Record a decision, with what it was made of and an audit entry; one that is recorded already stays as is."""
        decision = StoredDecision(id, at, policy_digest, json_text, material_digest)
        async with self._database.writing("record decision") as connection:
            if await recorded.known(connection, id):
                return
            await recorded.add(connection, decision)
            if inputs is not None:
                detail = recorded.entry_detail(decision, inputs)
                entry = await auditing.append(connection, self._clock(), recorded.RECORDED, SELF, detail)
                await recorded.add_inputs(connection, id, inputs, entry.sequence)

    @_to_its_end
    async def record_figures(
        self,
        id: str,  # noqa: A002 - callers name it so
        at: float,
        policy_digest: str,
        packed: bytes,
        inputs: PackedInputs,
    ) -> None:
        """Record a decision for its figures alone, without an audit entry; ``packed`` is its text, compressed."""
        async with self._database.writing("record figures") as connection:
            if not await recorded.known(connection, id):
                await figures.add(connection, StoredDecision(id, at, policy_digest, ""), packed, inputs)

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
        """One decision, be it recorded for its figures alone."""
        async with self._database.reading("read decision") as connection:
            found = await recorded.newest(connection, decisions.c.id == id, 1)
            return found[0] if found else await figures.of_id(connection, id)

    @_to_its_end
    async def decision_at(self, at: float) -> StoredDecision | None:
        """Return the decision in force at a time: the last one recorded by then, be it for its figures alone."""
        material = await self.material_decision_at(at)
        async with self._database.reading("read figures") as connection:
            since = 0.0 if material is None else material.at
            return await figures.latest_by(connection, at, since) or material

    @_to_its_end
    async def material_decision_at(self, at: float) -> StoredDecision | None:
        """Return the last decision recorded by a time that changed more than figures."""
        found = await self._decisions(decisions.c.at <= at, 1)
        return found[0] if found else None

    @_to_its_end
    async def next_decision_at(self, at: float) -> float | None:
        """Return when the next decision after a time was made that changed more than figures; None while none was."""
        async with self._database.reading("read next decision") as connection:
            return await recorded.next_at(connection, at)

    @_to_its_end
    async def decision_inputs(self, id: str) -> StoredInputs | None:  # noqa: A002 - callers name it so
        """Return what a decision was made of; None where that was not recorded."""
        async with self._database.reading("read decision inputs") as connection:
            return await recorded.inputs_of(connection, id) or await figures.inputs_of(connection, id)

    async def _decisions(self, which: ColumnElement[bool] | None, limit: int) -> list[StoredDecision]:
        async with self._database.reading("read decisions") as connection:
            return await recorded.newest(connection, which, limit)

    @_to_its_end
    async def prune(self, now: float, keep_seconds: float) -> int:
        """Remove decisions older than ``keep_seconds`` and return how many; the latest stays, however old.

        The audit log is never pruned: it is small, and its chain must begin at its first entry. It gets an entry that
        says what was removed.
        """
        horizon = now - keep_seconds
        async with self._database.writing("prune") as connection:
            count = await recorded.prune(connection, horizon)
            await figures.prune(connection, horizon)
            if count:
                await auditing.append(
                    connection, self._clock(), "decisions.pruned", SELF, {"before": horizon, "count": count}
                )
        return count

    @_to_its_end
    async def thin_figures(self, before: float) -> int:
        """Of decisions recorded for their figures alone before a time, keep one an hour; returns how many went."""
        async with self._database.writing("thin figures") as connection:
            return await figures.thin(connection, before)

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
            link = await auditing.append(connection, self._clock(), kind, actor, detail)
        return auditing.entry(link)

    @_to_its_end
    async def audit(self, limit: int, before: int | None = None, kind: str | None = None) -> list[AuditEntry]:
        """Return at most ``limit`` entries with a number below ``before``, newest first.

        Those of one ``kind``, or of every kind but the entries about recorded decisions: the decisions have a listing
        of their own, and would bury what operators did.
        """
        wanted = select(audit).order_by(audit.c.sequence.desc()).limit(limit)
        wanted = wanted.where(audit.c.kind != recorded.RECORDED if kind is None else audit.c.kind == kind)
        if before is not None:
            wanted = wanted.where(audit.c.sequence < before)
        async with self._database.reading("read audit") as connection:
            return [auditing.entry(chain.Link(**row._asdict())) for row in await connection.execute(wanted)]

    @_to_its_end
    async def audit_entry(self, sequence: int) -> AuditEntry | None:
        """Return the entry with a number."""
        async with self._database.reading("read audit entry") as connection:
            row = (await connection.execute(select(audit).where(audit.c.sequence == sequence))).one_or_none()
            return None if row is None else auditing.entry(chain.Link(**row._asdict()))

    @_to_its_end
    async def verify_audit(self) -> int | None:
        """Return the number of the first entry of the chain that is not what was written; None when all are."""
        async with self._database.reading("verify audit") as connection:
            head, sound = await auditing.head(connection), (0, chain.GENESIS)
            while True:
                rows = await connection.execute(
                    select(audit).where(audit.c.sequence > sound[0]).order_by(audit.c.sequence).limit(_PAGE)
                )
                links = [chain.Link(**row._asdict()) for row in rows]
                # Off the event loop: years of entries are hashed here, and Envoys are being served meanwhile.
                broken, sound = await asyncio.to_thread(chain.follow, links, sound)
                if broken is not None:
                    return broken
                if len(links) < _PAGE:
                    return chain.broken_end(sound, head)


async def _prepare(database: Database, now: float) -> None:
    async with database.writing("open") as connection:
        await connection.run_sync(migrate, now)


async def _drain(connection: AsyncConnection, cluster: str) -> Drain | None:
    row = (await connection.execute(select(drains).where(drains.c.cluster == cluster))).one_or_none()
    return None if row is None else Drain(**row._asdict())


def _fields(drain: Drain) -> dict[str, object]:
    return {column.name: getattr(drain, column.name) for column in drains.columns}
