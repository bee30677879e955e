"""A linear program solved by HiGHS, objective after objective, each without giving up anything of those before it.

Deterministic: one thread, fixed options, a starting basis that comes from the program itself, and a limit on iterations
in place of one on time.

Preemptive goals are kept by dropping columns (Sherali and Soyster 1983): after a level is optimal, every column with a
reduced cost is fixed at its bound, for moving it would cost something of that level. Whatever remains free is optimal
at that level, so the next level may choose among it. Every level starts from a basis that is dual feasible for it,
which the dual simplex mends in as many steps as there are limits in the way: far fewer than going on from the last.

Equations that would be too many to write, and of which few matter, are added as the answers break them (cutting planes,
Kelley 1960); each added one is mended from the basis at hand.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import highspy
import numpy as np
from highspy import simplex_constants
from numpy.typing import NDArray

from penstock_policies.engine.optimum.highs import QuietHighs
from penstock_policies.engine.plan import SolverError

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
Flags = NDArray[np.bool_]

_DUAL = int(simplex_constants.SimplexStrategy.kSimplexStrategyDual)
_REDUCED_COST = 1e-7
"""From here on a reduced cost is one: HiGHS' own tolerance."""
_NOTHING = 1e-9
"""Of a level's objective: below it, all that the level counts is zero."""


@dataclass(frozen=True, slots=True)
class Program:
    """Minimise over ``lower <= x <= upper`` with ``matrix @ x = right``, the matrix by columns."""

    lower: Floats
    upper: Floats
    right: Floats
    starts: Ints
    indices: Ints
    values: Floats


Basis = Callable[[Floats, Flags], Ints]
"""From costs and which columns are fixed to as many columns as there are rows, of which the matrix is regular and with
which no other column that is not fixed has a negative reduced cost: where the dual simplex begins."""


@dataclass(frozen=True, slots=True)
class Row:
    """The values of some columns, times these factors, come to no more than ``right``."""

    columns: Ints
    values: Floats
    right: float


Cuts = Callable[[Floats], Sequence[Row]]
"""From the values of all columns to inequalities that they should keep and do not: for a program that has too many to
write them all, of which few matter."""


@dataclass(frozen=True, slots=True)
class Optimum:
    """The values of the columns, and the prices of the last level."""

    values: Floats
    reduced: Floats
    """Reduced cost of every column."""
    duals: Floats
    """What one more unit of a row's right side adds to the objective; those of cuts, in their order, at the end."""
    fixed: Flags
    """Columns that an earlier level has fixed."""


class Effort:
    """How much may be done for one problem, in iterations times columns: as the time of an iteration grows with those.

    A clock would end the same problem here and not there, and a decision could not be replayed.
    """

    def __init__(self, work: int) -> None:
        self._left = work

    def iterations(self, columns: int) -> int:
        """Give how many there may still be, of a program with as many columns."""
        return self._left // columns

    def spend(self, iterations: int, columns: int) -> None:
        """Count what was done. To have begun counts as well, so that nothing goes on for ever.

        Raises:
            SolverError: that was more than there was left.

        """
        self._left -= (1 + iterations) * columns
        if self._left < 0:
            raise SolverError("no answer within the work allowed")


def minimise(
    program: Program,
    levels: Sequence[Floats],
    basis: Basis,
    effort: Effort,
    *,
    cuts: Cuts | None = None,
    uncut: int = 0,
) -> Optimum | None:
    """Minimise each level in turn; None where the program has no solution.

    ``cuts`` apply after the first ``uncut`` levels. What the next level minimises is in no equation but the cuts, so it
    goes on from the basis at hand.

    Raises:
        SolverError: HiGHS found no answer for another reason, or not within the effort.

    """
    run = _Run(program, levels[0], effort)
    run.begin(basis)
    found = run.solved(cuts if uncut == 0 else None)
    if found is None:
        return None
    for number in range(1, len(levels)):
        run.keep(found)
        run.aim(levels[number])
        if cuts is None or number != uncut:
            run.begin(basis)
        better = run.solved(cuts if number >= uncut else None)
        if better is None:
            # Figures so far apart that rounding what is fixed breaks an equation: what was reached stands, unpriced.
            unpriced = np.zeros_like(found.reduced)
            return Optimum(found.values, unpriced, np.zeros_like(found.duals), np.ones_like(run.fixed))
        found = better
    return found


