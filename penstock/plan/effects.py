"""What an outlook costs and how it serves: money, requests at risk of missing their target, load of the clusters.

By the solver's own figures: marginal prices with egress, the work of a request, capacity less headroom and what the
tightest target takes. Everything is for the shares the weights come to rest at.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from penstock.plan.outlook import Outlook
from penstock_policies.decision import BudgetView
from penstock_policies.engine.budgets import in_scope
from penstock_policies.engine.latency import round_trip, wait95
from penstock_policies.engine.plan import RowProblem
from penstock_policies.schema import Budget

_HOUR = 3600.0
_MILLION = 1e6
LEAST_USD = 0.005
"""Less rounds to nothing."""
_BUDGET_ROUNDING = 1e-3
"""A part of a budget's amount: a paced forecast lies that close to it either way."""
_NOTICEABLE = 0.05
"""Of a row: a smaller share does not move its 95th percentile by itself."""


@dataclass(frozen=True, slots=True)
class PolicyFigures:
    """How one policy's traffic fares. Its rows count by their requests, or alike while none is measured."""

    requests: float
    """A second."""
    usd_per_hour: float
    usd_per_million_tokens: float
    at_risk: float
    """The part of its requests (0 to 1) sent to clusters that miss its target even when idle, or beyond what they are
    planned to carry."""
    ttft_p95: float | None
    """Expected seconds to the first token that 95 of 100 requests stay under, at the slowest place that gets a
    noticeable share; infinite where more comes than can be served, None where no such place says how fast it is."""
    refused: float
    """The part of its requests (0 to 1) that no cluster may serve."""
    grams_per_hour: float
    """CO2 equivalent, as far as declared or fed."""


@dataclass(frozen=True, slots=True)
class ClusterFigures:
    """How full one cluster would be."""

    load: float
    """Requests in flight."""
    capacity: float
    """Requests in flight it is planned to carry at most."""
    limited_by: str
    """What keeps that below the declared concurrency, in words."""


@dataclass(frozen=True, slots=True)
class BudgetFigures:
    """How one budget stands."""

    amount: float
    """USD a period."""
    spent: float
    """USD in this period so far."""
    exhausted: bool
    usd_per_hour: float = 0.0
    """What its traffic costs at the shares the weights come to rest at."""
    pace: float = 0.0
    """USD an hour that would last to the period's end."""
    forecast: float = 0.0
    """USD spent by then at those shares."""
    price: float = 0.0
    """What one more dollar would save, in dollars: above 0 where it keeps traffic from where the plan wants it."""

    @property
    def holds_back(self) -> bool:
        """Whether it keeps traffic from clusters that the plan would rather use, now or by and by."""
        return self.price >= LEAST_USD or self.usd_per_hour > self.pace + LEAST_USD


def newly_overrun(before: BudgetFigures | None, after: BudgetFigures) -> bool:
    """Whether the forecast comes to pass the amount, or to pass it by more than it does already."""
    already = 0.0 if before is None else max(0.0, before.forecast - before.amount)
    return after.forecast - after.amount > already + _BUDGET_ROUNDING * after.amount


@dataclass(frozen=True, slots=True)
class Figures:
    """The whole fleet."""

    policies: Mapping[str, PolicyFigures]
    clusters: Mapping[str, ClusterFigures]
    budgets: Mapping[str, BudgetFigures]
    amortized_usd_per_hour: float
    """What the clusters cost whether used or not, as far as declared."""

    @property
    def usd_per_hour(self) -> float:
        """What all policies' requests cost at marginal prices."""
        return sum(figures.usd_per_hour for figures in self.policies.values())

    @property
    def grams_per_hour(self) -> float:
        """CO2 equivalent of all policies' requests."""
        return sum(figures.grams_per_hour for figures in self.policies.values())

    @property
    def requests(self) -> float:
        """Requests a second of all policies."""
        return sum(figures.requests for figures in self.policies.values())


@dataclass(frozen=True, slots=True)
class _RowFigures:
    demand: float
    usd: float
    """A request."""
    tokens: float
    """A request."""
    grams: float
    """CO2 equivalent of a request."""
    at_risk: float
    ttft_p95: float | None
    refused: float


def figures(outlook: Outlook) -> Figures:
    """Work out what an outlook costs and how it serves."""
    clusters = _clusters(outlook)
    rows: dict[str, list[_RowFigures]] = {name: [] for name in sorted(outlook.policy.policies)}
    for row in outlook.problem.rows:
        rows[row.key.policy].append(_row(row, outlook, clusters))
    fixed = (cluster.spec.cost.amortized_usd_per_hour for cluster in outlook.policy.clusters.values())
    return Figures(
        policies={name: _policy(found) for name, found in rows.items()},
        clusters=clusters,
        budgets=_budgets(outlook),
        amortized_usd_per_hour=sum(usd or 0.0 for usd in fixed),
    )


