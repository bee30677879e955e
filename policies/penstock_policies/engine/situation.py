"""All that is known before solving: the stages up to demand, gathered for those that follow."""

from collections.abc import Mapping
from dataclasses import dataclass

from penstock_policies.decision import ClusterView, Decision, EngineMemory, HealthState, Note
from penstock_policies.engine.capacity import planned_capacity
from penstock_policies.engine.demand import Demand, estimate
from penstock_policies.engine.eligibility import Eligibility, draining, eligibility
from penstock_policies.engine.health import Assessment, assess
from penstock_policies.engine.plan import Problem, RowProblem
from penstock_policies.engine.prices import Prices, judge_prices
from penstock_policies.engine.sanitise import Facts, sanitise, total_load
from penstock_policies.observations import Observations
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import PolicySet, RowKey, distance
from penstock_policies.words import Site


@dataclass(frozen=True, slots=True)
class Situation:
    """The inputs, understood."""

    policy: PolicySet
    previous: Decision | None
    now: float
    facts: Facts
    prices: Prices
    health: Assessment
    capacity: Mapping[str, float]
    demand: Demand
    draining: Mapping[str, float]
    eligible: Mapping[RowKey, Eligibility]
    notes: tuple[Note, ...]

    def down(self) -> frozenset[str]:
        """Name the clusters that are down."""
        return frozenset(name for name, health in self.health.clusters.items() if health.state is HealthState.DOWN)

    def memory(self) -> EngineMemory:
        """Gather what the next decision needs to know."""
        return EngineMemory(
            prices=self.prices.good,
            demand=self.demand.smoothed,
            service_time=self.demand.service_time,
            flow=self.demand.flow,
            doubts=self.prices.doubts,
        )

    def views(self) -> dict[str, ClusterView]:
        """Show what was used for every cluster."""
        return {
            name: ClusterView(
                price=price.usd_per_million_tokens,
                price_source=price.source,
                price_age=price.age,
                in_flight=total_load(self.facts, name, self.now).in_flight,
                capacity=self.capacity[name],
            )
            for name, price in self.prices.clusters.items()
        }


def understand(
    policy: PolicySet, observations: Observations, overrides: Overrides, previous: Decision | None, now: float
) -> Situation:
    """Run the stages from sanitise to demand."""
    facts = sanitise(policy, observations, now)
    memory = previous.memory if previous is not None else EngineMemory()
    prices = judge_prices(policy, observations, memory, now)
    health = assess(policy, facts, previous, now)
    capacity, capacity_notes = planned_capacity(policy, health.clusters)
    demand = estimate(policy, facts, previous, now)
    drains = draining(policy, overrides, now)
    return Situation(
        policy=policy,
        previous=previous,
        now=now,
        facts=facts,
        prices=prices,
        health=health,
        capacity=capacity,
        demand=demand,
        draining=drains,
        eligible={key: eligibility(policy, key, drains) for key in policy.rows()},
        notes=(*facts.notes, *prices.notes, *health.notes, *capacity_notes, *demand.notes),
    )


def problem_of(situation: Situation) -> Problem:
    """State the problem to be solved."""
    return Problem(
        rows=tuple(_row_problem(situation, key) for key in sorted(situation.eligible)),
        capacity=situation.capacity,
        service_time=situation.demand.service_time,
    )


def _row_problem(situation: Situation, key: RowKey) -> RowProblem:
    policy = situation.policy
    traffic = policy.policies[key.policy]
    down = situation.down()
    clusters = tuple(name for name in situation.eligible[key].clusters if name not in down)
    prices = {name: situation.prices.clusters[name] for name in clusters}
    before = situation.previous.rows.get(key) if situation.previous is not None else None
    penalty = traffic.spec.objective.distance_penalty
    return RowProblem(
        key=key,
        data_class=traffic.spec.data_class,
        clusters=clusters,
        on_prem=frozenset(name for name in clusters if policy.clusters[name].spec.site is Site.ON_PREM),
        cost={
            name: price.usd_per_million_tokens * (1 + penalty * distance(key.region, policy.clusters[name].spec.region))
            for name, price in prices.items()
        },
        ceiling={name: situation.health.clusters[name].ceiling for name in clusters},
        demand=situation.demand.rates[key],
        incumbent=dict(before.target) if before is not None else {},
        hold_split=any(not price.steers for price in prices.values()),
    )
