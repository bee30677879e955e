"""Residency on what Envoy is really given: random fleets and histories, decided, compiled and proven.

The engine's own weights may be lawful and Envoy still be handed a way out: a stand-in of a leg, a shared endpoint, a
retry. The proof walks the generated resources and knows nothing of how they were made.
"""

from hypothesis import given

from penstock_envoy.compiler import Compiler
from penstock_envoy.residency import prove
from penstock_policies.decision import Decision
from penstock_policies.policyset import PolicySet
from penstock_policies.words import DataClass, Site
from tests.engine.engine_strategies import examples, garbage, histories


def check_proven(history: list[tuple[PolicySet, Decision]]) -> None:
    policy, decision = history[-1]
    for group in policy.groups:
        proof = prove(policy, Compiler().compile(policy, decision, group), group)
        for name in proof.clusters[DataClass.RESTRICTED]:
            assert policy.clusters[name].spec.site is Site.ON_PREM
        if "rule-internal" in policy.residency:
            for name in proof.clusters[DataClass.INTERNAL]:
                assert policy.clusters[name].spec.region != "us-east"


@examples(8)
@given(histories())
def test_no_decision_gives_envoy_a_way_for_data_to_leave_where_it_may_be(
    history: list[tuple[PolicySet, Decision]],
) -> None:
    check_proven(history)


@examples(8)
@given(histories(garbage))
def test_neither_does_a_decision_made_of_garbage(history: list[tuple[PolicySet, Decision]]) -> None:
    check_proven(history)
