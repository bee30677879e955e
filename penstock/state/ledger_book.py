"""The ledger in a database: :attr:`penstock.state.store.Store.ledger`.

Amounts are only ever added, so that several writers (a leader and the one before it) never undo one another's.

Budgets need quarters of an hour (every time zone's midnight begins one) for a month at most. Older rows are rolled up
to hours; reports are made by hours all along (:mod:`penstock.state.ledger_report`), so they say the same before and
after.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from sqlalchemy import Table, delete, func, select, text
from sqlalchemy.sql.elements import TextClause

from penstock.state import ledger_report
from penstock.state.costs import Asked, Found
from penstock.state.database import Database
from penstock.state.ledger import (
    ACCRUED,
    AMOUNTS,
    HOUR_SECONDS,
    AccrualKey,
    Entries,
    LedgerKey,
    accrued_of,
    amounts_of,
)
from penstock.state.tables import accrual, ledger

Names = tuple[str, ...]

MOST_HOURS_ROLLED_UP: Final = 48
"""At once: some seconds' work for a large fleet. Once an hour, it is far more than comes after."""


def _adding(table: Table, keys: Names, amounts: Names, rows: str) -> TextClause:
    """Give the statement that adds rows, in words of both dialects, and one for any number of rows."""
    names = ", ".join((*keys, *amounts))
    sums = ", ".join(f"{name} = {table.name}.{name} + excluded.{name}" for name in amounts)
    return text(f"INSERT INTO {table.name} ({names}) {rows} ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {sums}")


def _given(keys: Names, amounts: Names) -> str:
    return f"VALUES ({', '.join(f':{name}' for name in (*keys, *amounts))})"


def _quarters(table: Table, keys: Names, amounts: Names) -> str:
    """Sum up the quarters of an hour but for its first, as of that hour."""
    groups = ", ".join((f"bucket - bucket % {HOUR_SECONDS}", *keys[1:]))
    sums = ", ".join(f"SUM({name})" for name in amounts)
    return f"SELECT {groups}, {sums} FROM {table.name} WHERE bucket > :hour AND bucket < :next GROUP BY {groups}"  # noqa: S608 - of our own names alone


_BOOKS: Final = ((ledger, LedgerKey._fields, AMOUNTS), (accrual, AccrualKey._fields, ACCRUED))
_ADD: Final = {of.name: _adding(of, keys, amounts, _given(keys, amounts)) for of, keys, amounts in _BOOKS}
_ROLL_UP: Final = {of.name: _adding(of, keys, amounts, _quarters(of, keys, amounts)) for of, keys, amounts in _BOOKS}


class LedgerBook:
    """Reads and adds. Any task may call it at any time, and every method may raise StoreError.

    What a caller that is cancelled has begun is carried out whole.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rolled_up: dict[str, int] = {table.name: 0 for table, _, _ in _BOOKS}
        """Table to when what is not rolled up yet begins at the earliest: what is need not be searched every hour."""

    async def add(self, entries: Entries) -> None:
        """Add to what is recorded: all of it or nothing."""
        await self._database.finish(self._add(entries))

    async def spent_since(self, since: float) -> dict[tuple[str, str], float]:
        """Sum the marginal cost of buckets that begin at ``since`` (Unix seconds) or later, by policy and cluster."""
        return await self._database.finish(self._spent_since(since))

    async def report(self, asked: Asked) -> Found:
        """Sum up some hours by the columns asked for."""
        return await self._database.finish(self._report(asked))

    async def roll_up(self, before: float) -> None:
        """Turn the quarters of whole hours before a time (Unix seconds) into hours.

        An hour a transaction, so that nobody waits long for the writers' lock, and no more than
        :data:`MOST_HOURS_ROLLED_UP` a call: an old database catches up over several.
        """
        end = int(before) // HOUR_SECONDS * HOUR_SECONDS
        for table, _, _ in _BOOKS:
            for _ in range(MOST_HOURS_ROLLED_UP):
                hour = await self._database.finish(self._hour_to_roll_up(table, end))
                if hour is None:
                    self._rolled_up[table.name] = max(self._rolled_up[table.name], end)
                    break
                await self._database.finish(self._roll_up(table, hour))
                self._rolled_up[table.name] = hour + HOUR_SECONDS

    async def prune(self, before: float) -> int:
        """Forget buckets that begin before a time (Unix seconds); returns how many rows that were."""
        return await self._database.finish(self._prune(before))

    async def _add(self, entries: Entries) -> None:
        async with self._database.writing("add to the ledger") as connection:
            if entries.amounts:
                await connection.execute(_ADD[ledger.name], _rows(entries.amounts, AMOUNTS, amounts_of))
            if entries.accrued:
                await connection.execute(_ADD[accrual.name], _rows(entries.accrued, ACCRUED, accrued_of))

    async def _spent_since(self, since: float) -> dict[tuple[str, str], float]:
        wanted = (
            select(ledger.c.policy, ledger.c.cluster, func.sum(ledger.c.usd))
            .where(ledger.c.bucket >= since)
            .group_by(ledger.c.policy, ledger.c.cluster)
        )
        async with self._database.reading("read spending") as connection:
            return {(policy, cluster): usd for policy, cluster, usd in await connection.execute(wanted)}

    async def _report(self, asked: Asked) -> Found:
        async with self._database.reading("read the ledger") as connection:
            return await ledger_report.found(connection, asked)

    async def _hour_to_roll_up(self, table: Table, end: int) -> int | None:
        finer = select(func.min(table.c.bucket)).where(
            table.c.bucket >= self._rolled_up[table.name], table.c.bucket < end, table.c.bucket % HOUR_SECONDS != 0
        )
        async with self._database.reading("read the ledger") as connection:
            bucket: int | None = await connection.scalar(finer)
        return None if bucket is None else bucket // HOUR_SECONDS * HOUR_SECONDS

    async def _roll_up(self, table: Table, hour: int) -> None:
        span = {"hour": hour, "next": hour + HOUR_SECONDS}
        async with self._database.writing("roll up the ledger") as connection:
            await connection.execute(_ROLL_UP[table.name], span)
            await connection.execute(delete(table).where(table.c.bucket > hour, table.c.bucket < span["next"]))

    async def _prune(self, before: float) -> int:
        rows = 0
        async with self._database.writing("prune the ledger") as connection:
            for table, _, _ in _BOOKS:
                rows += (await connection.execute(delete(table).where(table.c.bucket < before))).rowcount
        return rows


def _rows(of: Mapping[Any, Any], names: Names, values: Callable[[Any], Iterable[float]]) -> list[dict[str, object]]:
    return [
        {**key._asdict(), **dict(zip(names, values(each), strict=True))}
        for key, each in sorted(of.items(), key=_by_key)
    ]


def _by_key(item: tuple[Any, Any]) -> Any:  # noqa: ANN401 - a tuple of either kind of key
    return item[0]
