"""The clusters that a policy does not name, and whether a residency rule would keep its data from them anyway. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from penstock_policies.policyset import PolicySet, forbids
from penstock_policies.schema import TrafficPolicy


@dataclass(frozen=True, slots=True)
class UnnamedCluster:
    """A cluster of the fleet that a policy does not name."""

    cluster: str
    residency_rule: str | None
    """The first rule that forbids the policy's data there; None where none does."""
    reason: str
    """In words."""


def unnamed_clusters(policies: PolicySet, policy: TrafficPolicy) -> list[UnnamedCluster]:
    """List the clusters that a policy does not name, sorted."""
    rest = sorted(policies.clusters.keys() - set(policy.spec.clusters))
    return [_unnamed(policies, policy, name) for name in rest]


def _unnamed(policies: PolicySet, policy: TrafficPolicy, name: str) -> UnnamedCluster:
    for rule in sorted(policies.residency):
        why = forbids(policies.residency[rule], policies.clusters[name], policy.spec.data_class)
        if why is not None:
            return UnnamedCluster(name, rule, f"not named by this policy, and residency {why}")
    return UnnamedCluster(name, None, "not named by this policy")


def unnamed_lines(unnamed: Sequence[UnnamedCluster]) -> Iterator[str]:
    """Tell them for people, those of one reason together."""
    by_reason: dict[str, list[str]] = {}
    for each in unnamed:
        by_reason.setdefault(each.reason, []).append(each.cluster)
    for reason, names in sorted(by_reason.items()):
        yield f"  {reason}: {', '.join(names)}"
