"""From the situation to the problem that solvers are asked: every wish of a policy as figures."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from penstock_policies.decision import TOTAL_WEIGHT, Move, Row
from penstock_policies.engine.budgets import unaffordable
from penstock_policies.engine.objective import FIGURES, Fleet, figure, fleet, scale, usd_of_request
from penstock_policies.engine.plan import Bound, BudgetLimit, Problem, RowProblem
from penstock_policies.engine.schedule import Wishes, tier_of
from penstock_policies.engine.situation import Situation
from penstock_policies.engine.speed import part_of_full, slower_than_declared
from penstock_policies.engine.versions import canary_bounds
from penstock_policies.engine.work import rated, work_when_full
from penstock_policies.policyset import PolicySet, RowKey, distance
from penstock_policies.steering import ShareRule
from penstock_policies.words import Measure, Site

_MOVE = 0.05
"""What a cheaper cluster must save to displace one in use: moving costs caches, and prices quiver."""
_COUNTED_GAIN = 0.7
"""Of what a cluster that is not full is faster by: the rest is gone whenever a bunch of requests fills it."""
_HOUR = 3600.0

_Figures = Mapping[Measure, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class _Shared:
    """What rows have in common, so that a thousand of them do not each work it out. All by cluster."""

    ceiling: Mapping[str, Mapping[str, float]]
    """By region of the edge first."""
    tier: Mapping[str, Mapping[str, int]]
    """By policy first."""
    unaffordable: Mapping[str, frozenset[str]]
    """Policy to the clusters that a budget of it has no money for."""
    stale: Mapping[str, frozenset[str]]
    """Policy to clusters for which a figure that decides is stale."""
    rated: frozenset[str]
    """Clusters that declare how many tokens they take a second."""
    pace: Mapping[str, float]
    """Of those, what the slot time when full is to be multiplied by."""


def problem_of(situation: Situation) -> Problem:
    """State the problem to be solved."""
    policy = situation.policy
    known = fleet(policy, situation.prices.clusters, situation.carbon.clusters)
    keys = sorted(situation.eligible)
    down = {region: situation.down(region) for region in policy.regions()}
    usable = {
        key: tuple(name for name in situation.eligible[key].clusters if name not in down[key.region]) for key in keys
    }
    measures = _measures(situation)
    usd = {key: _usd(situation, key, usable[key]) for key in keys}
    steps = {
        region: {name: distance(region, cluster.spec.region) for name, cluster in policy.clusters.items()}
        for region in policy.regions()
    }
    figures = {key: _figures(situation, known, key, usd[key], measures, steps=steps[key.region]) for key in keys}
    scales = {
        measure: scale(measure, (one for by in figures.values() for one in by[measure].values()))
        for measure in measures
    }
    shared = _shared(situation)
    return Problem(
        rows=tuple(
            _row_problem(situation, key, usable[key], figures[key], scales, usd=usd[key], shared=shared) for key in keys
        ),
        capacity=situation.capacity,
        full=situation.capacities.full,
        spot=frozenset(name for name, cluster in policy.clusters.items() if cluster.spec.spot is not None),
        on_prem=frozenset(name for name, cluster in policy.clusters.items() if cluster.spec.site is Site.ON_PREM),
        budgets=_limits(situation, usable),
    )


def _measures(situation: Situation) -> tuple[Measure, ...]:
    """List the measures that any policy wants at this hour."""
    wanted = {measure for one in situation.wishes.values() for measure in one.objective.parts}
    return tuple(measure for measure in FIGURES if measure in wanted)


def _usd(situation: Situation, key: RowKey, clusters: tuple[str, ...]) -> dict[str, float]:
    by_name, prices, tokens = situation.policy.clusters, situation.prices.clusters, situation.tokens[key]
    return {
        name: usd_of_request(by_name[name], prices[name].usd_per_million_tokens, tokens, prices[name].prompt_ratio)
        for name in clusters
    }


def _figures(
    situation: Situation,
    known: Fleet,
    key: RowKey,
    usd: Mapping[str, float],
    measures: tuple[Measure, ...],
    *,
    steps: Mapping[str, int],
) -> _Figures:
    penalty = situation.wishes[key.policy].objective.distance_penalty
    tokens = situation.tokens[key]
    return {
        # Most fleets want cost, and large ones would spend most of their time on it were it worked out twice.
        measure: {name: one * (1 + penalty * steps[name]) for name, one in usd.items()}
        if measure is Measure.COST
        else {name: figure(measure, known, name, key.region, tokens=tokens, penalty=penalty) for name in usd}
        for measure in measures
    }


def _row_problem(
    situation: Situation,
    key: RowKey,
    clusters: tuple[str, ...],
    figures: _Figures,
    scales: Mapping[Measure, float],
    *,
    usd: Mapping[str, float],
    shared: _Shared,
) -> RowProblem:
    policy = situation.policy
    spec = policy.policies[key.policy].spec
    wanted = situation.wishes[key.policy]
    parts = wanted.objective.parts
    before = situation.previous.rows.get(key) if situation.previous is not None else None
    held = frozenset[str]() if shared.stale[key.policy].isdisjoint(clusters) else frozenset(clusters)
    incumbent = _incumbent(before, held)
    merit = _merits(clusters, parts, figures, scales)
    tokens = situation.tokens[key]
    return RowProblem(
        key=key,
        data_class=spec.data_class,
        clusters=clusters,
        demand=situation.demand.rates[key],
        work=_works(situation, shared, key, clusters),
        merit=merit,
        cost=usd,
        tokens=tokens,
        tier=shared.tier[key.policy],
        slow=situation.slow.get((key.policy, key.region), frozenset()).intersection(clusters),
        ceiling=_ceilings(
            shared.ceiling[key.region], situation.health.unheard_in(key.region).intersection(clusters), before
        ),
        incumbent=incumbent,
        bounds=_affordable(
            (*_share_bounds(policy, wanted.shares, clusters), *canary_bounds(policy, key, clusters)),
            shared.unaffordable[key.policy],
        ),
        held=held,
        spread=parts.get(Measure.SPREAD, 0.0),
        move_merit=_MOVE * sum(merit.get(name, 0.0) * share for name, share in incumbent.items()),
        usd_per_merit=scales[Measure.COST] if set(parts) == {Measure.COST} else 0.0,
        survive=spec.survive,
    )


def _incumbent(before: Row | None, held: frozenset[str]) -> dict[str, float]:
    """Give the shares that a move starts from: those planned before.

    Held ones are those in force where the row was on its way for merit, for what made that look good is stale.
    """
    if before is None:
        return {}
    if held and before.weights and before.move is Move.COST:
        return {name: weight / TOTAL_WEIGHT for name, weight in before.weights.items()}
    return dict(before.target)


def _ceilings(ceiling: Mapping[str, float], unheard: frozenset[str], before: Row | None) -> Mapping[str, float]:
    """Bound by what they have the clusters of which nothing has been heard for long."""
    if not unheard or before is None or not before.weights:
        return ceiling
    held = {name: before.weights.get(name, 0) / TOTAL_WEIGHT for name in unheard}
    return {**ceiling, **{name: min(ceiling.get(name, 1.0), share) for name, share in held.items()}}


def _merits(
    clusters: tuple[str, ...], parts: Mapping[Measure, float], figures: _Figures, scales: Mapping[Measure, float]
) -> dict[str, float]:
    weights = [(figures[measure], parts[measure] / scales[measure]) for measure in FIGURES if parts.get(measure)]
    return {name: sum(by[name] * weight for by, weight in weights) for name in clusters}


def _works(situation: Situation, shared: _Shared, key: RowKey, clusters: tuple[str, ...]) -> Mapping[str, float]:
    """Give the slot-seconds of a request by cluster. Sizes that are only assumed do not overrule a measured time."""
    if shared.rated.isdisjoint(clusters):
        return situation.demand.service_time
    by_name, seconds, tokens = situation.policy.clusters, situation.demand.service_time, situation.tokens[key]
    sized = not situation.measured.keys().isdisjoint(clusters)
    declared = {
        name: shared.pace[name] * work_when_full(by_name[name], tokens)
        for name in shared.rated.intersection(clusters)
        if sized or name not in situation.demand.flow
    }
    # Rates of one kind of token say nothing of requests that have none of it: embeddings, or answers yet to begin.
    return {name: declared.get(name) or seconds[name] for name in clusters}


def _paces(situation: Situation, names: frozenset[str]) -> dict[str, float]:
    """Give what the slot time of full clusters is to be multiplied by at the load that is planned at most."""
    paces: dict[str, float] = {}
    for name in sorted(names):
        full = situation.capacities.full[name]
        load = situation.capacity[name] / full if full > 0 else 1.0
        slower = slower_than_declared(situation.seen_speeds.get(name))
        gain = 1.0 - part_of_full(situation.speed.get(name), load)
        paces[name] = slower if slower is not None else 1.0 - _COUNTED_GAIN * gain
    return paces


def _shared(situation: Situation) -> _Shared:
    policy = situation.policy
    stale = {name for name, price in situation.prices.clusters.items() if not price.steers}
    sooty = {name for name, carbon in situation.carbon.clusters.items() if not carbon.steers}
    parts = {name: wanted.objective.parts for name, wanted in situation.wishes.items()}
    declared = rated(policy)
    poor = {name: unaffordable(policy, situation.budgets, name) for name in situation.wishes}
    return _Shared(
        ceiling={
            region: {name: health.ceiling for name, health in situation.health.seen_from(region).items()}
            for region in policy.regions()
        },
        tier={
            name: _tiers(situation, wanted, policy.policies[name].spec.clusters, poor[name])
            for name, wanted in situation.wishes.items()
        },
        unaffordable=poor,
        stale={
            name: frozenset((stale if Measure.COST in by else set()) | (sooty if Measure.CARBON in by else set()))
            for name, by in parts.items()
        },
        rated=declared,
        pace=_paces(situation, declared),
    )


def _tiers(situation: Situation, wanted: Wishes, clusters: tuple[str, ...], poor: frozenset[str]) -> dict[str, int]:
    """Give the tiers that the policy prefers; clusters nobody knows the price of come after them all.

    Those that there is no money for come last of all: also for rows without demand, which spend nothing yet and would
    begin to the moment that requests come.
    """
    last = len(wanted.prefer) + 1
    parts = wanted.objective.parts
    cost, carbon = Measure.COST in parts, Measure.CARBON in parts
    return {
        name: last + 1
        if name in poor
        else last
        if (cost and not situation.prices.clusters[name].known)
        or (carbon and not situation.carbon.clusters[name].known)
        else tier_of(wanted.prefer, situation.policy.clusters[name])
        for name in clusters
    }


def _share_bounds(policy: PolicySet, rules: tuple[ShareRule, ...], clusters: tuple[str, ...]) -> tuple[Bound, ...]:
    bounds: list[Bound] = []
    for rule in rules:
        members = frozenset(
            name for name in clusters if rule.cluster == name or rule.site == policy.clusters[name].spec.site
        )
        if members:
            bounds.append(Bound(members, rule.floor, rule.ceiling, _why(rule)))
    return tuple(bounds)


def _affordable(bounds: tuple[Bound, ...], poor: frozenset[str]) -> tuple[Bound, ...]:
    """Lift floors from clusters that there is no money for; what else they bind must then keep them alone.

    Ceilings stay: none of them spends anything by itself, and that of a canary protects users.
    """
    kept: list[Bound] = []
    for bound in bounds:
        if bound.floor <= 0 or poor.isdisjoint(bound.clusters):
            kept.append(bound)
            continue
        kept.append(replace(bound, floor=0.0))
        if left := bound.clusters - poor:
            kept.append(replace(bound, clusters=left))
    return tuple(kept)


def _why(rule: ShareRule) -> str:
    whom = f"cluster {rule.cluster}" if rule.cluster is not None else f"site {rule.site}"
    if rule.pin is not None:
        return f"pin {rule.pin:.4g} of {whom}"
    names = [name for name, value in (("minShare", rule.min_share), ("maxShare", rule.max_share)) if value is not None]
    return f"{' and '.join(names)} of {whom}"


def _limits(situation: Situation, usable: Mapping[RowKey, tuple[str, ...]]) -> tuple[BudgetLimit, ...]:
    """State the limits of the budgets that are paced or exhausted."""
    policy = situation.policy
    limits: list[BudgetLimit] = []
    for name, view in sorted(situation.budgets.items()):
        if view.limit is None:
            continue
        scope = policy.budgets[name].spec.scope
        paid = frozenset(
            cluster
            for cluster, each in policy.clusters.items()
            if scope.cluster in {None, cluster} and scope.site in {None, each.spec.site}
        )
        members = {
            key: frozenset(clusters) & paid
            for key, clusters in usable.items()
            if scope.policy in {None, key.policy} and not paid.isdisjoint(clusters)
        }
        limits.append(BudgetLimit(name, view.limit / _HOUR, members))
    return tuple(limits)
