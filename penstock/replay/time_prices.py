"""Prices of machines' time and of electricity in a replay: turned into prices of tokens once, at declared rates.

A replay moves prices of tokens alone, by key or cluster. So a cluster priced by time is taken for one that declares
what that comes to at the start, and is moved by its own name.
"""

from collections.abc import Mapping
from dataclasses import replace

from penstock_policies.engine.conversion import of_tokens
from penstock_policies.feeds import Basis
from penstock_policies.observations import Rate
from penstock_policies.policyset import PolicySet
from penstock_policies.schema import Cluster


def with_token_prices(policy: PolicySet, rates: Mapping[str, Mapping[str, Rate]]) -> tuple[PolicySet, tuple[str, ...]]:
    """Give the policy with such prices declared, and what is worth a warning."""
    clusters, told = dict(policy.clusters), []
    for name, cluster in policy.clusters.items():
        basis = _basis(policy, cluster)
        if basis is Basis.TOKENS:
            continue
        cost = cluster.spec.cost
        rate = rates.get(cost.feed or "", {}).get(cost.key or "")
        price = None if rate is None else of_tokens(cluster, basis, rate.usd, None)
        changed: dict[str, object] = {"feed": None, "key": None}
        if price is None:
            changed["usd_per_million_tokens"] = cost.usd_per_million_tokens or 0.0
        else:
            changed["usd_per_million_tokens"] = price.usd_per_million_tokens
            if price.prompt_ratio is not None:
                changed["prompt_price_ratio"] = price.prompt_ratio
        told.append(
            f"{name} is priced by the {basis}: taken for {changed['usd_per_million_tokens']:.4g} USD/Mtok throughout"
            + (", as its feed is not read" if price is None else "")
        )
        spec = cluster.spec.model_copy(update={"cost": cost.model_copy(update=changed)})
        clusters[name] = cluster.model_copy(update={"spec": spec})
    return (replace(policy, clusters=clusters) if told else policy), tuple(told)


def _basis(policy: PolicySet, cluster: Cluster) -> Basis:
    cost = cluster.spec.cost
    feed = policy.feeds.get(cost.feed) if cost.feed is not None else None
    return Basis.TOKENS if feed is None or cost.key is None else feed.spec.basis_of(cost.key)
