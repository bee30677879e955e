"""What requests cost at the prices of a decision, and what they would have cost elsewhere. Pure.

The price of a request is the engine's own (:func:`~penstock_policies.engine.objective.usd_of_request`), which is linear
in tokens: a tariff keeps what a prompt token and a generated one cost at each cluster. What the same tokens would have
cost on-prem, or in the cloud, is told by the cheapest cluster of that kind that may lawfully serve the row: named by
the policy, serving the model in a version it allows, allowed by residency. Whether it had room is not asked, nor its
health. Where there is no such cluster the actual cost stands in, and is told as kept.

A tariff holds no decision: they are large, and the ledger keeps some seconds' worth of tariffs.
"""

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

from penstock.signals.usage import Usage, UsageKey
from penstock.state.ledger import AccrualKey, Accrued, Amounts, LedgerKey
from penstock_policies.decision import TOTAL_WEIGHT, Decision
from penstock_policies.engine.objective import usd_of_request
from penstock_policies.engine.versions import wrong_version
from penstock_policies.policyset import ANY_MODEL, PolicySet, RowKey
from penstock_policies.words import Site

_HOUR: Final = 3600.0

Sizes = tuple[float, float]
"""Prompt and generated tokens of a request."""


class Unit(NamedTuple):
    """What tokens cost at a cluster, and where it is."""

    prompt: float
    """USD for a prompt token, egress included."""
    output: float
    """USD for a generated token, egress included."""
    ratio: float
    """What a prompt token costs, as a share of what a generated one does."""
    sizes: Sizes
    """What a request there is taken for, where its row does not say."""
    site: Site
    region: str

    def usd(self, prompt: float, output: float) -> float:
        """Price tokens."""
        return self.prompt * prompt + self.output * output


class Flow(NamedTuple):
    """Requests that a decision sends from a row to a cluster."""

    row: RowKey
    cluster: str
    rate: float
    """A second."""
    sizes: Sizes


class Elsewhere(NamedTuple):
    """Which clusters may serve a row, by the kind of their site."""

    on_prem: tuple[str, ...]
    cloud: tuple[str, ...]


