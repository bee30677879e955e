"""What holds of every decision, said by the tests in their own words; shared by the property files."""

from penstock_policies.decision import TOTAL_WEIGHT, Decision, HealthState, Row, Rung
from penstock_policies.policyset import PolicySet
from penstock_policies.schema import TrafficPolicy
from penstock_policies.words import DataClass, Site


def may_serve(policy: PolicySet, traffic_policy: TrafficPolicy, name: str, model: str) -> bool:
    """The rules, said a third time: restricted data stays on-prem, internal data in the EU where a rule says so."""
    rule = traffic_policy.spec.versions.get(model)
    if rule is not None and policy.clusters[name].spec.model_versions.get(model) not in {rule.stable, rule.canary} - {
        None
    }:
        return False
    one = policy.clusters[name].spec
    klass = traffic_policy.spec.data_class
    if name not in traffic_policy.spec.clusters or (model != "*" and model not in one.models):
        return False
    if klass is DataClass.RESTRICTED and one.site is not Site.ON_PREM:
        return False
    return not ("rule-internal" in policy.residency and klass is DataClass.INTERNAL and one.region == "us-east")


PLANNED = frozenset({Rung.OPTIMUM, Rung.WATERFALL})
"""Rungs that garbage may lead to: of figures a million times too large HiGHS sometimes finds no answer."""


def check_lawful(policy: PolicySet, decision: Decision, rungs: frozenset[Rung] = frozenset({Rung.OPTIMUM})) -> None:
    assert decision.rung in rungs
    assert set(decision.rows) == set(policy.rows())
    for key, one in decision.rows.items():
        named = {*one.weights, *one.legs, *(member for leg in one.legs.values() for member in leg)}
        for name in named:
            assert may_serve(policy, policy.policies[key.policy], name, key.model)
            assert decision.draining.get(name, 1.0) > 0
        assert set(one.weights) == set(one.legs)
        assert bool(one.refusal) is not bool(one.weights)
        assert all(type(weight) is int and weight >= 0 for weight in one.weights.values())
        assert sum(one.weights.values()) == (TOTAL_WEIGHT if one.weights else 0)
        check_nothing_on_the_dead(decision, one)


def check_nothing_on_the_dead(decision: Decision, one: Row) -> None:
    down = {name for name in one.weights if decision.health[name].state is HealthState.DOWN}
    if down != set(one.weights):
        assert all(one.weights[name] == 0 for name in down)
