"""From the shares a solver wants to the rows of a decision: project, limit, quantise, explain."""

from collections.abc import Mapping
from dataclasses import dataclass

from penstock_policies.decision import TOTAL_WEIGHT, HealthState, Move, Note, Row, Stage
from penstock_policies.engine.explain import explain
from penstock_policies.engine.limit import Circumstances, Step, limit
from penstock_policies.engine.plan import Outcome, RowPlan, RowProblem
from penstock_policies.engine.project import distance, project
from penstock_policies.engine.quantise import quantise
from penstock_policies.engine.situation import Situation
from penstock_policies.policyset import RowKey

_ROUNDING = 1e-9
_FULL = 0.99
"""Of its planned capacity: from here on a cluster is said to be full, since the rest is rounding."""


@dataclass(frozen=True, slots=True)
class _Path:
    """A row between the weights in force and the plan."""

    problem: RowProblem
    outcome: Outcome
    target: Mapping[str, float]
    here: Mapping[str, float]
    """The shares in force, projected; the target itself where there are none."""
    row: Row | None
    """As last decided, when it had weights."""


def planned_rows(
    situation: Situation, problems: Mapping[RowKey, RowProblem], plans: Mapping[RowKey, RowPlan]
) -> dict[RowKey, Row]:
    """Move every row towards its plan as far as its limits allow."""
    paths = {key: _path(situation, problems[key], plans.get(key)) for key in sorted(problems)}
    overloaded = _filled(situation, {key: path.here for key, path in paths.items()}, 1 + _ROUNDING)
    full = _filled(situation, {key: path.target for key, path in paths.items()}, _FULL)
    return {key: _row(situation, path, overloaded, full) for key, path in paths.items()}


def _path(situation: Situation, problem: RowProblem, plan: RowPlan | None) -> _Path:
    key = problem.key
    eligible = situation.eligible[key].clusters
    row = situation.previous.rows.get(key) if situation.previous is not None else None
    if row is not None and not row.weights:
        row = None
    before = {name: weight / TOTAL_WEIGHT for name, weight in row.weights.items()} if row is not None else {}
    if not eligible:
        return _Path(problem, Outcome.REFUSED, {}, {}, row)
    if plan is None:
        held = _held(before, eligible)
        return _Path(problem, Outcome.HELD_ALL_DOWN, held, held, row)
    target = {name: plan.shares.get(name, 0.0) for name in sorted(eligible)}
    bound = {name: problem.ceiling.get(name, 0.0) for name in eligible}
    here = project(before, target, bound) if row is not None else target
    return _Path(problem, plan.outcome, target, here, row)


def _held(before: Mapping[str, float], eligible: tuple[str, ...]) -> dict[str, float]:
    kept = {name: before.get(name, 0.0) for name in sorted(eligible)}
    whole = sum(kept.values())
    if whole <= 0:
        return {name: 1.0 if name == eligible[0] else 0.0 for name in sorted(eligible)}
    return {name: share / whole for name, share in kept.items()}


def _filled(situation: Situation, shares: Mapping[RowKey, Mapping[str, float]], level: float) -> frozenset[str]:
    """Name the clusters that these shares of all rows would load above ``level`` of their planned capacity."""
    load = dict.fromkeys(situation.capacity, 0.0)
    for key, by_cluster in shares.items():
        for name, share in by_cluster.items():
            load[name] += situation.demand.rates[key] * share * situation.demand.service_time[name]
    return frozenset(name for name, amount in load.items() if amount > situation.capacity[name] * level)


def _row(situation: Situation, path: _Path, overloaded: frozenset[str], full: frozenset[str]) -> Row:
    step = _step(situation, path, overloaded)
    weights = quantise(step.shares)
    notes = (Note(Stage.SOLVE, path.outcome), *_projection_notes(path), *step.notes)
    key, row = path.problem.key, path.row
    eligible = situation.eligible[key]
    excluded = dict(eligible.excluded)
    for name in eligible.clusters:
        if situation.health.clusters[name].state is HealthState.DOWN:
            excluded[name] = f"down: {situation.health.clusters[name].reason}"
    return Row(
        key=key,
        data_class=path.problem.data_class,
        weights=weights,
        legs=eligible.legs(),
        target=dict(path.target),
        excluded=excluded,
        reason=explain(
            outcome=path.outcome,
            weights=weights,
            target=path.target,
            demand=path.problem.demand,
            on_prem=path.problem.on_prem,
            prices=situation.prices.clusters,
            full={name: situation.capacity[name] for name in sorted(full)},
            excluded=excluded,
            move=step.move,
            notes=notes,
            frozen=situation.health.frozen,
        ),
        notes=notes,
        changed_at=row.changed_at if row is not None and row.weights == weights else situation.now,
        moved_at=situation.now if step.stepped or row is None else row.moved_at,
        cost_moved_at=situation.now if step.cost_stepped or row is None else row.cost_moved_at,
        demand=path.problem.demand,
        move=step.move,
    )


def _step(situation: Situation, path: _Path, overloaded: frozenset[str]) -> Step:
    row = path.row
    if row is None or not path.target or path.outcome is Outcome.HELD_ALL_DOWN:
        return Step(path.here, Move.NONE, notes=())
    if situation.health.frozen:
        note = Note(Stage.LIMIT, "held, inputs distrusted", {"gap": distance(path.here, path.target)})
        return Step(path.here, Move.NONE, notes=(note,))
    health = situation.health.clusters
    returning = {
        name: situation.policy.clusters[name].spec.health.ramp_interval
        for name in path.problem.clusters
        if health[name].state is not HealthState.UP or name not in row.legs
    }
    around = Circumstances(overloaded, path.problem.on_prem, returning)
    limits = situation.policy.policies[path.problem.key.policy].spec.limits
    return limit(row, path.here, path.target, limits=limits, around=around, now=situation.now)


def _projection_notes(path: _Path) -> tuple[Note, ...]:
    if path.row is None:
        return ()
    lost = {
        name: round(weight / TOTAL_WEIGHT - path.here.get(name, 0.0), 6)
        for name, weight in sorted(path.row.weights.items())
        if weight / TOTAL_WEIGHT - path.here.get(name, 0.0) > _ROUNDING
    }
    return (Note(Stage.PROJECT, "moved at once off clusters that may carry less", lost),) if lost else ()
