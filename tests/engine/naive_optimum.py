"""A second, naive statement of the problem for tests, level by level, from the words of docs/engine.md alone.

Written row by row without gathering any, every rule as an inequality, every loss with the way of every row to every
refuge. A level is kept by a limit on its sum, not by fixing columns. Slow, and shares nothing with the optimum but
HiGHS. Given plans it measures them, so what both are worth is told by one rule.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import highspy
import numpy as np

from penstock_policies.engine.plan import Problem, RowPlan, RowProblem
from penstock_policies.policyset import RowKey
from penstock_policies.words import Survive
from tests.engine.plan_worth import QUEUE

LEVELS = ("overload", "survival", "slo", "bounds", "budget", "tier", "merit")
"""The most important first."""
_WITHIN = 1.0
"""What a slot costs between planned and full; beyond, every tenth on top costs one more than the one before."""
_TENTHS = (*((0.1 * 1.1**number, 2.0 + number) for number in range(25)), (1e9, 30.0))
_HELD = 0.01
"""By which leaving held proportions costs more than the worst of their clusters."""
_KEPT = 1e-8

Terms = dict[int, float]


@dataclass
class _Program:
    upper: list[float] = field(default_factory=list)
    rows: list[tuple[float, Terms, float]] = field(default_factory=list)
    costs: dict[str, Terms] = field(default_factory=lambda: {level: {} for level in LEVELS})

    def variable(self, upper: float = highspy.kHighsInf, **costs: float) -> int:
        self.upper.append(max(0.0, upper))
        for level, cost in costs.items():
            self.costs[level][len(self.upper) - 1] = cost
        return len(self.upper) - 1

    def between(self, least: float, terms: Terms, most: float) -> None:
        self.rows.append((least, dict(terms), most))

    def solver(self) -> highspy.Highs:
        solver = highspy.Highs()
        solver.silent()
        # What is kept is kept so narrowly that presolve, which rounds, now and then finds no room left at all.
        solver.setOptionValue("presolve", "off")
        solver.setOptionValue("primal_feasibility_tolerance", _KEPT / 10)
        for upper in self.upper:
            solver.addVar(0.0, upper)
        for least, terms, most in self.rows:
            _add(solver, least, terms, most)
        return solver


def _add(solver: highspy.Highs, least: float, terms: Terms, most: float) -> None:
    solver.addRow(least, most, len(terms), np.array(list(terms), np.int32), np.array(list(terms.values())))


def levels(
    problem: Problem, plans: Mapping[RowKey, RowPlan] | None = None, *, last: str = LEVELS[-1]
) -> dict[str, float]:
    """Give the least of every level that leaves those above at their least; with ``plans``, of these plans.

    Levels below ``last`` are left out.
    """
    program = _Program()
    shares = {row.key: _placed(program, row, problem) for row in _busy(problem)}
    _write_losses(program, problem, shares, _write_loads(program, problem, shares))
    _write_budgets(program, problem, shares)
    for key, plan in (plans or {}).items():
        for name, terms in shares.get(key, {}).items():
            share = plan.shares.get(name, 0.0)
            program.between(share - _KEPT, terms, share + _KEPT)
    solver = program.solver()
    every = np.arange(len(program.upper), dtype=np.int32)
    found: dict[str, float] = {}
    for level in LEVELS[: LEVELS.index(last) + 1]:
        costs = program.costs[level]
        solver.changeColsCost(len(every), every, np.array([costs.get(number, 0.0) for number in every.tolist()]))
        solver.clearSolver()
        solver.run()
        assert solver.getModelStatus() == highspy.HighsModelStatus.kOptimal, (level, solver.getModelStatus())
        found[level] = float(solver.getInfo().objective_function_value)
        _add(solver, -highspy.kHighsInf, costs, found[level] + _KEPT * max(1.0, abs(found[level])))
    return found


def _busy(problem: Problem) -> Iterator[RowProblem]:
    return (row for row in problem.rows if row.clusters and row.demand > 0)


def _placed(program: _Program, row: RowProblem, problem: Problem) -> dict[str, Terms]:
    """Give the share of every cluster as a sum of variables, which stand for shares that cost alike."""
    held = [name for name in row.clusters if name in row.held]
    if sum(row.incumbent.get(name, 0.0) for name in held) <= 0:
        held = []
    shares = {name: _alone(program, row, name, held, problem) for name in row.clusters}
    if held:
        _write_held(program, row, held, shares)
    whole: Terms = {}
    for terms in shares.values():
        for number, part in terms.items():
            whole[number] = whole.get(number, 0.0) + part
    program.between(1.0, whole, 1.0)
    ceiling = _ceilings(row)
    ranks = sorted({row.tier[name] for name in row.clusters})
    shunned = row.slow if not row.slow >= set(row.clusters) else frozenset[str]()
    for name, terms in shares.items():
        program.between(0.0, terms, ceiling[name])
        for number, part in terms.items():
            for level, cost in (("slo", float(name in shunned)), ("tier", float(ranks.index(row.tier[name])))):
                by = program.costs[level]
                by[number] = by.get(number, 0.0) + row.demand * part * cost
    for bound in row.bounds:
        got = {number: 0.0 for terms in shares.values() for number in terms}
        for name in bound.clusters & set(shares):
            for number, part in shares[name].items():
                got[number] += part
        short, over = program.variable(bounds=row.demand), program.variable(bounds=row.demand)
        program.between(bound.floor, {**got, short: 1.0}, highspy.kHighsInf)
        program.between(-highspy.kHighsInf, {**got, over: -1.0}, bound.ceiling)
    return shares


def _alone(program: _Program, row: RowProblem, name: str, held: list[str], problem: Problem) -> Terms:
    """Price a share by itself: its merit, the move beyond the incumbent, spread beyond what is even."""
    merit = max(row.merit[one] for one in held) + _HELD if name in held else row.merit[name]
    incumbent = 0.0 if name in held else row.incumbent.get(name, 0.0)
    room = sum(problem.capacity[one] for one in row.clusters)
    even = problem.capacity[name] / room if room > 0 else 1 / len(row.clusters)
    share = program.variable(1.0, merit=row.demand * merit)
    moved = program.variable(merit=row.demand * row.move_merit)
    uneven = program.variable(merit=row.demand * row.spread)
    program.between(-highspy.kHighsInf, {share: 1.0, moved: -1.0}, incumbent)
    program.between(-highspy.kHighsInf, {share: 1.0, uneven: -1.0}, even)
    return {share: 1.0}


def _write_held(program: _Program, row: RowProblem, held: list[str], shares: dict[str, Terms]) -> None:
    """Let a share go to held clusters in the proportions they have, at the mean of their merits."""
    whole = sum(row.incumbent.get(name, 0.0) for name in held)
    parts = {name: row.incumbent.get(name, 0.0) / whole for name in held}
    mean = sum(part * row.merit[name] for name, part in parts.items())
    together = program.variable(1.0, merit=row.demand * mean)
    moved = program.variable(merit=row.demand * row.move_merit)
    program.between(-highspy.kHighsInf, {together: 1.0, moved: -1.0}, min(1.0, whole))
    for name, part in parts.items():
        shares[name][together] = part


def _ceilings(row: RowProblem) -> dict[str, float]:
    given = {name: min(1.0, row.ceiling.get(name, 1.0)) for name in row.clusters}
    whole = sum(given.values())
    if whole <= 0:
        return dict.fromkeys(given, 1.0)
    return {name: min(1.0, most / min(1.0, whole)) + _KEPT for name, most in given.items()}


def _write_loads(program: _Program, problem: Problem, shares: Mapping[RowKey, Mapping[str, Terms]]) -> dict[str, Terms]:
    """Price the load of every cluster for queueing and beyond what is planned, and give the part of it up to full."""
    load: dict[str, Terms] = {name: {} for name in problem.capacity}
    within: dict[str, Terms] = {}
    heaviest = dict.fromkeys(problem.capacity, 0.0)
    for row in _busy(problem):
        for name, terms in shares[row.key].items():
            heaviest[name] = max(heaviest[name], row.work[name])
            for number, part in terms.items():
                load[name][number] = load[name].get(number, 0.0) + row.demand * row.work[name] * part
    for name, terms in load.items():
        if not terms:
            continue
        capacity, full = problem.capacity[name], problem.full[name]
        dearest = QUEUE[-1][1] / heaviest[name]
        filled = [program.variable(part * capacity, merit=price / heaviest[name]) for part, price in QUEUE]
        filled.append(program.variable(full - capacity, overload=_WITHIN, merit=dearest))
        filled += [program.variable(part * full, overload=price, merit=dearest) for part, price in _TENTHS if full > 0]
        if full <= 0:
            filled.append(program.variable(overload=_TENTHS[-1][1], merit=dearest))
        program.between(0.0, {**terms, **dict.fromkeys(filled, -1.0)}, 0.0)
        within[name] = dict.fromkeys(filled[: len(QUEUE) + 1], 1.0)
    return within


def _write_losses(
    program: _Program,
    problem: Problem,
    shares: Mapping[RowKey, Mapping[str, Terms]],
    within: Mapping[str, Terms],
) -> None:
    """For every loss, send what every row that asks has there to others it may use, in the room they have left."""
    for lost in problem.capacity:
        arriving: dict[str, Terms] = {}
        for row in _busy(problem):
            gone = {lost} | (problem.spot if row.survive is Survive.SPOT else set())
            others = [name for name in row.clusters if name not in gone]
            asks = row.survive is Survive.ANY or (row.survive is Survive.SPOT and lost in problem.spot)
            if not asks or lost not in row.clusters or not others:
                continue
            sound = [name for name in others if row.ceiling.get(name, 1.0) >= 1]
            size = sum(row.work[name] for name in sound) / len(sound) if sound else row.work[lost]
            missing = program.variable(survival=size)
            leaving = {number: row.demand * part for number, part in shares[row.key][lost].items()}
            ways = {name: program.variable() for name in sound}
            program.between(-highspy.kHighsInf, {**leaving, missing: -1.0, **dict.fromkeys(ways.values(), -1.0)}, 0.0)
            for name, way in ways.items():
                arriving.setdefault(name, {})[way] = row.work[name]
        for name, terms in arriving.items():
            program.between(-highspy.kHighsInf, {**terms, **within[name]}, problem.full[name])


def _write_budgets(program: _Program, problem: Problem, shares: Mapping[RowKey, Mapping[str, Terms]]) -> None:
    for budget in problem.budgets:
        spent: Terms = {program.variable(budget=1.0): -1.0}
        for row in _busy(problem):
            for name in budget.members.get(row.key, frozenset()):
                for number, part in shares[row.key].get(name, {}).items():
                    spent[number] = spent.get(number, 0.0) + row.demand * row.cost[name] * part
        program.between(-highspy.kHighsInf, spent, max(0.0, budget.usd_per_second))


def helpless(problem: Problem, plans: Mapping[RowKey, RowPlan]) -> float:
    """Give the slots that losses take from rows with nobody else to turn to: told, and nothing to be done about."""
    slots = 0.0
    for row in _busy(problem):
        for lost, share in plans[row.key].shares.items():
            gone = {lost} | (problem.spot if row.survive is Survive.SPOT else set())
            asks = row.survive is Survive.ANY or (row.survive is Survive.SPOT and lost in problem.spot)
            if asks and set(row.clusters) <= gone:
                slots += row.demand * share * row.work[lost]
    return slots
