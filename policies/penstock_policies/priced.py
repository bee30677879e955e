"""Can a cluster be priced by the feed it names? Keys that the feed gives, and what turns its figures into tokens."""

from collections.abc import Iterator
from typing import Final

from penstock_policies.catalogue import Catalogue, Written
from penstock_policies.feeds import Basis
from penstock_policies.problems import Path, Problem, listed, shown
from penstock_policies.schema import Cluster, ClusterSpec
from penstock_policies.suggestions import closest

_COST: Path = ("spec", "cost")

_ONE: Final = {Basis.GPU_HOUR: "a GPU-hour", Basis.HOUR: "an hour", Basis.KWH: "a kWh"}


def check_key(catalogue: Catalogue, cluster: Written[Cluster]) -> Iterator[Problem]:
    """Refuse a key that the feed will never give, whatever it answers, and a price that never becomes one of tokens."""
    spec = cluster.document.spec
    cost = spec.cost
    feed = catalogue.feeds.get(cost.feed) if cost.feed is not None else None
    if feed is None or cost.key is None:
        return
    keys = feed.document.spec.keys
    if keys and cost.key not in keys:
        yield cluster.problem(
            (*_COST, "key"),
            f"the CostFeed {shown(feed.name)} gives no price for {shown(cost.key)}",
            expected=f"one of {listed(sorted(set(keys)))}",
            suggestion=closest(cost.key, keys),
        )
        return
    basis = feed.document.spec.basis_of(cost.key)
    if basis is not Basis.TOKENS:
        yield from _convertible(cluster, spec, basis)


def _convertible(cluster: Written[Cluster], spec: ClusterSpec, basis: Basis) -> Iterator[Problem]:
    capacity = spec.capacity
    needed = {"capacity.tokensPerSecond": capacity.tokens_per_second is not None}
    if basis is Basis.GPU_HOUR:
        needed["capacity.gpus"] = capacity.gpus is not None
    if basis is Basis.KWH:
        needed["power"] = spec.power is not None
    missing = [name for name, there in needed.items() if not there]
    if missing:
        yield cluster.problem(
            (*_COST, "key"),
            f"the feed's figure is a price of {_ONE[basis]}, which is not turned into one of tokens without "
            f"{' and '.join(missing)}",
            expected=" and ".join(f"spec.{name}" for name in missing),
        )
    elif capacity.prompt_tokens_per_second is None and spec.cost.declared_prompt_ratio is None:
        yield cluster.warning(
            (*_COST, "key"),
            f"the feed's figure is a price of {_ONE[basis]}, and nothing says how much of it a prompt token takes: as "
            f"much as a generated one",
            expected="spec.capacity.promptTokensPerSecond, or spec.cost.promptPriceRatio",
        )
