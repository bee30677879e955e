"""The arithmetic behind accepting or refusing a drain: whether what remains could carry the load.

Pure. Asked by the admin API before a drain is recorded, with the decision in force. Answers for the load of this
moment, against the full capacity of healthy endpoints (headroom is there to be used in such an hour).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from penstock_policies.decision import Decision, HealthState
from penstock_policies.engine import optimum, waterfall
from penstock_policies.engine.plan import Problem, RowPlan, SolverError
from penstock_policies.engine.problem import problem_of
from penstock_policies.engine.situation import Situation, understand
from penstock_policies.observations import Observations
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import PolicySet, RowKey
from penstock_policies.serial import row_name


@dataclass(frozen=True, slots=True)
class RemainingCluster:
    """A cluster that would carry on after the drain. ``utilisation`` is load over capacity; above 1 is overload."""

    cluster: str
    capacity: float
    """Requests in flight at which it is full."""
    load_before: float
    """Requests in flight by plan today."""
    load_after: float
    utilisation: float


@dataclass(frozen=True, slots=True)
class AffectedRow:
    """A row that sends traffic to the cluster, or counts on it."""

    key: RowKey
    in_flight: float
    """Requests in flight that would have to move."""
    remaining: tuple[RemainingCluster, ...]


@dataclass(frozen=True, slots=True)
class DrainImpact:
    """What a drain would do."""

    cluster: str
    feasible: bool
    rows: tuple[AffectedRow, ...]
    stranded: tuple[RowKey, ...]
    """Rows that would have no cluster left that is not down: their requests would be refused."""
    utilisation: float
    """The highest utilisation of a remaining cluster that would take over load."""
    sentence: str


def drain_impact(  # noqa: PLR0917 the engine's five inputs, in the order everywhere used, and the question
    policy: PolicySet,
    observations: Observations,
    overrides: Overrides,
    decision: Decision,
    cluster: str,
    now: float,
) -> DrainImpact:
    """Work out what draining ``cluster`` now would do.

    Raises:
        KeyError: the policy set has no such cluster.

    """
    if cluster not in policy.clusters:
        raise KeyError(cluster)
    situation = understand(policy, observations, overrides, decision, now)
    # A ramp under way ends in a full drain, so count it as one.
    gone = {name: 0.0 for name in situation.draining if name != cluster}
    today = _without(situation, gone)
    drained = _without(situation, {**gone, cluster: 0.0})
    before = _load(today, situation)
    after = _load(drained, situation)
    rows: list[AffectedRow] = []
    stranded: list[RowKey] = []
    for row_before, row_after in zip(today.rows, drained.rows, strict=True):
        if cluster not in row_before.clusters:
            continue
        if not row_after.clusters:
            stranded.append(row_before.key)
        rows.append(
            AffectedRow(
                key=row_before.key,
                in_flight=_in_flight(situation, decision, row_before.key, cluster),
                remaining=tuple(_remaining(situation, name, before, after) for name in row_after.clusters),
            )
        )
    used = [one for row in rows for one in row.remaining if one.load_after > one.load_before]
    worst = max(used, key=lambda one: (one.utilisation, one.cluster), default=None)
    feasible = not stranded and (worst is None or worst.utilisation <= 1)
    return DrainImpact(
        cluster=cluster,
        feasible=feasible,
        rows=tuple(rows),
        stranded=tuple(stranded),
        utilisation=worst.utilisation if worst is not None else 0.0,
        sentence=_sentence(cluster, rows, stranded, worst),
    )


def _without(situation: Situation, gone: dict[str, float]) -> Problem:
    return problem_of(replace(situation, eligible=situation.eligible_under(gone)))


def _plans(problem: Problem) -> Mapping[RowKey, RowPlan]:
    """Plan as the engine would, by the first rung that has an answer."""
    try:
        return optimum.solve(problem).plans
    except SolverError:
        return waterfall.solve(problem).plans


def _load(problem: Problem, situation: Situation) -> dict[str, float]:
    load = dict.fromkeys(situation.capacity, 0.0)
    plans = _plans(problem)
    for row in problem.rows:
        for name, share in plans[row.key].shares.items() if row.key in plans else ():
            load[name] += row.demand * share * row.work[name]
    return load


def _in_flight(situation: Situation, decision: Decision, key: RowKey, cluster: str) -> float:
    row = decision.rows.get(key)
    weights = row.weights if row is not None else {}
    whole = sum(weights.values())
    share = weights.get(cluster, 0) / whole if whole else 0.0
    return situation.demand.rates[key] * share * situation.demand.service_time[cluster]


def _remaining(situation: Situation, name: str, before: dict[str, float], after: dict[str, float]) -> RemainingCluster:
    down = situation.health.clusters[name].state is HealthState.DOWN
    capacity = 0.0 if down else situation.capacities.full[name]
    utilisation = after[name] / capacity if capacity > 0 else 0.0
    return RemainingCluster(name, capacity, before[name], after[name], utilisation)


def _sentence(cluster: str, rows: list[AffectedRow], stranded: list[RowKey], worst: RemainingCluster | None) -> str:
    moving = sum(row.in_flight for row in rows)
    if stranded:
        names = ", ".join(row_name(key) for key in stranded)
        return f"Without {cluster} no cluster that is up would be left for {names}: its requests would be refused."
    if worst is None:
        return f"Nothing would have to move off {cluster}."
    return (
        f"Draining {cluster} moves about {moving:.0f} requests in flight; "
        f"{'what remains' if worst.utilisation > 1 else 'the fullest that remains'} ({worst.cluster}) would run at "
        f"{worst.utilisation:.0%} of its capacity ({worst.load_after:.0f} of {worst.capacity:.0f} requests in flight)."
    )