class Tariff:
    """The prices and believed sizes of one decision. Immutable but for what it remembers of answers already given."""

    def __init__(self, policy: PolicySet, decision: Decision, before: "Tariff | None" = None) -> None:
        """``before``, of the same policy set, lends what does not change with prices."""
        self.policy: Final = policy
        self.units: Final[Mapping[str, Unit]] = _units(policy, decision)
        self._hourly: Final[Mapping[str, float]] = {
            name: view.usd_per_hour
            for name, view in decision.clusters.items()
            if view.usd_per_hour is not None and _amount(view.usd_per_hour)
        }
        self._sizes: Final[Mapping[RowKey, Sizes]] = {key: _sane(row.tokens) for key, row in decision.rows.items()}
        self._offers: dict[tuple[str, ...], tuple[Unit, ...]] = {}
        """Clusters to those of them that may be the cheapest of all for some mix of tokens."""
        self._elsewhere: dict[RowKey, Elsewhere] = {}
        if before is not None and before.policy is policy:
            self._elsewhere = before._elsewhere  # noqa: SLF001 - of this class

    def knows(self, key: UsageKey) -> bool:
        """Tell whether what the key names is priced here."""
        return key.policy in self.policy.policies and (not key.cluster or key.cluster in self.units)

    def accruing(self) -> dict[AccrualKey, Accrued]:
        """Give what each cluster that is paid by the hour comes to in a second, used or not.

        What the policy declares is all in, and outranks a feed's price of machines' time.
        """
        accrued: dict[AccrualKey, Accrued] = {}
        for name, cluster in self.policy.clusters.items():
            spec = cluster.spec
            usd = spec.cost.amortized_usd_per_hour
            usd = self._hourly.get(name) if usd is None else usd
            if usd is not None:
                accrued[AccrualKey(0, name, spec.site, spec.region)] = Accrued(1.0, usd / _HOUR)
        return accrued

    def estimated(self, flow: Flow) -> tuple[LedgerKey, Amounts]:
        """Give what a flow comes to in a second; the bucket is the caller's to fill in."""
        prompt, output = (flow.rate * size for size in flow.sizes)
        usd = flow.rate * self.units[flow.cluster].usd(*priced(flow.sizes))
        on_prem, on_prem_kept, cloud, cloud_kept = self._what_if(flow.row, flow.cluster, prompt, output, usd)
        told = Amounts(
            requests=flow.rate,
            prompt_tokens=prompt,
            output_tokens=output,
            usd=usd,
            work=self._work(flow.cluster, prompt, output),
            estimated_requests=flow.rate,
            estimated_tokens=prompt + output,
            estimated_usd=usd,
            on_prem_usd=on_prem,
            on_prem_kept_usd=on_prem_kept,
            cloud_usd=cloud,
            cloud_kept_usd=cloud_kept,
        )
        return self._key(flow.row, flow.cluster), told

    def measured(self, key: UsageKey, usage: Usage) -> tuple[LedgerKey, Amounts]:
        """Give what counted requests came to; those that did not say their tokens are taken for believed sizes.

        The key must be one that is known (:meth:`knows`).
        """
        row = self._row(key)
        if not key.cluster:
            counted = Amounts(requests=usage.requests, failed=usage.failed, unmetered=usage.unmetered)
            return self._key(row, ""), counted
        sizes = self._sizes.get(row, (0.0, 0.0))
        sizes = sizes if any(sizes) else self.units[key.cluster].sizes
        guessed = tuple(usage.unmetered * size for size in sizes)
        guessed_usd = usage.unmetered * self.units[key.cluster].usd(*priced(sizes))
        prompt, output = usage.prompt_tokens + guessed[0], usage.output_tokens + guessed[1]
        cached = min(usage.cached_prompt_tokens, usage.prompt_tokens)
        usd = self.units[key.cluster].usd(usage.prompt_tokens, usage.output_tokens) + guessed_usd
        on_prem, on_prem_kept, cloud, cloud_kept = self._what_if(row, key.cluster, prompt, output, usd)
        told = Amounts(
            requests=usage.requests,
            failed=usage.failed,
            unmetered=usage.unmetered,
            prompt_tokens=prompt,
            cached_prompt_tokens=cached,
            output_tokens=output,
            usd=usd,
            work=self._work(key.cluster, prompt - cached, output),
            estimated_tokens=sum(guessed),
            estimated_usd=guessed_usd,
            on_prem_usd=on_prem,
            on_prem_kept_usd=on_prem_kept,
            cloud_usd=cloud,
            cloud_kept_usd=cloud_kept,
        )
        return self._key(row, key.cluster), told

    def _row(self, key: UsageKey) -> RowKey:
        """Find the row; models outside the policy are all one, lest callers make up rows without end."""
        named = RowKey(key.policy, key.region, key.model or ANY_MODEL)
        return named if named in self._sizes else RowKey(key.policy, key.region, ANY_MODEL)

    def _key(self, row: RowKey, cluster: str) -> LedgerKey:
        data_class = self.policy.policies[row.policy].spec.data_class
        unit = self.units.get(cluster)
        site, region = ("", "") if unit is None else (unit.site, unit.region)
        return LedgerKey(0, row.policy, data_class, row.model, cluster, site, region, row.region)

    def _work(self, cluster: str, prompt: float, output: float) -> float:
        return output + self.units[cluster].ratio * prompt

    def _what_if(
        self, row: RowKey, cluster: str, prompt: float, output: float, usd: float
    ) -> tuple[float, float, float, float]:
        """Give what it would have cost on-prem, and how much of that is kept; then the same of the cloud."""
        elsewhere = self._elsewhere.get(row)
        if elsewhere is None:
            elsewhere = self._elsewhere[row] = self._lawful(row)
        site = self.units[cluster].site
        on_prem = self._cheapest(elsewhere.on_prem, prompt, output)
        cloud = self._cheapest(elsewhere.cloud, prompt, output)
        return (*_or_kept(on_prem, usd, here=site is Site.ON_PREM), *_or_kept(cloud, usd, here=site is Site.CLOUD))

    def _cheapest(self, names: tuple[str, ...], prompt: float, output: float) -> float | None:
        """Price tokens where they are cheapest; None for nowhere."""
        offers = self._offers.get(names)
        if offers is None:
            offers = self._offers[names] = _undominated([self.units[name] for name in names if name in self.units])
        return min([unit.prompt * prompt + unit.output * output for unit in offers]) if offers else None

    def _lawful(self, row: RowKey) -> Elsewhere:
        """Find who may serve a row; nobody for one that no decision was made on."""
        if row not in self._sizes:
            return Elsewhere((), ())
        names = [n for n in self.policy.lawful(row).clusters if wrong_version(self.policy, row, n) is None]
        sites = {name: self.policy.clusters[name].spec.site for name in names}
        return Elsewhere(
            tuple(name for name in names if sites[name] is Site.ON_PREM),
            tuple(name for name in names if sites[name] is Site.CLOUD),
        )


