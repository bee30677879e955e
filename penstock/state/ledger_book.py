"""The ledger in a database: :attr:`penstock.state.store.Store.ledger`.

Amounts are only ever added, so that several writers (a leader and the one before it) never undo one another's. What is
added comes by quarters of an hour, since every time zone's midnight begins one: for budgets the money of each policy
and cluster is kept so. All the rest is kept by hours of UTC, a quarter of the rows.
"""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final

from sqlalchemy import Table, delete, func, select, text
from sqlalchemy.sql.elements import TextClause

from penstock.state import ledger_report
from penstock.state.costs import Asked, Found
from penstock.state.database import Database
from penstock.state.ledger import ACCRUED, AMOUNTS, HOUR_SECONDS, Entries, accrued_of, amounts_of
from penstock.state.tables import accrual, ledger, quarters

_AT_ONCE: Final = 500
"""Rows of one statement: SQLAlchemy prepares them on the event loop's thread, 10 microseconds each."""


def _adding(table: Table, amounts: tuple[str, ...]) -> TextClause:
    """Give the statement that adds rows, in words of both dialects, and one for any number of rows."""
    keys = [column.name for column in table.primary_key]
    names = (*keys, *amounts)
    sums = ", ".join(f"{name} = {table.name}.{name} + excluded.{name}" for name in amounts)
    return text(
        f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)})"  # noqa: S608 - of our own names alone
        f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {sums}"
    )


_ADD_AMOUNTS: Final = _adding(ledger, AMOUNTS)
_ADD_ACCRUED: Final = _adding(accrual, ACCRUED)
_ADD_QUARTERS: Final = _adding(quarters, ("usd",))


class LedgerBook:
    """Reads and adds. Any task may call it at any time, and every method may raise StoreError.

    What a caller that is cancelled has begun is carried out whole.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, entries: Entries) -> None:
        """Add to what is recorded: all of it or nothing."""
        await self._database.finish(self._add(entries))

    async def spent_since(self, since: float) -> dict[tuple[str, str], float]:
        """Sum the marginal cost of the quarters of an hour from ``since`` (Unix seconds) on, by policy and cluster."""
        return await self._database.finish(self._spent_since(since))

    async def report(self, asked: Asked) -> Found:
        """Sum up some hours by the columns asked for."""
        return await self._database.finish(self._report(asked))

    async def prune(self, before: float, quarters_before: float) -> int:
        """Forget hours, and quarters of hours, that begin before these times (Unix seconds); returns how many rows."""
        return await self._database.finish(self._prune(before, quarters_before))

    async def _add(self, entries: Entries) -> None:
        async with self._database.writing("add to the ledger") as connection:
            for statement, rows in (
                (_ADD_AMOUNTS, _amounts(entries)),
                (_ADD_QUARTERS, _quarters(entries)),
                (_ADD_ACCRUED, _accrued(entries)),
            ):
                rest = iter(rows)
                while some := list(islice(rest, _AT_ONCE)):
                    await connection.execute(statement, some)

    async def _spent_since(self, since: float) -> dict[tuple[str, str], float]:
        wanted = (
            select(quarters.c.policy, quarters.c.cluster, func.sum(quarters.c.usd))
            .where(quarters.c.bucket >= since)
            .group_by(quarters.c.policy, quarters.c.cluster)
        )
        async with self._database.reading("read spending") as connection:
            return {(policy, cluster): usd for policy, cluster, usd in await connection.execute(wanted)}

    async def _report(self, asked: Asked) -> Found:
        async with self._database.reading("read the ledger") as connection:
            return await ledger_report.found(connection, asked)

    async def _prune(self, before: float, quarters_before: float) -> int:
        rows = 0
        async with self._database.writing("prune the ledger") as connection:
            for column, limit in (
                (ledger.c.hour, before),
                (accrual.c.hour, before),
                (quarters.c.bucket, quarters_before),
            ):
                rows += (await connection.execute(delete(column.table).where(column < limit))).rowcount
        return rows


Row = Mapping[str, Any]


def _amounts(entries: Entries) -> Iterable[Row]:
    # In the order of the table, where neighbours share a page.
    for key, of in sorted(entries.amounts.items(), key=lambda item: item[0]):
        named = key._asdict()
        yield {
            "hour": _hour(named.pop("bucket")),
            **named,
            **dict(zip(AMOUNTS, amounts_of(of), strict=True)),
        }


def _accrued(entries: Entries) -> Iterable[Row]:
    for key, of in sorted(entries.accrued.items(), key=lambda item: item[0]):
        named = key._asdict()
        yield {
            "hour": _hour(named.pop("bucket")),
            **named,
            **dict(zip(ACCRUED, accrued_of(of), strict=True)),
        }


def _quarters(entries: Entries) -> list[Row]:
    sums: dict[tuple[int, str, str], float] = {}
    for key, of in entries.amounts.items():
        place = (key.bucket, key.policy, key.cluster)
        sums[place] = sums.get(place, 0.0) + of.usd
    return [
        {"bucket": at, "policy": policy, "cluster": cluster, "usd": usd}
        for (at, policy, cluster), usd in sorted(sums.items())
    ]


def _hour(bucket: int) -> int:
    return bucket // HOUR_SECONDS * HOUR_SECONDS
