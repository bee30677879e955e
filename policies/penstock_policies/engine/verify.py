"""Last stage: nothing leaves the engine that breaks a rule. Independent of the stages that made the decision.

Reads only the policy files and the decision, and says the rules again in its own words: it shares no code with
eligibility, solver, projection or rounding, so that an error there cannot also hide here.
"""

from collections.abc import Mapping

from penstock_policies.decision import TOTAL_WEIGHT, Decision, HealthState, Row
from penstock_policies.policyset import ANY_MODEL, PolicySet, RowKey
from penstock_policies.schema import Cluster, TrafficPolicy


class VerifyError(Exception):
    """A decision breaks rules: ``breaches`` says which, by row, one sentence each."""

    def __init__(self, breaches: Mapping[RowKey, tuple[str, ...]]) -> None:
        super().__init__("; ".join(f"{key}: {breach}" for key, all_ in breaches.items() for breach in all_))
        self.breaches = breaches

    @property
    def rows(self) -> frozenset[RowKey]:
        """The rows that break a rule."""
        return frozenset(self.breaches)


def verify(policy: PolicySet, decision: Decision) -> None:
    """Check every rule a decision must keep.

    Raises:
        VerifyError: at least one is broken.

    """
    expected = set(policy.rows())
    breaches: dict[RowKey, tuple[str, ...]] = {}
    for key in sorted(expected | set(decision.rows)):
        if key not in decision.rows:
            breaches[key] = ("row missing",)
        elif key not in expected:
            breaches[key] = ("row of no policy",)
        elif broken := _row_breaches(policy, decision, decision.rows[key]):
            breaches[key] = tuple(broken)
    if breaches:
        raise VerifyError(breaches)


def _row_breaches(policy: PolicySet, decision: Decision, row: Row) -> list[str]:
    traffic = policy.policies[row.key.policy]
    lawful = {
        name
        for name, cluster in policy.clusters.items()
        if _may_serve(policy, traffic, row.key, cluster) and decision.draining.get(name, 1.0) > 0
    }
    breaches = [] if row.data_class is traffic.spec.data_class else [f"data class {row.data_class}"]
    breaches.extend(_shape_breaches(row, lawful))
    breaches.extend(_down_breaches(decision, row))
    return breaches


def _may_serve(policy: PolicySet, traffic: TrafficPolicy, key: RowKey, cluster: Cluster) -> bool:
    if cluster.name not in traffic.spec.clusters:
        return False
    if key.model not in (ANY_MODEL, *cluster.spec.models):
        return False
    for rule in policy.residency.values():
        if rule.spec.data_class != traffic.spec.data_class:
            continue
        allow = rule.spec.allow
        facts = ((allow.sites, cluster.spec.site), (allow.regions, cluster.spec.region), (allow.clusters, cluster.name))
        if any(allowed is not None and fact not in allowed for allowed, fact in facts):
            return False
    return True


def _shape_breaches(row: Row, lawful: set[str]) -> list[str]:
    breaches: list[str] = []
    if set(row.weights) != lawful:
        breaches.append(f"weights name {sorted(row.weights)}, lawful are {sorted(lawful)}")
    if set(row.legs) != set(row.weights):
        breaches.append("legs and weights name different clusters")
    if any(type(weight) is not int or weight < 0 for weight in row.weights.values()):
        breaches.append(f"weights are not whole and positive: {dict(row.weights)}")
    elif row.weights and sum(row.weights.values()) != TOTAL_WEIGHT:
        breaches.append(f"weights sum to {sum(row.weights.values())}")
    for chosen, leg in sorted(row.legs.items()):
        if not leg or leg[0] != chosen:
            breaches.append(f"leg {chosen} does not begin with itself")
        if len(set(leg)) != len(leg):
            breaches.append(f"leg {chosen} names a cluster twice")
        if not set(leg) <= lawful:
            breaches.append(f"leg {chosen} reaches {sorted(set(leg) - lawful)}")
    return breaches


def _down_breaches(decision: Decision, row: Row) -> list[str]:
    down = {name for name in row.weights if name in decision.health and decision.health[name].state is HealthState.DOWN}
    if down == set(row.weights):
        return []
    return [f"{name} is down and has weight" for name in sorted(down) if row.weights[name] > 0]
