"""All that is known before solving: the stages up to demand, gathered for those that follow."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock_policies.decision import BudgetView, ClusterView, Decision, EngineMemory, HealthState, Note
from penstock_policies.engine.assessment import Assessment, assess
from penstock_policies.engine.budgets import Standing, judge_budgets, standings
from penstock_policies.engine.capacity import Capacities, Tightest, judge_capacity
from penstock_policies.engine.carbon import Carbon, judge_carbon
from penstock_policies.engine.demand import Demand, estimate
from penstock_policies.engine.eligibility import Eligibility, draining, eligibility, narrowed
from penstock_policies.engine.latency import patience
from penstock_policies.engine.objective import usd_of_request
from penstock_policies.engine.pace import learn_paces
from penstock_policies.engine.prices import Prices, judge_prices
from penstock_policies.engine.rebase import rebased
from penstock_policies.engine.returning import counted_slots
from penstock_policies.engine.sanitise import Facts, sanitise, total_load
from penstock_policies.engine.schedule import Wishes, wishes
from penstock_policies.engine.speed import Seen, learn_speed
from penstock_policies.engine.tokens import Counts, Tokens, counted_tokens, mean_tokens, row_tokens
from penstock_policies.engine.trim import learn_trim, limited_clusters
from penstock_policies.engine.work import seen_speeds
from penstock_policies.observations import Observations
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import PolicySet, RowKey


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
    """Cluster to requests in flight it may be planned to carry."""
    demand: Demand
    draining: Mapping[str, float]
    eligible: Mapping[RowKey, Eligibility]
    notes: tuple[Note, ...]
    carbon: Carbon
    capacities: Capacities
    trim: Mapping[str, tuple[float, float]]
    """Cluster to the learnt part of its capacity and when that last changed, where it is below 1."""
    counted: Mapping[str, float]
    """Cluster some of whose endpoints are coming back to the slots counted on so far."""
    token_counts: Mapping[str, Counts]
    """Cluster to what was counted of its tokens."""
    measured: Mapping[str, Tokens]
    """Cluster to tokens of a request there, where measured."""
    seen_speeds: Mapping[str, Seen]
    speed: Mapping[str, tuple[float, float]]
    """Cluster to what is known of its speed when it is not full."""
    tokens: Mapping[RowKey, Tokens]
    """Row to the tokens a request of it is taken for."""
    wishes: Mapping[str, Wishes]
    """Policy to what it wants at this hour."""
    slow: Mapping[tuple[str, str], frozenset[str]]
    """Policy and region of the edge to the clusters that miss the SLO even when idle; missing where none does."""
    stand: Mapping[str, Standing] = field(default_factory=dict)
    """Budget to what is spent."""
    budgets: Mapping[str, BudgetView] = field(default_factory=dict)
    burn: Mapping[str, float] = field(default_factory=dict)
    """Budget to smoothed USD a second."""
    paces: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Cluster priced by time to what is known of its pace when full."""

    def down(self, region: str) -> frozenset[str]:
        """Name the clusters that are down for the rows of a region."""
        seen = self.health.seen_from(region)
        return frozenset(name for name, health in seen.items() if health.state is HealthState.DOWN)

    def eligible_under(self, drains: Mapping[str, float]) -> dict[RowKey, Eligibility]:
        """Tell who might serve every row if these drains were in force, all else being as it is."""
        return _eligible(self.policy, drains, self.wishes, self.stand)

    def memory(self) -> EngineMemory:
        """Gather what the next decision needs to know."""
        return EngineMemory(
            prices=self.prices.good,
            demand=self.demand.smoothed,
            service_time=self.demand.service_time,
            flow=self.demand.flow,
            doubts=self.prices.doubts,
            carbon=self.carbon.good,
            trim=self.trim,
            token_counts=self.token_counts,
            speed=self.speed,
            burn=self.burn,
            mixed=self.demand.mixed,
            recent=self.demand.recent,
            slots=self.counted,
            outcomes=self.health.outcomes,
            edge_outcomes=self.health.edge_outcomes(),
            prompt_ratios=self.prices.ratios,
            paces=self.paces,
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
                limited_by=self.capacities.limited_by[name],
                trim=self.trim.get(name, (1.0, 0.0))[0],
                carbon=self.carbon.clusters[name].grams_per_million_tokens,
                carbon_source=self.carbon.clusters[name].source,
                tokens=self.measured.get(name, (0.0, 0.0)),
                prompt_price_ratio=price.prompt_ratio,
                usd_per_hour=price.usd_per_hour,
            )
            for name, price in self.prices.clusters.items()
        }


