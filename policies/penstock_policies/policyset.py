"""A whole, checked policy directory as one immutable value, and the questions everybody asks of it.

Built only by :mod:`penstock_policies.loader`, so whoever holds one may rely on every reference in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from penstock_policies.schema import Budget, Cluster, CostFeed, Listener, NodeGroup, ResidencyRule, TrafficPolicy
from penstock_policies.words import DataClass, Site

ANY_MODEL = "*"
"""The model of a row for requests that name none (only in policies that match every model)."""


class RowKey(NamedTuple):
    """What one row of weights is for: a policy, seen from the edges of a region, for a model.

    A tuple, as every decision looks hundreds of thousands of them up and only tuples hash without running Python.
    """

    policy: str
    region: str
    model: str


@dataclass(frozen=True, slots=True)
class Lawful:
    """Who may serve a row by what is written, in order of preference, and why each other cluster of the policy not."""

    clusters: tuple[str, ...]
    excluded: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a document stands in the policy files: 1-based line and column."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class PolicySet:
    """Every document of a policy directory, by name. ``digest`` is a hash of their content."""

    digest: str
    clusters: Mapping[str, Cluster]
    feeds: Mapping[str, CostFeed]
    listeners: Mapping[str, Listener]
    groups: Mapping[str, NodeGroup]
    residency: Mapping[str, ResidencyRule]
    policies: Mapping[str, TrafficPolicy]
    budgets: Mapping[str, Budget] = field(default_factory=dict)
    origins: Mapping[tuple[str, str], Origin] = field(default_factory=dict)
    """(kind, name) to where it was written."""
    _lawful: dict[RowKey, Lawful] = field(default_factory=dict, init=False, repr=False, compare=False)
    _rows: list[RowKey] = field(default_factory=list, init=False, repr=False, compare=False)
    # Answers already given: a set never changes, and a large fleet asks for them a thousand times a decision.

    def regions(self) -> tuple[str, ...]:
        """List the regions of the edge, sorted."""
        return tuple(sorted({group.spec.region for group in self.groups.values()}))

    def allowed(self, cluster: Cluster, data_class: DataClass) -> str | None:
        """Why data of this class may not reach the cluster; None when every residency rule allows it."""
        for name in sorted(self.residency):
            reason = forbids(self.residency[name], cluster, data_class)
            if reason is not None:
                return reason
        return None

    def lawful(self, key: RowKey) -> Lawful:
        """Tell who may serve a row by what is written: by the policy's list, models and residency."""
        known = self._lawful.get(key)
        if known is None:
            policy = self.policies[key.policy]
            serving = self.preference(policy, key.model, key.region)
            excluded: dict[str, str] = {}
            for name in sorted(policy.spec.clusters):
                forbidden = self.allowed(self.clusters[name], policy.spec.data_class)
                if name not in serving:
                    excluded[name] = f"does not serve {key.model}"
                elif forbidden is not None:
                    excluded[name] = forbidden
            known = Lawful(tuple(name for name in serving if name not in excluded), excluded)
            self._lawful[key] = known
        return known

    def models_of(self, policy: TrafficPolicy) -> tuple[str, ...]:
        """List the models a policy has rows for, sorted; ends with :data:`ANY_MODEL` when it matches every model."""
        if policy.spec.match.models is not None:
            return tuple(sorted(set(policy.spec.match.models)))
        served = {model for name in policy.spec.clusters for model in self.clusters[name].spec.models}
        return (*sorted(served), ANY_MODEL)

    def candidates(self, policy: TrafficPolicy, model: str) -> tuple[Cluster, ...]:
        """List the clusters a policy names that serve the model, in the order the policy names them."""
        named = (self.clusters[name] for name in policy.spec.clusters)
        return tuple(c for c in named if model == ANY_MODEL or model in c.spec.models)

    def rows(self) -> tuple[RowKey, ...]:
        """Every row that a decision must hold, sorted."""
        if not self._rows:
            self._rows[:] = sorted(
                RowKey(policy.name, region, model)
                for policy in self.policies.values()
                for region in self.regions()
                for model in self.models_of(policy)
            )
        return tuple(self._rows)

    def preference(self, policy: TrafficPolicy, model: str, region: str) -> tuple[str, ...]:
        """Order clusters as they stand in for one another: on-prem first, then near ones, then as written.

        Fixed by policy alone, so that the day's weights never change the lists Envoy holds.
        """
        candidates = self.candidates(policy, model)
        order = {cluster.name: index for index, cluster in enumerate(candidates)}
        return tuple(
            cluster.name
            for cluster in sorted(
                candidates,
                key=lambda c: (c.spec.site is not Site.ON_PREM, distance(region, c.spec.region), order[c.name]),
            )
        )


def forbids(rule: ResidencyRule, cluster: Cluster, data_class: DataClass) -> str | None:
    """Why a rule keeps data of this class from the cluster; None when it does not, or is about another class."""
    if rule.spec.data_class is not data_class:
        return None
    allow = rule.spec.allow
    if allow.sites is not None and cluster.spec.site not in allow.sites:
        return f"rule {rule.name} allows {data_class} data only at {', '.join(allow.sites) or 'no site'}"
    if allow.regions is not None and cluster.spec.region not in allow.regions:
        return f"rule {rule.name} allows {data_class} data only in {', '.join(allow.regions) or 'no region'}"
    if allow.clusters is not None and cluster.name not in allow.clusters:
        return f"rule {rule.name} allows {data_class} data only on {', '.join(allow.clusters) or 'no cluster'}"
    return None


def distance(edge: str, cluster: str) -> int:
    """Count the steps from region to region: 0 the same, 1 the same area (up to the first hyphen), 2 elsewhere."""
    if edge == cluster:
        return 0
    return 1 if edge.partition("-")[0] == cluster.partition("-")[0] else 2
