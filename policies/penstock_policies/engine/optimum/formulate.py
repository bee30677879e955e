"""The linear program of a problem: what is decided, what binds it, and what each level of importance minimises.

Rows of the program: every group is placed whole; the load of every cluster fills its planned capacity segment by
segment; held proportions keep to ceilings; bounds; budgets. All are equations, slack being columns of their own, so
that a level is kept by fixing columns alone. Surviving a loss is added as cuts, by ``refuge``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

from penstock_policies.engine.optimum.columns import Bundle, Placements, placements
from penstock_policies.engine.optimum.groups import Group
from penstock_policies.engine.optimum.simplex import Flags, Floats, Ints, Program
from penstock_policies.engine.plan import BudgetLimit, Problem

QUEUE = ((0.5, 0.0), (0.2, 0.001), (0.15, 0.002), (0.1, 0.005), (0.05, 0.01))
"""Parts of a planned capacity and the merit that queueing costs a request there, the heaviest of the cluster's: enough
to balance equals, too little to displace a cluster that is clearly better."""
_STEP = 0.1
_BEYOND = (*((_STEP * (1 + _STEP) ** number, 2.0 + number) for number in range(25)), (np.inf, 30.0))
"""Load beyond full, in parts of full, and its price: each tenth on top costs more than the one before, so that an
excess spreads in proportion to capacity, up to eleven times full."""
_WITHIN = 1.0
"""Price of load beyond plan but not beyond full."""


class Level(IntEnum):
    """What is minimised, the most important first: none gives way to one below it."""

    OVERLOAD = 0
    SURVIVAL = 1
    SLO = 2
    BOUNDS = 3
    BUDGET = 4
    TIER = 5
    MERIT = 6


@dataclass(frozen=True, slots=True)
class Formulation:
    """The program, and where to find things in it."""

    groups: Sequence[Group]
    demand: Sequence[float]
    clusters: tuple[str, ...]
    """In the order of their numbers; none where groups are not linked by shared capacity."""
    placed: Placements
    firm: Program
    """Without the columns that stand for a breach."""
    elastic: Program
    """With them, so that it always has a solution."""
    costs: Mapping[Level, Floats]
    first_bundle: int
    queues: Ints
    """Cluster number, segment to its column."""
    within: Sequence[Sequence[int]]
    """Cluster number to the columns of load up to full."""
    beyond: Mapping[int, tuple[int, ...]]
    """Cluster number to the columns of load beyond its capacity."""
    bounds: tuple[tuple[int, str, tuple[int, int]], ...]
    """Group, why, columns of the breach."""
    budgets: tuple[tuple[int, int], ...]
    """For each budget, the row and the column of the breach."""
    missing: Mapping[str, int]
    """Lost cluster to the column of the breach: slots that the others lack. Cuts alone bind it."""
    load_row: int
    """Of the first cluster."""
    slack: tuple[int, ...]
    """A column for each row after the loads that takes up what others leave, and costs nothing at any level."""

    def basis(self, costs: Floats, fixed: Flags) -> Ints:
        """Give a dual feasible basis: each cluster's cheapest load column, and each group's best column given these."""
        placed, first = self.placed, self.first_bundle
        loads = [self._cheapest(number, costs, fixed) for number in range(len(self.clusters))]
        price = np.array([costs[column] for column in loads])
        worth = costs[:first] + (placed.work * price[placed.cluster] if loads else 0.0)
        order = np.lexsort((worth, fixed[:first], placed.group))
        _, firsts = np.unique(placed.group[order], return_index=True)
        best: list[int] = order[firsts].tolist()
        rivals: dict[int, float] = {}
        for offset, bundle in enumerate(placed.bundles):
            column, rival, group = first + offset, best[bundle.group], self.groups[bundle.group]
            value = float(costs[column])
            if loads:
                value += sum(
                    part * group.work[at] * float(price[self.clusters.index(group.clusters[at])])
                    for at, part in bundle.parts
                )
            rival_value = worth[rival] if rival < first else rivals[bundle.group]
            if (fixed[column], value) < (fixed[rival], rival_value):
                best[bundle.group] = column
                rivals[bundle.group] = value
        return np.array([*best, *loads, *self.slack], dtype=np.int32)

    def _cheapest(self, number: int, costs: Floats, fixed: Flags) -> int:
        columns: list[int] = [*self.queues[number].tolist(), *self.beyond[number]]
        return min(columns, key=lambda column: (fixed[column], costs[column]))


def formulate(
    problem: Problem,
    groups: Sequence[Group],
    demand: Sequence[float],
    survived: Sequence[str] = (),
    *,
    linked: bool = True,
) -> Formulation:
    """Write the program of ``groups`` that carry ``demand``; unless ``linked``, as if clusters had room for all.

    ``survived`` are the clusters whose loss is to be survived. What that asks for is added as cuts.
    """
    return _Writer(problem, groups, demand, survived, linked=linked).written()


class _Writer:
    """Writes the program: placements in one go, the columns after them one by one."""

    def __init__(
        self,
        problem: Problem,
        groups: Sequence[Group],
        demand: Sequence[float],
        survived: Sequence[str],
        *,
        linked: bool,
    ) -> None:
        self._problem = problem
        self._groups = groups
        self._demand = demand
        names = tuple(sorted({name for group in groups for name in group.clusters}))
        self._clusters = names
        self._survived = survived
        self._linked = linked
        self._number = {name: number for number, name in enumerate(names)}
        self._placed = placements(groups, demand, problem.capacity, self._number)
        self._columns = len(self._placed.group)
        self._first_bundle = self._columns
        self._right: list[float] = list(demand) + [0.0] * (len(names) if linked else 0)
        self._load_row = len(groups)
        self._slack: list[int] = []
        self._lower: list[float] = []
        self._upper: list[float] = []
        self._breach: list[int] = []
        self._costs: dict[Level, dict[int, float]] = {level: {} for level in Level}
        # Entries of the matrix: row, column, value.
        self._entries: list[tuple[int, int, float]] = []
        self._blocks: list[tuple[Ints, Ints, Floats]] = []
        self._queues: list[list[int]] = []
        self._beyond: dict[int, tuple[int, ...]] = {}
        self._bounds: list[tuple[int, str, tuple[int, int]]] = []
        self._budgets: list[tuple[int, int]] = []
        self._within: list[list[int]] = []
        self._missing: dict[str, int] = {}

    def written(self) -> Formulation:
        placed = self._placed
        columns = np.arange(len(placed.group), dtype=np.int32)
        self._blocks.append((placed.group, columns, np.ones(len(columns))))
        if self._linked:
            self._blocks.append((placed.cluster + self._load_row, columns, placed.work))
        self._write_bundles()
        if self._linked:
            self._write_loads()
        self._write_held_ceilings()
        self._write_bounds()
        if self._linked:
            self._missing = {
                name: self._column([], breach=True, costs={Level.SURVIVAL: 1.0}) for name in self._survived
            }
            for number, budget in enumerate(self._problem.budgets):
                self._write_budget(number, budget)
        return self._formulation()

    def _column(
        self,
        entries: Sequence[tuple[int, float]],
        upper: float = np.inf,
        *,
        lower: float = 0.0,
        breach: bool = False,
        costs: Mapping[Level, float] | None = None,
    ) -> int:
        column = self._columns + len(self._upper)
        self._entries.extend((row, column, value) for row, value in entries)
        self._lower.append(lower)
        self._upper.append(upper)
        if breach:
            self._breach.append(column)
        for level, cost in (costs or {}).items():
            self._costs[level][column] = cost
        return column

    def _row(self, right: float) -> int:
        self._right.append(right)
        return len(self._right) - 1

    def _write_bundles(self) -> None:
        for bundle in self._placed.bundles:
            group = self._groups[bundle.group]
            entries = [(bundle.group, 1.0)]
            if self._linked:
                entries += [
                    (self._load_row + self._number[group.clusters[at]], part * group.work[at])
                    for at, part in bundle.parts
                ]
            slow = sum(part for at, part in bundle.parts if group.slow[at])
            tier = sum(part * group.tier[at] for at, part in bundle.parts)
            costs = {Level.SLO: slow, Level.TIER: tier, Level.MERIT: bundle.merit}
            self._column(entries, bundle.width, breach=slow > 0, costs=costs)

    def _write_loads(self) -> None:
        for number, name in enumerate(self._clusters):
            capacity, full = self._problem.capacity[name], self._problem.full[name]
            row, weight = self._load_row + number, float(self._placed.heaviest[number])
            segments = [
                self._column([(row, -1.0)], part * capacity, costs={Level.MERIT: price / weight})
                for part, price in QUEUE
            ]
            dearest = QUEUE[-1][1] / weight
            steps = [(max(0.0, full - capacity), _WITHIN)]
            steps += [(part * full if np.isfinite(part) else part, price) for part, price in _BEYOND]
            self._beyond[number] = tuple(
                self._column([(row, -1.0)], width, breach=True, costs={Level.OVERLOAD: price, Level.MERIT: dearest})
                for width, price in steps
                if width > 0
            )
            self._queues.append(segments)
            self._within.append([*segments, *self._beyond[number][: int(full > capacity)]])

    def _columns_of(self, group: int) -> slice:
        bounds = np.searchsorted(self._placed.group, (group, group + 1))
        return slice(int(bounds[0]), int(bounds[1]))

    def _bundles_of(self, group: int) -> list[tuple[int, Bundle]]:
        return [
            (self._first_bundle + offset, bundle)
            for offset, bundle in enumerate(self._placed.bundles)
            if bundle.group == group
        ]

    def _write_held_ceilings(self) -> None:
        for number in sorted({bundle.group for bundle in self._placed.bundles}):
            group = self._groups[number]
            for at in group.held:
                if group.ceiling[at] < 1:
                    row = self._row(0.0)
                    self._place(row, number, frozenset({at}))
                    room = self._column([(row, -1.0)], group.ceiling[at] * self._demand[number])
                    self._slack.append(room)

    def _place(self, row: int, group: int, members: frozenset[int]) -> None:
        """Count in ``row`` what a group sends to some of its clusters."""
        columns = self._columns_of(group)
        for offset, at in enumerate(self._placed.position[columns].tolist()):
            if at in members:
                self._entries.append((row, columns.start + offset, 1.0))
        for column, bundle in self._bundles_of(group):
            part = sum(part for at, part in bundle.parts if at in members)
            if part > 0:
                self._entries.append((row, column, part))

    def _write_bounds(self) -> None:
        for number, group in enumerate(self._groups):
            for bound in group.bounds:
                row, demand = self._row(0.0), self._demand[number]
                self._place(row, number, bound.members)
                within = self._column([(row, -1.0)], bound.ceiling * demand, lower=bound.floor * demand)
                breach = {Level.BOUNDS: 1.0}
                short = self._column([(row, 1.0)], breach=True, costs=breach)
                above = self._column([(row, -1.0)], breach=True, costs=breach)
                self._slack.append(within)
                self._bounds.append((number, bound.why, (short, above)))

    def _write_budget(self, number: int, budget: BudgetLimit) -> None:
        row = self._row(max(0.0, budget.usd_per_second))
        placed = self._placed
        counts = np.fromiter(
            (name in group.budgets[number] for group in self._groups for name in group.clusters),
            np.bool_,
            int(placed.first_pair[-1]),
        )
        paid = np.flatnonzero(counts[placed.pair] & (placed.cost > 0)).astype(np.int32)
        self._blocks.append((np.full(len(paid), row, dtype=np.int32), paid, placed.cost[paid]))
        for offset, bundle in enumerate(placed.bundles):
            group = self._groups[bundle.group]
            cost = sum(
                part * group.cost[at] for at, part in bundle.parts if group.clusters[at] in group.budgets[number]
            )
            if cost > 0:
                self._entries.append((row, self._first_bundle + offset, cost))
        self._slack.append(self._column([(row, 1.0)]))
        breach = self._column([(row, -1.0)], costs={Level.BUDGET: 1.0})
        self._budgets.append((row, breach))

    def _formulation(self) -> Formulation:
        placed = self._placed
        width = self._columns + len(self._upper)
        upper = np.concatenate((placed.width, self._upper))
        starts, indices, values = self._matrix(width)
        elastic = Program(
            lower=np.concatenate((np.zeros(self._columns), self._lower)),
            upper=upper,
            right=np.array(self._right),
            starts=starts,
            indices=indices,
            values=values,
        )
        closed = upper.copy()
        closed[: self._columns][placed.slow] = 0.0
        closed[self._breach] = 0.0
        return Formulation(
            groups=self._groups,
            demand=self._demand,
            clusters=self._clusters if self._linked else (),
            placed=placed,
            firm=replace(elastic, upper=closed),
            elastic=elastic,
            costs={
                level: costs for level in Level if (costs := self._costs_of(level, width)).any() or level is Level.MERIT
            },
            first_bundle=self._first_bundle,
            queues=np.array(self._queues, dtype=np.int32),
            within=self._within,
            beyond=self._beyond,
            bounds=tuple(self._bounds),
            budgets=tuple(self._budgets),
            missing=self._missing,
            load_row=self._load_row,
            slack=tuple(self._slack),
        )

    def _costs_of(self, level: Level, width: int) -> Floats:
        costs = np.zeros(width)
        placed = self._placed
        bulk = {Level.SLO: placed.slow, Level.TIER: placed.tier, Level.MERIT: placed.merit}
        if level in bulk:
            costs[: self._columns] = bulk[level]
        for column, cost in self._costs[level].items():
            costs[column] = cost
        return costs

    def _matrix(self, width: int) -> tuple[Ints, Ints, Floats]:
        """Sort the entries by column."""
        rows, columns, values = zip(*self._entries, strict=True) if self._entries else ((), (), ())
        all_rows = np.concatenate([block[0] for block in self._blocks] + [np.array(rows, dtype=np.int32)])
        all_columns = np.concatenate([block[1] for block in self._blocks] + [np.array(columns, dtype=np.int32)])
        all_values = np.concatenate([block[2] for block in self._blocks] + [np.array(values, dtype=np.float64)])
        order = np.argsort(all_columns, kind="stable")
        counts = np.bincount(all_columns, minlength=width)
        starts = np.concatenate(([0], np.cumsum(counts))).astype(np.int32)
        return starts, all_rows[order].astype(np.int32), all_values[order]