def understand(
    policy: PolicySet, observations: Observations, overrides: Overrides, previous: Decision | None, now: float
) -> Situation:
    """Run the stages from sanitise to demand."""
    previous = rebased(previous, now)
    facts = sanitise(policy, observations, now)
    memory = previous.memory if previous is not None else EngineMemory()
    prices = judge_prices(policy, observations, memory, now)
    carbon = judge_carbon(policy, observations, memory, now)
    health = assess(policy, facts, previous, now)
    demand = estimate(policy, facts, previous, now)
    drains = draining(policy, overrides, now)
    wanted = {name: wishes(traffic.spec, now) for name, traffic in sorted(policy.policies.items())}
    stand, spend_notes = standings(policy, observations, previous, now)
    eligible = _eligible(policy, drains, wanted, stand)
    token_counts = counted_tokens(policy, facts, previous, now)
    measured = mean_tokens(token_counts)
    tokens = {key: row_tokens(policy, key, measured, one.clusters, previous) for key, one in eligible.items()}

    seen = seen_speeds(policy, facts, demand, measured, tokens, previous=previous, now=now)

    def cost(key: RowKey, name: str) -> float:
        price = prices.clusters[name]
        return usd_of_request(policy.clusters[name], price.usd_per_million_tokens, tokens[key], price.prompt_ratio)

    budgets = judge_budgets(policy, stand, demand.rates, cost, previous=previous, now=now)
    tightest, slow = _bearing(policy, eligible)
    slos = {name: one.slo for name, one in tightest.items()}
    trim = learn_trim(policy, facts, health.clusters, slos, previous=previous, now=now)
    counted = counted_slots(policy, health.clusters, previous, now)
    capacities = judge_capacity(
        policy,
        health.clusters,
        trim,
        tightest,
        counted=counted,
        service_time=demand.service_time,
        in_flight=_in_flight(policy, facts, now),
        all_heard=demand.recent.keys() <= facts.load.keys(),
        unknown_for=facts.unknown_for,
        limited=limited_clusters(facts, now),
    )
    speed = learn_speed(policy, seen, previous, now)
    notes = (facts, prices, carbon, health, capacities, demand, budgets)
    return Situation(
        policy=policy,
        previous=previous,
        now=now,
        facts=facts,
        prices=prices,
        health=health,
        capacity=capacities.planned,
        demand=demand,
        draining=drains,
        eligible=eligible,
        notes=(*(note for stage in notes for note in stage.notes), *spend_notes),
        carbon=carbon,
        capacities=capacities,
        trim=trim,
        counted=counted,
        token_counts=token_counts,
        measured=measured,
        seen_speeds=seen,
        speed=speed,
        tokens=tokens,
        wishes=wanted,
        slow=slow,
        stand=stand,
        budgets=budgets.views,
        burn=budgets.burn,
        paces=learn_paces(policy, seen, speed, previous, now),
    )


def _in_flight(policy: PolicySet, facts: Facts, now: float) -> dict[str, float]:
    """Give the requests in flight at every cluster that sends answers; an idle one is not short of any."""
    loads = {name: total_load(facts, name, now) for name in policy.clusters}
    return {name: load.in_flight for name, load in loads.items() if load.request_rate > 0}


def _eligible(
    policy: PolicySet, drains: Mapping[str, float], wanted: Mapping[str, Wishes], stand: Mapping[str, Standing]
) -> dict[RowKey, Eligibility]:
    return {
        key: narrowed(policy, key, eligibility(policy, key, drains), wanted[key.policy], stand) for key in policy.rows()
    }


def _bearing(
    policy: PolicySet, eligible: Mapping[RowKey, Eligibility]
) -> tuple[dict[str, Tightest], dict[tuple[str, str], frozenset[str]]]:
    """Give the SLO that bears hardest on every cluster, and the clusters too slow for a policy even when idle.

    An SLO that a cluster cannot keep anyhow bears on nothing: those requests go there only when they must.
    """
    users: dict[tuple[str, str], set[str]] = {}
    for key, one in eligible.items():
        if policy.policies[key.policy].spec.slo.ttft_p95 is not None:
            users.setdefault((key.policy, key.region), set()).update(one.clusters)
    tightest: dict[str, Tightest] = {}
    slow: dict[tuple[str, str], frozenset[str]] = {}
    for (name, region), clusters in sorted(users.items()):
        slo = policy.policies[name].spec.slo.ttft_p95
        if slo is None:
            continue
        left = {cluster: patience(policy.clusters[cluster], region, slo) for cluster in sorted(clusters)}
        missing = frozenset(cluster for cluster, seconds in left.items() if seconds is not None and seconds < 0)
        if missing:
            slow[name, region] = missing
        for cluster, seconds in left.items():
            if seconds is not None and seconds >= 0:
                before = tightest.get(cluster)
                if before is None or seconds < before.patience:
                    tightest[cluster] = Tightest(name, slo, seconds)
    return tightest, slow
