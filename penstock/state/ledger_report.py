"""Summing up the ledger: the statements behind :meth:`penstock.state.ledger_book.LedgerBook.report`.

What a cluster costs by the hour, used or not, is shared out hour by hour: each row gets the part that its work is of
all the cluster's work in that hour. An hour in which the cluster did no work is idle: its cost is told by itself, so
that nothing vanishes. Where no such cost accrued, a row's amortized cost is its marginal cost.

The unit is the hour and not the quarter, so that rolling old quarters up to hours changes no report.
"""

from typing import Any

from sqlalchemy import ColumnElement, Label, Select, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock.state.costs import PARTS, PLACES, Asked, Found, Idle, Line
from penstock.state.ledger import AMOUNTS, HOUR_SECONDS, Amounts
from penstock.state.tables import accrual, ledger


async def found(connection: AsyncConnection, asked: Asked) -> Found:
    """Make a report, within the caller's transaction. Lines come in order of hour and then of the columns asked for."""
    lines = [_line(asked, row) for row in await connection.execute(lines_statement(asked))]
    idle = [_idle(asked, row) for row in await connection.execute(idle_statement(asked))]
    return Found(tuple(lines), tuple(idle))


def _line(asked: Asked, row: Any) -> Line:  # noqa: ANN401 - SQLAlchemy cannot tell
    values = row._mapping  # noqa: SLF001 - public, in spite of its name
    return Line(
        hour=values["hour"] if asked.hourly else None,
        of={name: values[name] for name in asked.by},
        amounts=Amounts(*(values[name] for name in AMOUNTS)),
        amortized_usd=values["amortized_usd"],
    )


def _idle(asked: Asked, row: Any) -> Idle:  # noqa: ANN401 - SQLAlchemy cannot tell
    values = row._mapping  # noqa: SLF001 - public, in spite of its name
    return Idle(
        hour=values["hour"] if asked.hourly else None,
        cluster=values["cluster"],
        site=values["site"],
        region=values["region"],
        seconds=values["seconds"],
        usd=values["usd"],
    )


def lines_statement(asked: Asked) -> Select[Any]:
    """Give the statement of a report's lines."""
    rows = (
        select(_hour(ledger.c.bucket), *(ledger.c[name] for name in (*PARTS, *AMOUNTS)))
        .where(ledger.c.bucket >= asked.since, ledger.c.bucket < asked.until)
        .subquery("entries")
    )
    works, costs = _works(asked).subquery("works"), _costs(asked).subquery("costs")
    # Where two rows of a cluster differ in site or region alone (it was declared anew) it is the same cluster still.
    shared = case(
        (costs.c.usd.is_(None), rows.c.usd), (works.c.work > 0, costs.c.usd * rows.c.work / works.c.work), else_=0.0
    )
    groups = [rows.c[name] for name in asked.by]
    if asked.hourly:
        groups.insert(0, rows.c.hour)
    return (
        select(
            *groups,
            *(func.sum(rows.c[name]).label(name) for name in AMOUNTS),
            func.sum(shared).label("amortized_usd"),
        )
        .select_from(
            rows.outerjoin(works, (works.c.hour == rows.c.hour) & (works.c.cluster == rows.c.cluster)).outerjoin(
                costs, (costs.c.hour == rows.c.hour) & (costs.c.cluster == rows.c.cluster)
            )
        )
        .group_by(*groups)
        .order_by(*groups)
        .limit(asked.most + 1)
    )


def idle_statement(asked: Asked) -> Select[Any]:
    """Give the statement of what clusters cost in hours without work."""
    rows = (
        select(_hour(accrual.c.bucket), *(accrual.c[name] for name in (*PLACES, "seconds", "usd")))
        .where(accrual.c.bucket >= asked.since, accrual.c.bucket < asked.until)
        .subquery("accrued")
    )
    works = _works(asked).subquery("works")
    groups = [rows.c[name] for name in PLACES]
    if asked.hourly:
        groups.insert(0, rows.c.hour)
    return (
        select(*groups, func.sum(rows.c.seconds).label("seconds"), func.sum(rows.c.usd).label("usd"))
        .select_from(rows.outerjoin(works, (works.c.hour == rows.c.hour) & (works.c.cluster == rows.c.cluster)))
        .where(func.coalesce(works.c.work, 0.0) <= 0)
        .group_by(*groups)
        .order_by(*groups)
        .limit(asked.most + 1)
    )


def _works(asked: Asked) -> Select[Any]:
    """Sum up all work of each cluster and hour."""
    rows = (
        select(_hour(ledger.c.bucket), ledger.c.cluster, ledger.c.work)
        .where(ledger.c.bucket >= asked.since, ledger.c.bucket < asked.until)
        .subquery("worked")
    )
    return select(rows.c.hour, rows.c.cluster, func.sum(rows.c.work).label("work")).group_by(
        rows.c.hour, rows.c.cluster
    )


def _costs(asked: Asked) -> Select[Any]:
    """Sum up what accrued of each cluster and hour."""
    rows = (
        select(_hour(accrual.c.bucket), accrual.c.cluster, accrual.c.usd)
        .where(accrual.c.bucket >= asked.since, accrual.c.bucket < asked.until)
        .subquery("accruals")
    )
    return select(rows.c.hour, rows.c.cluster, func.sum(rows.c.usd).label("usd")).group_by(rows.c.hour, rows.c.cluster)


def _hour(bucket: ColumnElement[int]) -> Label[int]:
    """The hour a bucket is in, named in a subquery: PostgreSQL does not know an expression with parameters again."""
    return (bucket - bucket % HOUR_SECONDS).label("hour")
