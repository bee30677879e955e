"""The decision pipeline: sanitise, health, capacity, demand, solve, project, limit, quantise, verify.

Pure: time is an argument, the only memory is the previous decision, and the same inputs give the same bytes. Nothing
that fails verification is ever returned. The ladder: the optimum, the waterfall, last good, static, refusing. A row
that breaks a rule on one rung takes the next one, and those that keep all rules stay where they are: one bad row spoils
no other. A solver without an answer fails for all the rows it was asked about.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from penstock_policies.decision import Decision, Note, Row, Rung, Stage
from penstock_policies.engine import optimum, waterfall
from penstock_policies.engine.fallback import fallen_row, overloads
from penstock_policies.engine.plan import Outcome, Problem, RowPlan, Solution, Solver, SolverError, sound
from penstock_policies.engine.problem import problem_of
from penstock_policies.engine.rows import planned_rows
from penstock_policies.engine.situation import Situation, understand
from penstock_policies.engine.verify import VerifyError, verify
from penstock_policies.engine.views import budget_views, cluster_views
from penstock_policies.observations import Observations
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import PolicySet, RowKey
from penstock_policies.serial import decision_id, row_name

_NAMED = 10
"""Rows that a note names; the others are counted, and their own notes tell the rest."""
_ROOMLESS = frozenset({Rung.LAST_GOOD, Rung.STATIC})
"""Rungs that place a row without asking whether there is room."""


@dataclass(frozen=True, slots=True)
class _Fall:
    """That a rung failed a row, and why."""

    rung: Rung
    why: str


@dataclass(frozen=True, slots=True)
class _Draft:
    """A decision in the making, as the rungs so far have left it."""

    problem: Problem
    waiting: Mapping[RowKey, tuple[_Fall, ...]]
    """Rows that no rung so far has served soundly, to their falls."""
    solution: Solution = field(default_factory=lambda: Solution({}))
    """The plans of the rows, from whichever rung."""
    rows: Mapping[RowKey, Row] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    """Which rungs failed."""


def decide(
    policy: PolicySet,
    observations: Observations,
    overrides: Overrides,
    previous: Decision | None,
    now: float,
    *,
    solver: Solver = optimum.solve,
) -> Decision:
    """Decide the weights of every row at ``now`` (Unix seconds, not before ``previous.at``).

    ``solver`` is the top rung of the ladder. Never raises on what was observed: what cannot be true is refused, and
    the decision's notes say so.

    Raises:
        VerifyError: not even a decision that refuses every failing row keeps the rules, which only a defect can cause.

    """
    situation = understand(policy, observations, overrides, previous, now)
    draft = _Draft(problem_of(situation), dict.fromkeys(sorted(policy.rows()), ()))
    for rung in Rung:
        try:
            draft, tried = _served(situation, draft, rung, solver)
        except SolverError as error:
            draft = _without_answer(draft, rung, error)
            continue
        decision = _decision(situation, draft)
        try:
            verify(policy, decision)
        except VerifyError as error:
            if rung is Rung.REFUSED:
                raise
            draft = _with_breaches(draft, rung, tried, error)
        else:
            return decision
    raise AssertionError("the last rung returns or raises")


def _without_answer(draft: _Draft, rung: Rung, error: SolverError) -> _Draft:
    note = Note(Stage.SOLVE, "rung failed", {"rung": rung, "why": str(error)})
    waiting = {key: (*falls, _Fall(rung, str(error))) for key, falls in draft.waiting.items()}
    return replace(draft, waiting=waiting, notes=(*draft.notes, note))


def _with_breaches(draft: _Draft, rung: Rung, tried: frozenset[RowKey], error: VerifyError) -> _Draft:
    """Let wait on those that break a rule; a row for which the rung had nothing has not fallen from it."""
    why = {key: "; ".join(error.breaches[key]) for key in draft.waiting if key in tried and key in error.rows}
    waiting = {
        key: (*falls, _Fall(rung, why[key])) if key in why else falls
        for key, falls in draft.waiting.items()
        if key in error.rows
    }
    if not why:
        return replace(draft, waiting=waiting)
    told = _listed([f"{row_name(key)}: {breach}" for key, breach in why.items()], "; ")
    note = Note(Stage.VERIFY, "rung failed", {"rung": rung, "why": told})
    return replace(draft, waiting=waiting, notes=(*draft.notes, note))


def _listed(several: Sequence[str], separator: str = ", ") -> str:
    more = f" and {len(several) - _NAMED} more" if len(several) > _NAMED else ""
    return separator.join(several[:_NAMED]) + more


def _served(situation: Situation, draft: _Draft, rung: Rung, solver: Solver) -> tuple[_Draft, frozenset[RowKey]]:
    """Serve the waiting rows by a rung, and name those for which it has something.

    Raises:
        SolverError: the rung is a solver without an answer.

    """
    if rung is Rung.OPTIMUM:
        planned, rows = _planned(situation, draft, solver)
    elif rung is Rung.WATERFALL:
        planned, rows = _planned(situation, draft, waterfall.solve)
    else:
        planned, rows = _unplanned(situation, draft, rung)
    placed = {key: _marked(row, rung, draft.waiting[key]) for key, row in rows.items()}
    return replace(planned, rows={**draft.rows, **placed}), frozenset(placed)


def _marked(row: Row, rung: Rung, falls: tuple[_Fall, ...]) -> Row:
    if not falls:
        return row
    landed = (*(fall.rung for fall in falls[1:]), rung)
    notes = (
        Note(Stage.SOLVE, f"fell back to {to}", {"from": fall.rung, "why": fall.why})
        for fall, to in zip(falls, landed, strict=True)
    )
    return replace(row, rung=rung, notes=(*row.notes, *notes))


def _planned(situation: Situation, draft: _Draft, solver: Solver) -> tuple[_Draft, dict[RowKey, Row]]:
    """Plan the waiting rows in the room that the others leave, each cluster under a ramped drain in what is left."""
    problem = _room_left(draft)
    solution = sound(problem, solver(problem))
    ramping = {name: factor for name, factor in situation.draining.items() if 0 < factor < 1}
    if ramping:
        problem = _with_ramps(problem, solution.plans, ramping)
        solution = sound(problem, solver(problem))
    if len(draft.waiting) < len(draft.problem.rows):
        asked = {row.key: row for row in problem.rows}
        problem = replace(draft.problem, rows=tuple(asked.get(row.key, row) for row in draft.problem.rows))
        solution = replace(draft.solution, plans={**draft.solution.plans, **solution.plans})
    rows = planned_rows(situation, problem, solution)
    return replace(draft, problem=problem, solution=solution), {key: rows[key] for key in draft.waiting}


def _room_left(draft: _Draft) -> Problem:
    """State the problem of the waiting rows alone: what the others are planned to fill is not theirs to give."""
    problem, plans = draft.problem, draft.solution.plans
    taken = dict.fromkeys(problem.capacity, 0.0)
    for row in problem.rows:
        if row.key in plans and row.key not in draft.waiting:
            for name, share in plans[row.key].shares.items():
                taken[name] += row.demand * share * row.work[name]
    return replace(
        problem,
        rows=tuple(row for row in problem.rows if row.key in draft.waiting),
        capacity={name: max(0.0, slots - taken[name]) for name, slots in problem.capacity.items()},
        full={name: max(0.0, slots - taken[name]) for name, slots in problem.full.items()},
    )


def _with_ramps(problem: Problem, plans: Mapping[RowKey, RowPlan], ramping: Mapping[str, float]) -> Problem:
    """Bound every draining cluster by what is left of the share it would have without the drain."""
    rows = tuple(
        replace(
            row,
            ceiling={
                name: min(ceiling, ramping[name] * plans[row.key].shares.get(name, 0.0)) if name in ramping else ceiling
                for name, ceiling in row.ceiling.items()
            },
        )
        if row.key in plans
        else row
        for row in problem.rows
    )
    return replace(problem, rows=rows)


def _unplanned(situation: Situation, draft: _Draft, rung: Rung) -> tuple[_Draft, dict[RowKey, Row]]:
    rows = {key: row for key in draft.waiting if (row := fallen_row(situation, key, rung)) is not None}
    # As plans, so that what these rows will load is seen beside what the others are planned to.
    plans = {key: RowPlan(row.target, Outcome.PLANNED) for key, row in rows.items() if row.weights}
    kept = {key: plan for key, plan in draft.solution.plans.items() if key not in rows}
    return replace(draft, solution=replace(draft.solution, plans={**kept, **plans})), rows


def _decision(situation: Situation, draft: _Draft) -> Decision:
    problem, solution = draft.problem, draft.solution
    lower = [row for row in draft.rows.values() if row.rung is not Rung.OPTIMUM]
    full = overloads(problem, draft.rows) if any(row.rung in _ROOMLESS for row in lower) else {}
    rows = {**draft.rows, **{row.key: _with_overloads(row, full) for row in lower}}
    decision = Decision(
        id="",
        at=situation.now,
        policy_digest=situation.policy.digest,
        rung=max((row.rung for row in lower), key=list(Rung).index, default=Rung.OPTIMUM),
        frozen=situation.health.frozen,
        rows=rows,
        health=situation.health.clusters,
        clusters=cluster_views(situation, problem, solution),
        draining=situation.draining,
        notes=(*situation.notes, *draft.notes, *_fallen_notes(draft.rows, lower), *_overload_notes(full)),
        memory=situation.memory(),
        budgets=budget_views(situation, problem, solution),
        edge_health=situation.health.edge_health(),
        frozen_regions=situation.health.frozen_regions(),
    )
    return replace(decision, id=decision_id(decision))


def _fallen_notes(rows: Mapping[RowKey, Row], lower: Sequence[Row]) -> tuple[Note, ...]:
    """Tell which rows are on which rung below the optimum, where not all are on the same."""
    by_rung = {str(rung): [row_name(row.key) for row in lower if row.rung is rung] for rung in Rung}
    fallen = {rung: _listed(names) for rung, names in by_rung.items() if names}
    if not lower or (len(fallen) == 1 and len(lower) == len(rows)):
        return ()
    return (Note(Stage.SOLVE, "rows fell below the others", fallen),)


def _with_overloads(row: Row, full: Mapping[str, float]) -> Row:
    touched = {name: full[name] for name, weight in row.weights.items() if weight > 0 and name in full}
    if row.rung not in _ROOMLESS or not touched:
        return row
    note = Note(Stage.SOLVE, "placed without regard to room, helps overload what others share", touched)
    return replace(row, notes=(*row.notes, note))


def _overload_notes(full: Mapping[str, float]) -> tuple[Note, ...]:
    return (Note(Stage.SOLVE, "rows without a plan overload clusters that others share", full),) if full else ()
