"""How much cheaper an unused cluster would have to be to be used: the solver's reduced costs, as prices.

A reduced cost is merit a request, which counts the mark-up for distance and each kind of token at its own price. What
people see and change is the price of a generated token; so the gap is told as the fall of that price which closes it.
"""

from collections.abc import Mapping
from functools import lru_cache

from penstock_policies.engine.plan import RowProblem
from penstock_policies.engine.situation import Situation
from penstock_policies.policyset import distance

_steps = lru_cache(maxsize=4096)(distance)


def price_gaps(situation: Situation, problem: RowProblem, gaps: Mapping[str, float]) -> dict[str, float]:
    """Give gaps in USD for a million generated tokens; none where the objective is not cost alone."""
    prompt, output = problem.tokens
    if problem.usd_per_merit <= 0 or prompt + output <= 0:
        return {}
    clusters, key = situation.policy.clusters, problem.key
    penalty = situation.wishes[key.policy].objective.distance_penalty
    usd = problem.usd_per_merit * 1e6
    found: dict[str, float] = {}
    for name, gap in gaps.items():
        spec = clusters[name].spec
        told = situation.prices.clusters[name].prompt_ratio
        ratio = spec.cost.prompt_price_ratio if told is None else told
        priced = (output + ratio * prompt) * (1 + penalty * _steps(key.region, spec.region))
        if priced > 0:
            found[name] = gap * usd / priced
    return found
