"""From the shares a solver wants to the rows of a decision: project, limit, quantise, explain."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from penstock_policies.decision import TOTAL_WEIGHT, ClusterHealth, HealthState, Move, Note, Row, Stage, Turns
from penstock_policies.engine import turns
from penstock_policies.engine.explain import explain
from penstock_policies.engine.gaps import price_gaps
from penstock_policies.engine.limit import Circumstances, Step, limit
from penstock_policies.engine.plan import Outcome, Problem, RowPlan, RowProblem, Solution
from penstock_policies.engine.project import distance, project
from penstock_policies.engine.quantise import quantise
from penstock_policies.engine.situation import Situation
from penstock_policies.policyset import RowKey

NO_CLUSTER = "no_cluster_available"
"""The code clients are told where a row has no cluster, for no special reason."""
_ROUNDING = 1e-9
_FULL = 0.99
"""Of its planned capacity: from here on a cluster is said to be full, since the rest is rounding."""
_FRESHLY_UP = 30.0
"""Seconds after its ramp in which a cluster still counts as recovering: the last half of its share comes then."""
_WAS_FULL = 0.9
"""The same for weights in force, which follow the plan with a lag."""


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
    plan: RowPlan | None = None


@dataclass(frozen=True, slots=True)
class _Common:
    """What is the same for all rows."""

    overloaded: frozenset[str]
    before: frozenset[str]
    """Clusters that the weights and the demand of the last decision filled."""
    full: frozenset[str]
    recovering: Mapping[str, frozenset[str]]
    """By region."""
    down: Mapping[str, Mapping[str, str]]
    """Region, cluster that is down there to why."""
    reported_at: Mapping[str, float]
    """Region to when its load was last reported."""


def planned_rows(situation: Situation, problem: Problem, solution: Solution) -> dict[RowKey, Row]:
    """Move every row towards its plan as far as its limits allow."""
    paths = {row.key: _path(situation, row, solution.plans.get(row.key)) for row in problem.rows}
    overloaded = _filled(problem, {key: path.here for key, path in paths.items()}, 1 + _ROUNDING)
    health = {region: situation.health.seen_from(region) for region in situation.policy.regions()}
    common = _Common(
        overloaded=overloaded,
        before=_filled_before(situation, paths),
        full=_filled(problem, {key: path.target for key, path in paths.items() if path.plan is not None}, _FULL),
        recovering={
            region: frozenset(name for name, one in seen.items() if _recovering(one, situation.now))
            for region, seen in health.items()
        },
        down={
            region: {name: f"down: {one.reason}" for name, one in seen.items() if one.state is HealthState.DOWN}
            for region, seen in health.items()
        },
        reported_at={region: _reported_at(situation, region) for region in situation.policy.regions()},
    )
    return {key: _row(situation, path, _step(situation, path, common), common) for key, path in paths.items()}


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
    return _Path(problem, plan.outcome, target, here, row, plan)


def _held(before: Mapping[str, float], eligible: tuple[str, ...]) -> dict[str, float]:
    kept = {name: before.get(name, 0.0) for name in sorted(eligible)}
    whole = sum(kept.values())
    if whole <= 0:
        return {name: 1.0 if name == eligible[0] else 0.0 for name in sorted(eligible)}
    return {name: share / whole for name, share in kept.items()}


def _filled(problem: Problem, shares: Mapping[RowKey, Mapping[str, float]], level: float) -> frozenset[str]:
    """Name the clusters that these shares of all rows would load above ``level`` of their planned capacity."""
    load = dict.fromkeys(problem.capacity, 0.0)
    for row in problem.rows:
        demand, work = row.demand, row.work
        for name, share in shares.get(row.key, {}).items():
            if share > 0 and name in work:
                load[name] += demand * share * work[name]
    return frozenset(name for name, amount in load.items() if amount > problem.capacity[name] * level)


def _filled_before(situation: Situation, paths: Mapping[RowKey, _Path]) -> frozenset[str]:
    """Name the clusters that the weights and the demand of the last decision filled."""
    if situation.previous is None:
        return frozenset()
    views = situation.previous.clusters
    load = dict.fromkeys(views, 0.0)
    for path in paths.values():
        if path.row is None:
            continue
        for name, weight in path.row.weights.items():
            if weight > 0 and name in path.problem.work and name in load:
                load[name] += path.row.demand * weight / TOTAL_WEIGHT * path.problem.work[name]
    return frozenset(name for name, amount in load.items() if amount > views[name].capacity * _WAS_FULL)


def _row(situation: Situation, path: _Path, step: Step, common: _Common) -> Row:
    weights = quantise(step.shares)
    notes = (Note(Stage.SOLVE, path.outcome), *_loss_notes(path), *_projection_notes(path), *step.notes)
    key, row = path.problem.key, path.row
    eligible = situation.eligible[key]
    why_down = common.down[key.region]
    down = {name: why_down[name] for name in eligible.clusters if name in why_down}
    decided = Row(
        key=key,
        data_class=path.problem.data_class,
        weights=weights,
        legs=eligible.legs(),
        target=path.target,
        excluded={**eligible.excluded, **down},
        reason="",
        notes=notes,
        changed_at=row.changed_at if row is not None and row.weights == weights else situation.now,
        moved_at=_moved_at(situation, step, row),
        cost_moved_at=situation.now if step.cost_stepped or row is None else row.cost_moved_at,
        demand=path.problem.demand,
        move=step.move,
        tokens=path.problem.tokens,
        gaps=price_gaps(situation, path.problem, path.plan.gaps) if path.plan is not None else {},
        turns=_turns(situation, path, step),
        refusal="" if weights else eligible.refusal or NO_CLUSTER,
    )
    return replace(decided, reason=explain(decided, path.outcome, path.problem, situation, common.full, plan=path.plan))


def _moved_at(situation: Situation, step: Step, row: Row | None) -> float:
    if row is None:
        # A first placement is no step whose effect has to show before the next: the first report may correct it.
        return 0.0
    return situation.now if step.stepped else row.moved_at


def _turns(situation: Situation, path: _Path, step: Step) -> dict[str, Turns]:
    if path.row is None or (step.shares is path.here and not path.row.turns):
        return {}
    limits = situation.policy.policies[path.problem.key.policy].spec.limits
    return turns.after(
        path.row.turns, path.here, step.shares, counts=step.cost_stepped, limits=limits, now=situation.now
    )


def _step(situation: Situation, path: _Path, common: _Common) -> Step:
    row = path.row
    if row is None or not path.target or path.outcome is Outcome.HELD_ALL_DOWN:
        return Step(path.here, Move.NONE, notes=())
    if situation.health.frozen_in(path.problem.key.region):
        note = Note(Stage.LIMIT, "held, inputs distrusted", {"gap": distance(path.here, path.target)})
        return Step(path.here, Move.NONE, notes=(note,))
    returning = {
        name: situation.policy.clusters[name].spec.health.ramp_interval
        for name in path.problem.clusters
        if name not in row.legs or name in common.recovering[path.problem.key.region]
    }
    around = Circumstances(common.overloaded, common.before, returning, common.reported_at[path.problem.key.region])
    limits = situation.policy.policies[path.problem.key.policy].spec.limits
    return limit(row, path.here, path.target, limits=limits, around=around, now=situation.now)


def _reported_at(situation: Situation, region: str) -> float:
    return max((load.at for load in situation.facts.load.get(region, {}).values()), default=math.inf)


def _recovering(health: ClusterHealth, now: float) -> bool:
    return health.state is not HealthState.UP or (health.fell_at > 0 and now - health.since < _FRESHLY_UP)


def _loss_notes(path: _Path) -> tuple[Note, ...]:
    short = {lost: round(slots, 6) for lost, slots in path.plan.uncarried.items()} if path.plan is not None else {}
    return (Note(Stage.SOLVE, "loss could not be carried, slots short", short),) if short else ()


def _projection_notes(path: _Path) -> tuple[Note, ...]:
    if path.row is None:
        return ()
    lost = {
        name: round(weight / TOTAL_WEIGHT - path.here.get(name, 0.0), 6)
        for name, weight in sorted(path.row.weights.items())
        if weight / TOTAL_WEIGHT - path.here.get(name, 0.0) > _ROUNDING
    }
    return (Note(Stage.PROJECT, "moved at once off clusters that may carry less", lost),) if lost else ()
