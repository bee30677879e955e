"""A linear program solved by HiGHS, objective after objective, each without giving up anything of those before it.

Deterministic: one thread, fixed options, a starting basis that comes from the program itself, and no limit on time; a
limit on iterations ends what would never end.

Preemptive goals are kept by dropping columns (Sherali and Soyster 1983): after a level is optimal, every column with a
reduced cost is fixed at its bound, for moving it would cost something of that level. Whatever remains free is optimal
at that level, so the next level may choose among it. Every level starts from a basis that is dual feasible for it,
which the dual simplex mends in as many steps as there are limits in the way: far fewer than going on from the last.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import highspy
import numpy as np
from highspy import simplex_constants
from numpy.typing import NDArray

from penstock_policies.engine.plan import SolverError

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
Flags = NDArray[np.bool_]

_DUAL = int(simplex_constants.SimplexStrategy.kSimplexStrategyDual)
_ITERATIONS = 200_000
"""A thousand rows with twenty clusters take some hundred."""
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
class Optimum:
    """The values of the columns, and the prices of the last level."""

    values: Floats
    reduced: Floats
    """Reduced cost of every column."""
    duals: Floats
    """What one more unit of a row's right side adds to the objective."""
    fixed: Flags
    """Columns that an earlier level has fixed."""


class _Quiet(highspy.Highs):  # type: ignore[misc]  # highspy is not typed well enough to be read
    """HiGHS, but it does not write its name to standard output, where reports go."""

    def enableCallbacks(self) -> None:  # noqa: N802 the name is HiGHS'
        """Ask for none: asking is what makes it write."""


def minimise(program: Program, levels: Sequence[Floats], basis: Basis) -> Optimum | None:
    """Minimise each level in turn; None where the program has no solution.

    Raises:
        SolverError: HiGHS found no answer for another reason.

    """
    solver = _solver(program, levels[0])
    lower, upper = program.lower, program.upper
    fixed = program.upper <= program.lower
    _begin(solver, program, basis(levels[0], fixed))
    found = _run(solver, fixed)
    if found is None:
        return None
    for number in range(1, len(levels)):
        stuck = np.abs(found.reduced) > _REDUCED_COST
        if levels[number - 1] @ found.values < _NOTHING:
            stuck |= levels[number - 1] > 0
        at = np.where(found.values - lower < upper - found.values, lower, upper)
        lower, upper = np.where(stuck, at, lower), np.where(stuck, at, upper)
        fixed = fixed | stuck
        columns = np.arange(len(lower), dtype=np.int32)
        solver.changeColsBounds(len(columns), columns, lower, upper)
        solver.changeColsCost(len(columns), columns, levels[number])
        _begin(solver, program, basis(levels[number], fixed))
        better = _run(solver, fixed)
        if better is None:
            # Figures so far apart that rounding what is fixed breaks an equation: what was reached stands, unpriced.
            unpriced = np.zeros_like(found.reduced)
            return Optimum(found.values, unpriced, np.zeros_like(found.duals), np.ones_like(fixed))
        found = better
    return found


def _solver(program: Program, costs: Floats) -> highspy.Highs:
    solver = _Quiet()
    solver.silent()
    solver.setOptionValue("solver", "simplex")
    solver.setOptionValue("presolve", "off")
    solver.setOptionValue("threads", 1)
    solver.setOptionValue("parallel", "off")
    solver.setOptionValue("random_seed", 0)
    solver.setOptionValue("simplex_strategy", _DUAL)
    solver.setOptionValue("simplex_iteration_limit", _ITERATIONS)
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


def _begin(solver: highspy.Highs, program: Program, basic: Ints) -> None:
    columns = [highspy.HighsBasisStatus.kLower] * len(program.lower)
    for column in basic.tolist():
        columns[column] = highspy.HighsBasisStatus.kBasic
    basis = highspy.HighsBasis()
    basis.col_status = columns
    basis.row_status = [highspy.HighsBasisStatus.kLower] * len(program.right)
    basis.valid = True
    solver.setBasis(basis)


def _run(solver: highspy.Highs, fixed: Flags) -> Optimum | None:
    solver.run()
    status = solver.getModelStatus()
    if status == highspy.HighsModelStatus.kInfeasible:
        return None
    if status != highspy.HighsModelStatus.kOptimal:
        raise SolverError(f"HiGHS ends with {solver.modelStatusToString(status)}")
    solution = solver.getSolution()
    return Optimum(np.array(solution.col_value), np.array(solution.col_dual), np.array(solution.row_dual), fixed)
