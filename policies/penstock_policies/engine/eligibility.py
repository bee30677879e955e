"""Who may serve a row at all: policy, residency and drains. Health and load have no say here.

The lists Envoy falls back along come from here, so they change only when an operator or a policy file says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from penstock_policies.overrides import Overrides
from penstock_policies.policyset import PolicySet, RowKey


@dataclass(frozen=True, slots=True)
class Eligibility:
    """Who may serve a row: ``clusters`` in order of preference, and why each other one may not."""

    clusters: tuple[str, ...]
    excluded: Mapping[str, str]

    def legs(self) -> dict[str, tuple[str, ...]]:
        """Give each eligible cluster's leg: itself, then the others as stand-ins, in order of preference."""
        return {
            chosen: (chosen, *(name for name in self.clusters if name != chosen)) for chosen in sorted(self.clusters)
        }


def draining(policy: PolicySet, overrides: Overrides, now: float) -> dict[str, float]:
    """Give each cluster under an active drain the factor left of its share; 0 takes it out of every list."""
    return {
        name: drain.remaining(now)
        for name, drain in sorted(overrides.drains.items())
        if name in policy.clusters and drain.active(now)
    }


def eligibility(policy: PolicySet, key: RowKey, drains: Mapping[str, float]) -> Eligibility:
    """Tell who may serve the row, given what is left of drained clusters."""
    traffic = policy.policies[key.policy]
    serving = policy.preference(traffic, key.model, key.region)
    excluded: dict[str, str] = {}
    for name in traffic.spec.clusters:
        forbidden = policy.allowed(policy.clusters[name], traffic.spec.data_class)
        if name not in serving:
            excluded[name] = f"does not serve {key.model}"
        elif forbidden is not None:
            excluded[name] = forbidden
        elif drains.get(name, 1.0) <= 0:
            excluded[name] = "drained by an operator"
    return Eligibility(tuple(name for name in serving if name not in excluded), dict(sorted(excluded.items())))
