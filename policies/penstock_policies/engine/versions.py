"""Which versions of a model may serve a row, and how much of it tries a new one.

A rule is about rows of its model. Requests that name no model (rows of :data:`~penstock_policies.policyset.ANY_MODEL`)
are bound by none, for nobody knows which model they will meet.
"""

from penstock_policies.engine.plan import Bound
from penstock_policies.policyset import PolicySet, RowKey
from penstock_policies.steering import VersionRule


def rule_for(policy: PolicySet, key: RowKey) -> VersionRule | None:
    """Give the rule on versions for a row, if there is one."""
    return policy.policies[key.policy].spec.versions.get(key.model)


def wrong_version(policy: PolicySet, key: RowKey, cluster: str) -> str | None:
    """Tell why a cluster may not serve the row for the version it has; None where it may."""
    rule = rule_for(policy, key)
    if rule is None:
        return None
    served = policy.clusters[cluster].spec.model_versions.get(key.model)
    if served is not None and served in {rule.stable, rule.canary}:
        return None
    wanted = rule.stable if rule.canary is None else f"{rule.stable} or {rule.canary}"
    return f"serves version {served or 'unknown'}, wanted {wanted}"


def canary_bounds(policy: PolicySet, key: RowKey, clusters: tuple[str, ...]) -> tuple[Bound, ...]:
    """Bind the share of the clusters that serve the canary; nothing where only one of the two versions is there."""
    rule = rule_for(policy, key)
    if rule is None or rule.canary is None or rule.canary == rule.stable:
        return ()
    trying = frozenset(
        name for name in clusters if policy.clusters[name].spec.model_versions.get(key.model) == rule.canary
    )
    if not trying or len(trying) == len(clusters):
        return ()
    why = f"canary {rule.canary} of {key.model}"
    return (Bound(trying, rule.canary_share, rule.canary_share, why),)
