"""The decision pipeline: sanitise, health, capacity, demand, solve, project, limit, quantise, verify.

Pure: time is an argument, the only memory is the previous decision, and the same inputs give the same bytes. A plan
that fails verification is never published. The ladder: the optimum, the waterfall, last good, static, then refusing the
rows that still break a rule; each rung that failed is told in the notes.
"""

from collections.abc import Mapping
from dataclasses import replace

from penstock_policies.decision import Decision, Note, Row, Rung, Stage
from penstock_policies.engine import optimum, waterfall
from penstock_policies.engine.fallback import last_good, static
from penstock_policies.engine.plan import Outcome, Problem, RowPlan, Solution, Solver, SolverError
from penstock_policies.engine.problem import problem_of
from penstock_policies.engine.rows import NO_CLUSTER, planned_rows
from penstock_policies.engine.situation import Situation, understand
from penstock_policies.engine.verify import VerifyError, verify
from penstock_policies.engine.views import budget_views, cluster_views
from penstock_policies.observations import Observations
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import PolicySet, RowKey
from penstock_policies.serial import decision_id


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
    """
    situation = understand(policy, observations, overrides, previous, now)
    problem = problem_of(situation)
    failures: list[Note] = []
    for rung, solve in ((Rung.OPTIMUM, solver), (Rung.WATERFALL, waterfall.solve)):
        try:
            decision = _planned(situation, problem, rung, solve, failures)
            verify(policy, decision)
        except (SolverError, VerifyError) as error:
            failures.append(_failure(rung, error))
        else:
            return decision
    return _fall_back(situation, failures)


def _planned(situation: Situation, problem: Problem, rung: Rung, solver: Solver, failures: list[Note]) -> Decision:
    solution = solver(problem)
    ramping = {name: factor for name, factor in situation.draining.items() if 0 < factor < 1}
    if ramping:
        problem = _with_ramps(problem, solution.plans, ramping)
        solution = solver(problem)
    return _decision(situation, planned_rows(situation, problem, solution), rung, failures, (problem, solution))


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


def _fall_back(situation: Situation, failures: list[Note]) -> Decision:
    if situation.previous is not None:
        decision = _decision(situation, _rows_of(situation, Rung.LAST_GOOD), Rung.LAST_GOOD, failures)
        try:
            verify(situation.policy, decision)
        except VerifyError as error:
            failures.append(_failure(Rung.LAST_GOOD, error))
        else:
            return decision
    rows = _rows_of(situation, Rung.STATIC)
    decision = _decision(situation, rows, Rung.STATIC, failures)
    try:
        verify(situation.policy, decision)
    except VerifyError as error:
        failures.append(_failure(Rung.STATIC, error))
        refused = {key: _refused(row) if key in error.rows else row for key, row in rows.items()}
        return _decision(situation, refused, Rung.STATIC, failures)
    return decision


def _rows_of(situation: Situation, rung: Rung) -> dict[RowKey, Row]:
    down = situation.down()
    rows: dict[RowKey, Row] = {}
    for key, eligible in sorted(situation.eligible.items()):
        before = situation.previous.rows.get(key) if situation.previous is not None else None
        if rung is Rung.LAST_GOOD and before is not None:
            weights = last_good(before.weights, eligible.clusters, down)
            reason = "No plan is sound; the last good weights are kept."
        else:
            weights = static(eligible.clusters, down)
            reason = "No plan is sound; the first choice by policy carries everything."
        same = before is not None and before.weights == weights
        rows[key] = Row(
            key=key,
            data_class=situation.policy.policies[key.policy].spec.data_class,
            weights=weights,
            legs=eligible.legs(),
            target={name: weight / 10_000 for name, weight in weights.items()},
            excluded=dict(eligible.excluded),
            reason=reason,
            notes=(Note(Stage.SOLVE, f"fell back to {rung}"),),
            changed_at=before.changed_at if before is not None and same else situation.now,
            moved_at=before.moved_at if before is not None else situation.now,
            cost_moved_at=before.cost_moved_at if before is not None else situation.now,
            demand=situation.demand.rates[key],
            refusal="" if weights else eligible.refusal or NO_CLUSTER,
        )
    return rows


def _refused(row: Row) -> Row:
    why = "Refused: no rung of the ladder gave weights that keep every rule."
    notes = (Note(Stage.SOLVE, Outcome.REFUSED),)
    return replace(row, weights={}, legs={}, target={}, reason=why, notes=notes, refusal=NO_CLUSTER)


def _failure(rung: Rung, error: SolverError | VerifyError) -> Note:
    stage = Stage.VERIFY if isinstance(error, VerifyError) else Stage.SOLVE
    return Note(stage, "rung failed", {"rung": rung, "why": str(error)})


def _decision(
    situation: Situation,
    rows: Mapping[RowKey, Row],
    rung: Rung,
    failures: list[Note],
    solved: tuple[Problem, Solution] | None = None,
) -> Decision:
    decision = Decision(
        id="",
        at=situation.now,
        policy_digest=situation.policy.digest,
        rung=rung,
        frozen=situation.health.frozen,
        rows=rows,
        health=situation.health.clusters,
        clusters=cluster_views(situation, *solved) if solved is not None else situation.views(),
        draining=situation.draining,
        notes=(*situation.notes, *failures),
        memory=situation.memory(),
        budgets=budget_views(situation, *solved) if solved is not None else situation.budgets,
    )
    return replace(decision, id=decision_id(decision))
