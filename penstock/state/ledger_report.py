"""Summing up the ledger: the statements behind :meth:`penstock.state.ledger_book.LedgerBook.report`.

What a cluster costs by the hour, used or not, is shared out hour by hour: each row gets the part that its work is of
all the cluster's work in that hour. An hour in which the cluster did no work is idle: its cost is told by itself, so
that nothing vanishes. Where no such cost accrued, a row's amortized cost is its marginal cost.
"""

import asyncio
from typing import Any, Final

from sqlalchemy import Select, case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from penstock.state.costs import PLACES, Asked, Found, Idle, Line
from penstock.state.ledger import AMOUNTS, Amounts
from penstock.state.tables import accrual, ledger

_AT_ONCE: Final = 500
"""Lines made in one turn of the event loop, some milliseconds: a large fleet's hour has tens of thousands."""


async def found(connection: AsyncConnection, asked: Asked) -> Found:
    """Make a report, within the caller's transaction. Lines come in order of hour and then of the columns asked for."""
    lines: list[Line] = []
    for row in await connection.execute(lines_statement(asked)):
        lines.append(_line(asked, row))
        if len(lines) % _AT_ONCE == 0:
            await asyncio.sleep(0)
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
    works, costs = _works(asked).subquery("works"), _costs(asked).subquery("costs")
    # Where two rows of a cluster differ in site or region alone (it was declared anew) it is the same cluster still.
    shared = case(
        (costs.c.usd.is_(None), ledger.c.usd), (works.c.work > 0, costs.c.usd * ledger.c.work / works.c.work), else_=0.0
    )
    groups = [ledger.c[name] for name in (*(["hour"] if asked.hourly else []), *asked.by)]
    return (
        select(
            *groups,
            *(func.sum(ledger.c[name]).label(name) for name in AMOUNTS),
            func.sum(shared).label("amortized_usd"),
        )
        .select_from(
            ledger.outerjoin(costs, (costs.c.hour == ledger.c.hour) & (costs.c.cluster == ledger.c.cluster)).outerjoin(
                works, (works.c.hour == ledger.c.hour) & (works.c.cluster == ledger.c.cluster)
            )
        )
        .where(ledger.c.hour >= asked.since, ledger.c.hour < asked.until)
        .group_by(*groups)
        .order_by(*groups)
        .limit(asked.most + 1)
    )


def idle_statement(asked: Asked) -> Select[Any]:
    """Give the statement of what clusters cost in hours without work."""
    works = _works(asked).subquery("works")
    groups = [accrual.c[name] for name in (*(["hour"] if asked.hourly else []), *PLACES)]
    return (
        select(*groups, func.sum(accrual.c.seconds).label("seconds"), func.sum(accrual.c.usd).label("usd"))
        .select_from(
            accrual.outerjoin(works, (works.c.hour == accrual.c.hour) & (works.c.cluster == accrual.c.cluster))
        )
        .where(accrual.c.hour >= asked.since, accrual.c.hour < asked.until, func.coalesce(works.c.work, 0.0) <= 0)
        .group_by(*groups)
        .order_by(*groups)
        .limit(asked.most + 1)
    )


def _works(asked: Asked) -> Select[Any]:
    """Sum up all work of each hour and cluster."""
    return (
        select(ledger.c.hour, ledger.c.cluster, func.sum(ledger.c.work).label("work"))
        .where(ledger.c.hour >= asked.since, ledger.c.hour < asked.until)
        .group_by(ledger.c.hour, ledger.c.cluster)
    )


def _costs(asked: Asked) -> Select[Any]:
    """Sum up what accrued of each hour and cluster."""
    return (
        select(accrual.c.hour, accrual.c.cluster, func.sum(accrual.c.usd).label("usd"))
        .where(accrual.c.hour >= asked.since, accrual.c.hour < asked.until)
        .group_by(accrual.c.hour, accrual.c.cluster)
    )
