"""What the plan would be if something were otherwise: a price, a cluster down or drained, demand, capacity.

Compares where the plan wants the traffic, not where the limits let it be next: a question about the next second is
seldom asked. Pure, as the engine is: :func:`placement` runs the engine's own stages up to the solver on inputs that
:func:`changed` has altered, so an answer is what the engine itself would do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from penstock_policies.decision import ClusterHealth, Decision, HealthState
from penstock_policies.engine.plan import Outcome, Problem, RowPlan, RowProblem, Solver, SolverError
from penstock_policies.engine.problem import problem_of
from penstock_policies.engine.situation import Situation, understand
from penstock_policies.engine.suppositions import Supposed, Supposition
from penstock_policies.engine.waterfall import solve as waterfall
from penstock_policies.observations import EndpointProbe, Observations
from penstock_policies.overrides import Drain, Overrides
from penstock_policies.policyset import PolicySet, RowKey
from penstock_policies.schema import Cluster
from penstock_policies.words import Vantage

_HOUR = 3600.0
_A_DAY = 86_400.0
_MANY_PROBES = 1000
"""More failures in a row than any policy waits for."""


@dataclass(frozen=True, slots=True)
class World:
    """What the engine decides on."""

    policy: PolicySet
    observations: Observations
    overrides: Overrides
    previous: Decision | None
    now: float


@dataclass(frozen=True, slots=True)
class RowPlacement:
    """Where one row's traffic would go."""

    demand: float
    """Requests a second."""
    shares: Mapping[str, float]
    """Empty where nobody may serve it, and where every cluster that may is down."""
    outcome: Outcome
    usd_per_hour: float
    """At marginal prices, egress included."""
    missing_slo: float
    """The share (0 to 1) that goes to clusters too slow for the row's SLO even when idle."""
    bowed: tuple[str, ...] = ()
    """Why of each bound on shares that could not be kept."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where all traffic would go, and what comes of it."""

    rows: Mapping[RowKey, RowPlacement]
    load: Mapping[str, float]
    """Cluster to requests in flight by plan."""
    capacity: Mapping[str, float]
    """Cluster to requests in flight it may be planned to fill."""
    over_budget: Mapping[str, float]
    """Budget to USD an hour planned beyond what it allows."""
    solver: str
    """``optimum``, or ``waterfall`` where the optimum had no answer."""

    @property
    def usd_per_hour(self) -> float:
        """What all of it costs at marginal prices."""
        return sum(row.usd_per_hour for row in self.rows.values())


def placement(world: World, solver: Solver, suppositions: Sequence[Supposition] = ()) -> Placement:
    """Plan for a world in which the suppositions are true."""
    given = changed(world, suppositions)
    situation = _with_demand(
        understand(given.policy, given.observations, given.overrides, given.previous, given.now), suppositions
    )
    problem = problem_of(situation)
    used = "optimum"
    try:
        solution = solver(problem)
    except SolverError:
        solution, used = waterfall(problem), "waterfall"
    return Placement(
        rows={row.key: _row(situation, row, solution.plans.get(row.key)) for row in problem.rows},
        load=_load(problem, solution.plans),
        capacity=dict(sorted(problem.capacity.items())),
        over_budget={name: usd * _HOUR for name, usd in sorted(solution.over_budget.items())},
        solver=used,
    )


def changed(world: World, suppositions: Sequence[Supposition]) -> World:
    """Alter a world so that the suppositions are true in it, but for those about demand, which is inferred."""
    # Where a drain is under way, the question is where it leads.
    drains = {name: replace(drain, ramp=0.0) for name, drain in world.overrides.drains.items()}
    world = replace(world, overrides=Overrides(drains))
    for supposition in suppositions:
        match supposition.kind:
            case Supposed.PRICE:
                world = _with_cluster(world, _priced(world.policy.clusters[supposition.subject], supposition.value))
            case Supposed.CAPACITY:
                world = _with_cluster(world, _sized(world.policy.clusters[supposition.subject], int(supposition.value)))
            case Supposed.DOWN:
                world = _with_down(world, supposition.subject)
            case Supposed.DRAIN:
                drain = Drain(
                    supposition.subject, world.now, world.now + _A_DAY, reason=supposition.text, owner="what-if"
                )
                world = replace(world, overrides=Overrides({**world.overrides.drains, supposition.subject: drain}))
            case Supposed.DEMAND:
                pass
    return world


