"""What machines' time and electricity cost, as prices of tokens: the hour of a full cluster, over its tokens.

``USD/Mtok = USD/hour * 1e6 / (tokens/s * 3600)``. The hour is the figure times the machines or GPUs of the cluster; of
electricity it is the power that work adds, for what an idle cluster draws is paid anyhow. Electricity may be so
abundant that one is paid to use it: that makes tokens free, and never worth making for themselves.

A prompt token costs the part of a generated one that it takes of the cluster's time, unless the policy says otherwise:
with both rates declared, the bill of a full cluster then comes out whatever the mix.
"""

from dataclasses import dataclass

from penstock_policies.engine.pace import pace_of
from penstock_policies.feeds import Basis
from penstock_policies.schema import Cluster

_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class TokenPrice:
    """A price of tokens that was one of something else."""

    usd_per_million_tokens: float
    prompt_ratio: float | None
    told: str
    """What it was made of, for people."""
    usd_per_hour: float | None
    """What the whole cluster costs an hour, full or not; None of electricity, which idle machines are not billed by."""


def usd_per_million(cluster: Cluster, basis: Basis) -> float | None:
    """Give what a million generated tokens cost at 1 USD for the basis, at declared rates; None: not declared.

    The loader refuses a policy in which a cluster misses what its price needs.
    """
    units, rate = _units(cluster, basis), cluster.spec.capacity.tokens_per_second
    return None if units is None or rate is None else units * 1e6 / (rate * _SECONDS)


def of_tokens(cluster: Cluster, basis: Basis, figure: float, known: tuple[float, float] | None) -> TokenPrice | None:
    """Turn a figure into a price of tokens by what is declared and was learnt of the cluster's pace."""
    per_million, rate = usd_per_million(cluster, basis), cluster.spec.capacity.tokens_per_second
    if per_million is None or rate is None:
        return None
    pace, measured = pace_of(known)
    prompt_rate = cluster.spec.capacity.prompt_tokens_per_second
    told = (
        f"{figure:.4g} USD/{basis}{_times(cluster, basis)} at {rate / pace:.0f} tokens/s "
        f"{'measured' if measured else 'declared'}"
    )
    return TokenPrice(
        max(0.0, figure) * per_million * pace,
        rate / prompt_rate if prompt_rate is not None and cluster.spec.cost.declared_prompt_ratio is None else None,
        told,
        None if basis is Basis.KWH else figure * (_units(cluster, basis) or 0.0),
    )


def _units(cluster: Cluster, basis: Basis) -> float | None:
    """Give how many of the basis an hour of the full cluster takes."""
    if basis is Basis.GPU_HOUR:
        return cluster.spec.capacity.gpus
    if basis is Basis.KWH:
        return cluster.spec.power.marginal_kw if cluster.spec.power is not None else None
    return cluster.spec.capacity.instances


def _times(cluster: Cluster, basis: Basis) -> str:
    units = _units(cluster, basis)
    return "" if units is None or units == 1 else f" x {units:.4g}{' kW' if basis is Basis.KWH else ''}"