def flows(tariff: Tariff, decision: Decision) -> list[Flow]:
    """List what a decision sends where.

    Figures that are no amounts (the engine never decides on such) count for nothing. A row without request sizes,
    which a fallback has decided, is taken for what its clusters measure.
    """
    found: list[Flow] = []
    for key, row in decision.rows.items():
        if not _amount(row.demand) or row.demand == 0 or key.policy not in tariff.policy.policies:
            continue
        sized = any(_sane(row.tokens))
        for name, weight in row.weights.items():
            unit = tariff.units.get(name)
            if weight <= 0 or unit is None:
                continue
            sizes = row.tokens if sized else unit.sizes
            found.append(Flow(key, name, row.demand * weight / TOTAL_WEIGHT, sizes))
    return found


def priced(sizes: Sizes) -> Sizes:
    """Give the tokens that a request of these sizes is charged for: at least one, as the engine has it."""
    prompt, output = sizes
    return (prompt, max(output, 1.0)) if prompt <= 0 else sizes


def _or_kept(elsewhere: float | None, usd: float, *, here: bool) -> tuple[float, float]:
    """Give what it would have cost, and how much of that is actual cost kept for want of anybody else."""
    if here:
        # It is there already; a drain or an edit may since have made its own cluster unlawful.
        return (usd if elsewhere is None else min(elsewhere, usd)), 0.0
    return (usd, usd) if elsewhere is None else (elsewhere, 0.0)


def _undominated(units: list[Unit]) -> tuple[Unit, ...]:
    """Leave out those that another is cheaper than, or as cheap, for either kind of token."""
    left: list[Unit] = []
    for unit in sorted(units, key=lambda each: (each.prompt, each.output)):
        if not left or unit.output < left[-1].output:
            left.append(unit)
    return tuple(left)


def _units(policy: PolicySet, decision: Decision) -> dict[str, Unit]:
    units: dict[str, Unit] = {}
    for name, view in decision.clusters.items():
        cluster = policy.clusters.get(name)
        if cluster is None or not _amount(view.price):
            continue
        told = view.prompt_price_ratio
        units[name] = Unit(
            prompt=usd_of_request(cluster, view.price, (1.0, 0.0), told),
            output=usd_of_request(cluster, view.price, (0.0, 1.0), told),
            ratio=cluster.spec.cost.prompt_price_ratio if told is None else told,
            sizes=_sane(view.tokens),
            site=cluster.spec.site,
            region=cluster.spec.region,
        )
    return units


def _sane(sizes: Sizes) -> Sizes:
    """Take sizes that are no amounts for unknown: one NaN in a sum would never leave it again."""
    return sizes if _amount(sizes[0]) and _amount(sizes[1]) else (0.0, 0.0)


def _amount(figure: float) -> bool:
    return math.isfinite(figure) and figure >= 0