class _Run:
    """One program being solved: what is fixed by now, and the cuts made so far."""

    def __init__(self, program: Program, costs: Floats, effort: Effort) -> None:
        self._solver = _solver(program, costs)
        self._costs = costs
        self._effort = effort
        self._lower, self._upper = program.lower, program.upper
        self._rows = len(program.right)
        self._cuts: list[float] = []
        self.fixed = program.upper <= program.lower

    def aim(self, costs: Floats) -> None:
        """Minimise these from now on."""
        self._costs = costs
        self._solver.changeColsCost(len(costs), np.arange(len(costs), dtype=np.int32), costs)

    def begin(self, basis: Basis) -> None:
        """Start from a basis made for what is minimised now."""
        columns = [highspy.HighsBasisStatus.kLower] * len(self._costs)
        for column in basis(self._costs, self.fixed).tolist():
            columns[column] = highspy.HighsBasisStatus.kBasic
        begun = highspy.HighsBasis()
        begun.col_status = columns
        begun.row_status = [highspy.HighsBasisStatus.kLower] * self._rows
        begun.row_status += [highspy.HighsBasisStatus.kBasic] * len(self._cuts)
        begun.valid = True
        self._solver.setBasis(begun)

    def solved(self, cuts: Cuts | None) -> Optimum | None:
        """Solve, and again as long as the answer needs cutting."""
        found = self._once()
        while found is not None and cuts is not None and (rows := cuts(found.values)):
            for row in rows:
                self._solver.addRow(-np.inf, row.right, len(row.columns), row.columns, row.values)
                self._cuts.append(row.right)
            found = self._once()
        return found

    def keep(self, found: Optimum) -> None:
        """Fix what would cost something of the level that ``found`` is the optimum of."""
        stuck = np.abs(found.reduced) > _REDUCED_COST
        if self._costs @ found.values < _NOTHING:
            stuck |= self._costs > 0
        at = np.where(found.values - self._lower < self._upper - found.values, self._lower, self._upper)
        self._lower, self._upper = np.where(stuck, at, self._lower), np.where(stuck, at, self._upper)
        self.fixed = self.fixed | stuck
        columns = np.arange(len(self._lower), dtype=np.int32)
        self._solver.changeColsBounds(len(columns), columns, self._lower, self._upper)
        for number, right in enumerate(self._cuts):
            if abs(found.duals[self._rows + number]) > _REDUCED_COST:
                self._solver.changeRowBounds(self._rows + number, right, right)

    def _once(self) -> Optimum | None:
        columns = len(self._costs)
        self._solver.setOptionValue("simplex_iteration_limit", self._effort.iterations(columns))
        self._solver.run()
        self._effort.spend(self._solver.getInfo().simplex_iteration_count, columns)
        status = self._solver.getModelStatus()
        if status == highspy.HighsModelStatus.kInfeasible:
            return None
        if status != highspy.HighsModelStatus.kOptimal:
            raise SolverError(f"HiGHS ends with {self._solver.modelStatusToString(status)}")
        solution = self._solver.getSolution()
        return Optimum(
            np.array(solution.col_value), np.array(solution.col_dual), np.array(solution.row_dual), self.fixed
        )


def _solver(program: Program, costs: Floats) -> highspy.Highs:
    solver = QuietHighs()
    solver.silent()
    solver.setOptionValue("solver", "simplex")
    solver.setOptionValue("presolve", "off")
    solver.setOptionValue("threads", 1)
    solver.setOptionValue("parallel", "off")
    solver.setOptionValue("random_seed", 0)
    solver.setOptionValue("simplex_strategy", _DUAL)
    model = highspy.HighsLp()
    model.num_col_, model.num_row_ = len(costs), len(program.right)
    model.col_cost_, model.col_lower_, model.col_upper_ = costs, program.lower, program.upper
    model.row_lower_ = model.row_upper_ = program.right
    model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    model.a_matrix_.start_, model.a_matrix_.index_, model.a_matrix_.value_ = (
        program.starts,
        program.indices,
        program.values,
    )
    if solver.passModel(model) == highspy.HighsStatus.kError:
        raise SolverError("HiGHS refuses the program")
    return solver
