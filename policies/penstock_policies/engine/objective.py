"""What a request is worth avoiding at a cluster: its figure by every measure, and the merit made of them.

A figure is in the measure's own unit. The merit is dimensionless: each figure is divided by the worst of the fleet, so
that the parts of a mix compare, then weighted by its part. ``spread`` has no figure of a single request; solvers charge
it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from penstock_policies.engine.carbon import ClusterCarbon
from penstock_policies.engine.latency import round_trip
from penstock_policies.engine.prices import ClusterPrice
from penstock_policies.engine.tokens import Tokens
from penstock_policies.policyset import PolicySet, distance
from penstock_policies.schema import Cluster
from penstock_policies.words import Measure

FIGURES = (Measure.COST, Measure.LATENCY, Measure.CARBON, Measure.LOCALITY)
"""The measures that a single request has a figure by."""
_FARTHEST = 2.0
"""The greatest distance there is."""
_OUTLIER = 20.0
"""Times the median: one absurd price further out must not shrink all other differences to nothing."""
_LEAST_TOKENS = 1.0
"""Generated tokens a request is taken for at least, so that prices count even where sizes are declared as nothing."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """What is known of every cluster that figures are made of."""

    policy: PolicySet
    prices: Mapping[str, ClusterPrice]
    carbon: Mapping[str, ClusterCarbon]
    idle: Mapping[str, float]
    """Cluster to seconds to the first token when idle; one that does not say is taken for the slowest that does."""


def fleet(policy: PolicySet, prices: Mapping[str, ClusterPrice], carbon: Mapping[str, ClusterCarbon]) -> Fleet:
    """Gather what figures are made of."""
    declared = {name: cluster.spec.latency.ttft_p95 for name, cluster in policy.clusters.items()}
    slowest = max((seconds for seconds in declared.values() if seconds is not None), default=0.0)
    idle = {name: slowest if seconds is None else seconds for name, seconds in declared.items()}
    return Fleet(policy, prices, carbon, idle)


def usd_of_request(
    cluster: Cluster, usd_per_million_tokens: float, tokens: Tokens, prompt_ratio: float | None = None
) -> float:
    """Give what a request costs at marginal price: generated and prompt tokens at theirs, egress on both.

    ``prompt_ratio`` is what a prompt token costs of a generated one where something else than the policy tells.
    """
    cost = cluster.spec.cost
    prompt, output = tokens
    output = max(output, _LEAST_TOKENS) if prompt <= 0 else output
    priced = output + (cost.prompt_price_ratio if prompt_ratio is None else prompt_ratio) * prompt
    return (usd_per_million_tokens * priced + cost.egress_usd_per_million_tokens * (prompt + output)) / 1e6


def figure(measure: Measure, fleet: Fleet, name: str, region: str, *, tokens: Tokens, penalty: float) -> float:
    """Give the figure of a request from an edge of ``region`` at a cluster; less is better.

    USD with the mark-up for distance, seconds to the first token of an idle cluster, grams, steps of distance.
    """
    cluster = fleet.policy.clusters[name]
    match measure:
        case Measure.COST:
            price = fleet.prices[name]
            usd = usd_of_request(cluster, price.usd_per_million_tokens, tokens, price.prompt_ratio)
            return usd * (1 + penalty * distance(region, cluster.spec.region))
        case Measure.LATENCY:
            return round_trip(cluster, region) + fleet.idle[name]
        case Measure.CARBON:
            return fleet.carbon[name].grams_per_million_tokens * max(sum(tokens), _LEAST_TOKENS) / 1e6
        case Measure.LOCALITY:
            return float(distance(region, cluster.spec.region))
        case Measure.SPREAD:
            return 0.0


_NOTHING = 1e-9
"""Of the greatest figure: less is as good as none, and would make figures too great to reckon with."""
_LEAST = 1e-100
"""A figure that tells of nothing real; dividing by it would."""


def scale(measure: Measure, figures: Iterable[float]) -> float:
    """Give the figure that has merit 1: the fleet's worst, unless far out of all proportion; 1 where all are 0."""
    if measure is Measure.LOCALITY:
        return _FARTHEST
    known = list(figures)
    greatest = max(known, default=0.0)
    if greatest < _LEAST:
        return 1.0
    return min(greatest, _OUTLIER * median([one for one in known if one > _NOTHING * greatest]))
