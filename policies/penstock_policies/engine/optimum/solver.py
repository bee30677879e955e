"""Solves a problem to the optimum: rows with demand together, then idle rows at the prices that these leave.

A program in which no rule is breached is tried first, for that is the common case and takes one run. Only where it
has no solution may rules bow, level by level. Budgets come in only when the plan without them would break one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from penstock_policies.engine.optimum.answer import Answer, read
from penstock_policies.engine.optimum.formulate import Formulation, Level, formulate
from penstock_policies.engine.optimum.groups import Group, gather
from penstock_policies.engine.optimum.refuge import Refuges
from penstock_policies.engine.optimum.simplex import Effort, Optimum, Program, minimise
from penstock_policies.engine.optimum.survival import losses
from penstock_policies.engine.plan import BudgetLimit, Problem, RowPlan, Solution, SolverError
from penstock_policies.policyset import RowKey
from penstock_policies.words import DataClass

_WITHIN_RULES = (Level.BUDGET, Level.TIER, Level.MERIT)
"""What is left to minimise where no rule is breached."""
_FULL = 10.0
"""Merit that an idle row sees in an overloaded cluster: more than any other difference."""
_OVERSPENT = 1e-9
WORK = 150_000_000
"""Iterations times columns. A thousand rows with twenty clusters (20 000 columns) may so take 7500 iterations, about a
second of a core. They take 600 as a rule, a twentieth of a second, and 5000 under overload. Only where many rules bow,
or budgets bind under overload, do such fleets need more: for them the waterfall is there in time."""


def solve(problem: Problem, *, work: int = WORK) -> Solution:
    """Find the plan that breaks rules least and then has the least merit, with no more than this ``work``.

    Raises:
        SolverError: a figure of the problem is not finite, or HiGHS gives no answer, or none with so little work.

    """
    # Sums of floats depend on their order, and the answer must not depend on that of the rows.
    problem = replace(problem, rows=tuple(sorted(problem.rows, key=lambda row: row.key)))
    effort = Effort(work)
    free = _solved(replace(problem, budgets=()), effort)
    if all(_spent(problem, budget, free.plans) <= _allowed(budget) for budget in problem.budgets):
        return _solution(problem, free)
    exempt = _exempt(problem, free.plans)
    bound = _solved(problem, effort, exempt)
    for key in exempt:
        bound.plans[key] = replace(free.plans[key], uncarried=bound.plans[key].uncarried)
    return _solution(problem, bound)


def _solved(problem: Problem, effort: Effort, kept: Mapping[RowKey, Mapping[str, float]] | None = None) -> Answer:
    groups = gather(problem.rows, problem.budgets, kept)
    busy = [group for group in groups if group.demand > 0]
    answer = _busy(problem, busy, effort) if busy else Answer({}, {}, {}, {}, {}, (0.0,) * len(problem.budgets), 0.0)
    idle = [_priced(group, answer) for group in groups if group.demand <= 0]
    if idle:
        formulation = formulate(problem, idle, [1.0] * len(idle), linked=False)
        answer.plans.update(read(formulation, *_optimum(formulation, effort)).plans)
    return answer


def _busy(problem: Problem, groups: Sequence[Group], effort: Effort) -> Answer:
    stranding = losses(groups, problem.spot)
    survived = [loss.lost for loss in stranding if len(loss.open)]
    formulation = formulate(problem, groups, [group.demand for group in groups], survived)
    refuges = Refuges(problem, formulation, stranding, effort)
    return read(formulation, *_optimum(formulation, effort, refuges), refuges)


def _optimum(formulation: Formulation, effort: Effort, refuges: Refuges | None = None) -> tuple[Program, Optimum]:
    costs = formulation.costs
    within = [costs[level] for level in _WITHIN_RULES if level in costs]
    found = minimise(formulation.firm, within, formulation.basis, effort, cuts=refuges)
    if found is not None:
        return formulation.firm, found
    if refuges is not None:
        refuges.cuts.clear()
    levels = [level for level in Level if level in costs]
    cuts = refuges if Level.SURVIVAL in levels else None
    found = minimise(
        formulation.elastic,
        [costs[level] for level in levels],
        formulation.basis,
        effort,
        cuts=cuts,
        uncut=sum(level < Level.SURVIVAL for level in levels),
    )
    if found is None:
        raise SolverError("no solution even where every rule may bow")
    return formulation.elastic, found


def _priced(group: Group, answer: Answer) -> Group:
    """Let an idle row see what the next slot of every cluster is worth to the others."""
    merit = tuple(
        merit + work * answer.slot_price.get(name, 0.0) + (_FULL if name in answer.overload else 0.0)
        for name, merit, work in zip(group.clusters, group.merit, group.work, strict=True)
    )
    return replace(group, merit=merit)


def _spent(problem: Problem, budget: BudgetLimit, plans: Mapping[RowKey, RowPlan]) -> float:
    return sum(
        row.demand * share * row.cost[name]
        for row in problem.rows
        if row.key in budget.members and row.key in plans
        for name, share in plans[row.key].shares.items()
        if share > 0 and name in budget.members[row.key]
    )


def _allowed(budget: BudgetLimit) -> float:
    return max(0.0, budget.usd_per_second) * (1 + _OVERSPENT) + _OVERSPENT


def _exempt(problem: Problem, plans: Mapping[RowKey, RowPlan]) -> dict[RowKey, Mapping[str, float]]:
    """Keep restricted rows where they are without budgets: what they cost counts, and does not move them."""
    counted = {key for budget in problem.budgets for key in budget.members}
    return {
        row.key: plans[row.key].shares
        for row in problem.rows
        if row.data_class is DataClass.RESTRICTED and row.key in counted and row.key in plans
    }


def _solution(problem: Problem, answer: Answer) -> Solution:
    plans = answer.plans
    over = {
        budget.name: excess
        for budget in problem.budgets
        if (excess := _spent(problem, budget, plans) - budget.usd_per_second) > _OVERSPENT
    }
    merits = answer.budget_merit or (0.0,) * len(problem.budgets)
    return Solution(
        plans=plans,
        slot_merit={name: answer.slot_merit.get(name, 0.0) for name in sorted(problem.capacity)},
        budget_merit={budget.name: merit for budget, merit in zip(problem.budgets, merits, strict=True)},
        overload=answer.overload,
        over_budget=over,
        uncarried=answer.uncarried,
        objective=answer.objective,
    )
