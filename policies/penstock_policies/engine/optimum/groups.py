"""Rows that no coefficient tells apart, gathered: they must get equal shares, and make the program smaller.

What can be settled for a row by itself is settled here: ceilings that leave part of it without a place give way in
proportion, bounds that its clusters cannot keep bow, and what is said of clusters it does not have is left out.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from penstock_policies.engine.plan import Bound, BudgetLimit, RowProblem, SolverError
from penstock_policies.policyset import RowKey
from penstock_policies.words import DataClass, Survive

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class GroupBound:
    """A bound that the clusters of a group can keep: ``members`` are positions in its clusters."""

    members: frozenset[int]
    floor: float
    ceiling: float
    why: str


@dataclass(frozen=True, slots=True)
class Group:
    """Alike rows as one. Tuples run along ``clusters``."""

    keys: tuple[RowKey, ...]
    demand: float
    """Requests a second of all of them."""
    clusters: tuple[str, ...]
    work: tuple[float, ...]
    merit: tuple[float, ...]
    cost: tuple[float, ...]
    """USD of a request; empty where there are no budgets."""
    tier: tuple[int, ...]
    """Without gaps, 0 for the best that any of the clusters has."""
    slow: tuple[bool, ...]
    """All false where every cluster is slow: then none is to be shunned for it."""
    ceiling: tuple[float, ...]
    """At most 1, together at least 1."""
    incumbent: tuple[float, ...]
    held: tuple[int, ...]
    """Positions between whose incumbent shares nothing may move for merit; none where none of them has a share."""
    bounds: tuple[GroupBound, ...]
    bowed: tuple[str, ...]
    """Bounds that no placement can keep."""
    spread: float
    move_merit: float
    survive: Survive
    unsound: frozenset[str]
    """Clusters that recover or leave: no room there counts when another is lost."""
    budgets: tuple[frozenset[str], ...]
    """For each budget, the clusters at which these rows count."""


class _Coefficients(NamedTuple):
    """All that a row enters the program with, but how much of it there is. Tuples run along ``clusters``."""

    clusters: tuple[str, ...]
    idle: bool
    work: tuple[float, ...]
    merit: tuple[float, ...]
    cost: tuple[float, ...]
    tier: tuple[int, ...]
    ceiling: tuple[float, ...]
    incumbent: tuple[float, ...]
    slow: frozenset[str]
    bounds: tuple[Bound, ...]
    held: frozenset[str]
    spread: float
    move_merit: float
    survive: Survive
    unsound: frozenset[str]
    restricted: bool
    budgets: tuple[frozenset[str], ...]


def gather(
    rows: Iterable[RowProblem],
    budgets: Sequence[BudgetLimit] = (),
    kept: Mapping[RowKey, Mapping[str, float]] | None = None,
) -> list[Group]:
    """Gather the rows that have clusters, in the order they come in. Those in ``kept`` keep to the shares there.

    Raises:
        SolverError: a figure of a row is not finite or out of its range.

    """
    alike: dict[_Coefficients, list[RowProblem]] = {}
    for row in rows:
        if row.clusters:
            coefficients = _coefficients(row, budgets, kept.get(row.key) if kept else None)
            alike.setdefault(coefficients, []).append(row)
    return [_group(coefficients, members) for coefficients, members in alike.items()]


def _coefficients(row: RowProblem, budgets: Sequence[BudgetLimit], kept: Mapping[str, float] | None) -> _Coefficients:
    clusters, incumbent = row.clusters, row.incumbent
    ceiling = [row.ceiling.get(name, 1.0) for name in clusters]
    bounded = [name for name, most in zip(clusters, ceiling, strict=True) if most < 1] if min(ceiling) < 1 else ()
    return _Coefficients(
        clusters,
        row.demand <= 0,
        tuple(map(row.work.__getitem__, clusters)),
        tuple(map(row.merit.__getitem__, clusters)),
        tuple(map(row.cost.__getitem__, clusters)) if budgets else (),
        tuple(map(row.tier.__getitem__, clusters)),
        tuple(ceiling if kept is None else [kept[name] for name in clusters]),
        tuple([incumbent.get(name, 0.0) for name in clusters]),
        row.slow,
        row.bounds,
        row.held,
        row.spread,
        row.move_merit,
        row.survive,
        frozenset(bounded),
        row.data_class is DataClass.RESTRICTED,
        tuple([budget.members.get(row.key, frozenset()) for budget in budgets]),
    )


def _group(alike: _Coefficients, rows: Sequence[RowProblem]) -> Group:
    clusters = alike.clusters
    demand = math.fsum(row.demand for row in rows)
    whole = sum(alike.work) + sum(alike.merit) + demand
    if not (math.isfinite(whole) and demand >= 0 and min(alike.work) > 0):
        figures = f"demand {demand}, work {alike.work}, merit {alike.merit}"
        raise SolverError(f"a figure of {rows[0].key} is out of range: {figures}")
    ceiling = alike.ceiling if min(alike.ceiling) >= 1 else _carrying(alike.ceiling)
    ranks = {tier: rank for rank, tier in enumerate(sorted(set(alike.tier)))}
    tier = tuple(map(ranks.__getitem__, alike.tier)) if len(ranks) > 1 else (0,) * len(clusters)
    shunned = alike.slow if alike.slow and not alike.slow.issuperset(clusters) else frozenset[str]()
    held = tuple(at for at, name in enumerate(clusters) if name in alike.held) if alike.held else ()
    bounds, bowed = _bounds(alike, ceiling) if alike.bounds else ((), ())
    return Group(
        keys=tuple(row.key for row in rows),
        demand=demand,
        clusters=clusters,
        work=alike.work,
        merit=alike.merit,
        cost=alike.cost,
        tier=tier,
        slow=tuple([name in shunned for name in clusters]) if shunned else (False,) * len(clusters),
        ceiling=ceiling,
        incumbent=alike.incumbent,
        held=held if any(alike.incumbent[at] > 0 for at in held) else (),
        bounds=bounds,
        bowed=bowed,
        spread=alike.spread,
        move_merit=alike.move_merit,
        survive=alike.survive,
        unsound=alike.unsound,
        budgets=alike.budgets,
    )


def _carrying(ceilings: Sequence[float]) -> tuple[float, ...]:
    """Raise ceilings in proportion where they leave part of the row without any place."""
    whole = math.fsum(ceilings)
    if whole >= 1:
        return tuple(min(1.0, ceiling) for ceiling in ceilings)
    if whole <= 0:
        return (1.0,) * len(ceilings)
    return tuple(min(1.0, ceiling / whole * (1 + _ROUNDING)) for ceiling in ceilings)


def _bounds(alike: _Coefficients, ceiling: Sequence[float]) -> tuple[tuple[GroupBound, ...], tuple[str, ...]]:
    kept: list[GroupBound] = []
    bowed: list[str] = []
    for bound in alike.bounds:
        members = frozenset(at for at, name in enumerate(alike.clusters) if name in bound.clusters)
        most = min(1.0, math.fsum(ceiling[at] for at in members))
        least = max(0.0, 1.0 - math.fsum(ceiling[at] for at in range(len(ceiling)) if at not in members))
        floor, top = min(bound.floor, most), max(bound.ceiling, least)
        if floor < bound.floor - _ROUNDING or top > bound.ceiling + _ROUNDING:
            bowed.append(bound.why)
        if floor > least or top < most:
            kept.append(GroupBound(members, floor, max(floor, top), bound.why))
    return tuple(kept), tuple(bowed)