def _with_cluster(world: World, cluster: Cluster) -> World:
    clusters = {**world.policy.clusters, cluster.name: cluster}
    return replace(world, policy=replace(world.policy, clusters=clusters))


def _priced(cluster: Cluster, usd: float) -> Cluster:
    # Declared instead of read from a feed: a feed's price may be doubted for a while, and this one is certain.
    cost = cluster.spec.cost.model_copy(update={"usd_per_million_tokens": usd, "feed": None, "key": None})
    return cluster.model_copy(update={"spec": cluster.spec.model_copy(update={"cost": cost})})


def _sized(cluster: Cluster, concurrency: int) -> Cluster:
    capacity = cluster.spec.capacity.model_copy(update={"concurrency": concurrency})
    return cluster.model_copy(update={"spec": cluster.spec.model_copy(update={"capacity": capacity})})


def _with_down(world: World, name: str) -> World:
    endpoints = [endpoint.key for endpoint in world.policy.clusters[name].spec.endpoints]
    failed = EndpointProbe(world.now, 0, _MANY_PROBES, detail="what-if")
    probes = {**world.observations.probes, name: dict.fromkeys(endpoints, failed)}
    previous = world.previous
    if previous is not None:
        # Down already, so that several at once are not taken for a prober that lies.
        down = ClusterHealth(HealthState.DOWN, world.now, 0.0, tuple(sorted(endpoints)), "what-if")
        previous = replace(
            previous,
            health={**previous.health, name: down},
            edge_health={
                region: {**by, name: down} if name in by else by for region, by in previous.edge_health.items()
            },
        )
    edge_probes = {
        region: {**world.observations.edge_probes.get(region, {}), name: probes[name]}
        for region in world.policy.regions()
        if world.policy.clusters[name].spec.health.vantage is Vantage.EDGE
    }
    observations = replace(
        world.observations, probes=probes, edge_probes={**world.observations.edge_probes, **edge_probes}
    )
    return replace(world, observations=observations, previous=previous)


def _with_demand(situation: Situation, suppositions: Sequence[Supposition]) -> Situation:
    rates = dict(situation.demand.rates)
    for supposition in suppositions:
        if supposition.kind is Supposed.DEMAND:
            rates.update(
                {key: rate * supposition.value for key, rate in rates.items() if key.policy == supposition.subject}
            )
    return replace(situation, demand=replace(situation.demand, rates=rates))


def _row(situation: Situation, problem: RowProblem, plan: RowPlan | None) -> RowPlacement:
    if plan is None:
        eligible = situation.eligible[problem.key].clusters
        outcome = Outcome.HELD_ALL_DOWN if eligible else Outcome.REFUSED
        return RowPlacement(problem.demand, {}, outcome, usd_per_hour=0.0, missing_slo=0.0)
    shares = {name: share for name, share in sorted(plan.shares.items()) if share > 0}
    cost = sum(share * problem.cost[name] for name, share in shares.items())
    return RowPlacement(
        demand=problem.demand,
        shares=shares,
        outcome=plan.outcome,
        usd_per_hour=problem.demand * cost * _HOUR,
        missing_slo=sum(share for name, share in shares.items() if name in problem.slow),
        bowed=plan.bowed,
    )


def _load(problem: Problem, plans: Mapping[RowKey, RowPlan]) -> dict[str, float]:
    load = dict.fromkeys(sorted(problem.capacity), 0.0)
    for row in problem.rows:
        plan = plans.get(row.key)
        for name, share in plan.shares.items() if plan is not None else ():
            load[name] += row.demand * share * row.work[name] if share > 0 else 0.0
    return load