def _budgets(outlook: Outlook) -> dict[str, BudgetFigures]:
    return {
        name: _budget(outlook, outlook.policy.budgets[name], view)
        for name, view in sorted(outlook.decision.budgets.items())
        if name in outlook.policy.budgets
    }


def _budget(outlook: Outlook, budget: Budget, view: BudgetView) -> BudgetFigures:
    # Not by the view's own rate, which is of the weights in force: an edit shows in what it leads to.
    usd = _HOUR * sum(
        row.demand * share * row.cost.get(name, 0.0)
        for row in outlook.problem.rows
        for name, share in outlook.shares(row.key).items()
        if in_scope(outlook.policy, budget, row.key.policy, name)
    )
    rest = max(1.0, view.period_end - outlook.decision.at) / _HOUR
    return BudgetFigures(
        amount=view.amount,
        spent=view.spent,
        exhausted=view.exhausted,
        usd_per_hour=usd,
        pace=max(0.0, view.amount - view.spent) / rest,
        forecast=view.spent + usd * rest,
        price=view.price,
    )


def _clusters(outlook: Outlook) -> dict[str, ClusterFigures]:
    load = dict.fromkeys(sorted(outlook.policy.clusters), 0.0)
    for row in outlook.problem.rows:
        for name, share in outlook.shares(row.key).items():
            load[name] += row.demand * share * row.work.get(name, 0.0)
    capacity, views = outlook.problem.capacity, outlook.decision.clusters
    return {
        name: ClusterFigures(amount, capacity.get(name, 0.0), views[name].limited_by) for name, amount in load.items()
    }


def _row(row: RowProblem, outlook: Outlook, clusters: Mapping[str, ClusterFigures]) -> _RowFigures:
    shares, views = outlook.shares(row.key), outlook.decision.clusters
    tokens = sum(row.tokens)
    return _RowFigures(
        demand=row.demand,
        usd=sum(share * row.cost.get(name, 0.0) for name, share in shares.items()),
        tokens=tokens,
        grams=sum(share * views[name].carbon * tokens / _MILLION for name, share in shares.items()),
        at_risk=sum(share * (1.0 if name in row.slow else _excess(clusters[name])) for name, share in shares.items()),
        ttft_p95=_ttft(row, outlook, clusters),
        refused=0.0 if shares else 1.0,
    )


def _ttft(row: RowProblem, outlook: Outlook, clusters: Mapping[str, ClusterFigures]) -> float | None:
    times: list[float] = []
    for name, share in outlook.shares(row.key).items():
        cluster, full = outlook.policy.clusters[name], outlook.problem.full.get(name, 0.0)
        idle = cluster.spec.latency.ttft_p95
        if share >= _NOTICEABLE and idle is not None and name in row.work:
            utilisation = clusters[name].load / full if full > 0 else math.inf
            waited = wait95(utilisation, full, row.work[name])
            times.append(round_trip(cluster, row.key.region) + idle + waited)
    return max(times, default=None)


def _excess(cluster: ClusterFigures) -> float:
    """Find the part of a cluster's load that is beyond what it is planned to carry."""
    if cluster.load <= cluster.capacity or cluster.load <= 0:
        return 0.0
    return 1.0 - cluster.capacity / cluster.load


def _policy(rows: Iterable[_RowFigures]) -> PolicyFigures:
    found = list(rows)
    demand = sum(row.demand for row in found)
    weights = [row.demand / demand if demand > 0 else 1 / len(found) for row in found]
    weighted = list(zip(weights, found, strict=True))
    usd = sum(weight * row.usd for weight, row in weighted)
    # A refused request has no tokens that could be priced.
    tokens = sum(weight * row.tokens for weight, row in weighted if not row.refused)
    return PolicyFigures(
        requests=demand,
        usd_per_hour=usd * demand * _HOUR,
        usd_per_million_tokens=usd / tokens * _MILLION if tokens > 0 else 0.0,
        at_risk=sum(weight * row.at_risk for weight, row in weighted),
        ttft_p95=max((row.ttft_p95 for weight, row in weighted if weight and row.ttft_p95 is not None), default=None),
        refused=sum(weight * row.refused for weight, row in weighted),
        grams_per_hour=sum(row.demand * row.grams for row in found) * _HOUR,
    )
