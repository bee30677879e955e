"""The proof accepts what the compiler makes, and catches every sabotage of it."""

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_envoy import protos
from penstock_envoy.compiler import Compiler
from penstock_envoy.matching import other_than
from penstock_envoy.residency import ResidencyBreach, class_header, prove
from penstock_envoy.residency.class_header import EVERY_STATE, OTHER, STATES, class_of, masks_by_class
from penstock_envoy.resource import CLUSTER, ROUTE
from penstock_policies.words import DataClass
from tests.envoy.fleet import GROUP, decision, fleet, policy_set
from tests.envoy.sabotage import Resources, composite_of, edited, with_leg_members

POLICY = fleet()
GOOD = Compiler().compile(POLICY, decision(POLICY), GROUP)
RESTRICTED_LEG = "leg/restricted/onprem-fra>onprem-fra"


def test_what_the_compiler_makes_is_proven_and_the_proof_says_what_is_reachable() -> None:
    proof = prove(POLICY, GOOD, GROUP)
    assert proof.clusters[DataClass.RESTRICTED] == {"onprem-fra"}
    assert proof.clusters[DataClass.INTERNAL] == {"onprem-fra", "cloud-eu-west"}
    assert proof.clusters[DataClass.PUBLIC] == {"onprem-fra", "cloud-eu-west", "cloud-us-east"}
    assert proof.endpoints[DataClass.RESTRICTED] == {"10.0.1.11:8000", "10.0.1.12:8000"}


@pytest.mark.parametrize("drained", [(), ("onprem-fra",), ("cloud-eu-west",), ("onprem-fra", "cloud-eu-west")])
def test_every_drain_leaves_a_provable_configuration(drained: tuple[str, ...]) -> None:
    prove(POLICY, Compiler().compile(POLICY, decision(POLICY, drained=drained), GROUP), GROUP)


def breach(resources: Resources) -> ResidencyBreach:
    with pytest.raises(ResidencyBreach) as caught:
        prove(POLICY, resources, GROUP)
    return caught.value


def test_a_breach_says_the_way_from_listener_to_culprit() -> None:
    found = breach(with_leg_members(GOOD, RESTRICTED_LEG, ["onprem-fra", "cloud-us-east"]))
    assert found.path == (
        "listener public",
        "virtual host public",
        "route restricted/records/bge-m3",
        f"cluster {RESTRICTED_LEG}",
        "cluster cloud-us-east",
    )
    assert "policy records does not name it" in found.reason


def test_a_group_that_does_not_exist_is_a_breach() -> None:
    with pytest.raises(ResidencyBreach, match="no such node group"):
        prove(POLICY, GOOD, "edge-mars")


def test_an_address_that_is_also_a_forbidden_clusters_is_a_breach() -> None:
    shared = {
        "onprem-fra": [("10.9.9.9", 8000)],
        "cloud-eu-west": [("10.9.9.9", 8000)],
        "cloud-us-east": [("10.2.1.1", 1)],
    }
    policy = fleet(shared)
    with pytest.raises(ResidencyBreach, match="restricted data may not reach cloud-eu-west"):
        prove(policy, Compiler().compile(policy, decision(policy), GROUP), GROUP)


def test_a_rule_that_came_later_breaks_the_proof_of_what_was_compiled_before() -> None:
    stricter = policy_set(
        *(
            f"""
apiVersion: penstock/v1
kind: Cluster
metadata: {{name: {name}}}
spec:
  site: {site}
  region: {region}
  engine: vllm
  models: [m]
  endpoints: [{{address: {address}, port: 8000}}]
  capacity: {{concurrency: 1}}
  cost: {{usdPerMillionTokens: 1.0}}
"""
            for name, site, region, address in (
                ("a", "on_prem", "eu-a", "10.0.0.1"),
                ("b", "cloud", "eu-b", "10.0.0.2"),
            )
        ),
        """
apiVersion: penstock/v1
kind: Listener
metadata: {name: in}
spec: {address: 0.0.0.0, port: 10000, dataClass: internal}
---
apiVersion: penstock/v1
kind: NodeGroup
metadata: {name: g}
spec: {match: {cluster: g}, region: eu-a, listeners: [in]}
---
apiVersion: penstock/v1
kind: TrafficPolicy
metadata: {name: p}
spec: {dataClass: internal, clusters: [a, b]}
""",
    )
    resources = Compiler().compile(stricter, decision(stricter), "g")
    prove(stricter, resources, "g")
    rule = POLICY.residency["restricted-stays"]
    internal_rule = rule.model_copy(update={"spec": rule.spec.model_copy(update={"data_class": DataClass.INTERNAL})})
    with pytest.raises(ResidencyBreach, match="internal data may not reach b"):
        prove(replace(stricter, residency={"late": internal_rule}), resources, "g")


CLUSTERS = ("onprem-fra", "cloud-eu-west", "cloud-us-east")
LEGS = sorted(each.name for each in GOOD if each.type_url == CLUSTER and each.name.startswith("leg/"))


@given(
    st.dictionaries(st.sampled_from(LEGS), st.lists(st.sampled_from(CLUSTERS), min_size=1, max_size=4), max_size=3),
    st.dictionaries(
        st.sampled_from(
            [
                f"{data_class}/{policy}/llama-3-70b"
                for data_class, policy in (("restricted", "records"), ("internal", "staff"), ("public", "chat"))
            ]
        ),
        st.sampled_from([*LEGS, *CLUSTERS]),
        max_size=2,
    ),
)
def test_no_rewiring_is_accepted_that_lets_a_class_out(lists: dict[str, list[str]], moves: dict[str, str]) -> None:
    resources: Resources = GOOD
    for leg, members in lists.items():
        resources = with_leg_members(resources, leg, members)
    for name, target in moves.items():
        for listener in ("public", "staff", "vault"):

            def change(table: Any, name: str = name, target: str = target) -> None:
                for route in table.virtual_hosts[0].routes:
                    if route.name == name:
                        route.route.weighted_clusters.clusters[0].name = target

            resources = edited(resources, ROUTE, listener, change)
    members_of = {each.name: composite_of(each) for each in resources if each.type_url == CLUSTER}
    leaks = False
    for each in resources:
        if each.type_url != ROUTE:
            continue
        for route in protos.RouteConfiguration.FromString(each.body).virtual_hosts[0].routes:
            for weighted in route.route.weighted_clusters.clusters:
                reached = set(members_of[weighted.name] or [weighted.name])
                leaks = leaks or not reached <= set(POLICY.policies[route.name.split("/")[1]].spec.clusters)
    if leaks:
        breach(resources)
    else:
        prove(POLICY, resources, GROUP)


TEXTS = st.one_of(
    st.sampled_from(["", "public", "internal", "restricted"]),
    st.text(alphabet="publicnterald,. ", max_size=9),
    st.sampled_from(["public", "internal"]).flatmap(
        lambda word: st.integers(0, len(word)).flatmap(lambda cut: st.just(word[:cut] + word[cut + 1 :]))
    ),
    st.text(max_size=10).filter(lambda text: "\n" not in text),
)


@given(TEXTS)
def test_the_patterns_for_all_but_a_word_match_all_but_that_word(text: str) -> None:
    for regex, word in class_header._ALL_BUT.items():
        assert (re.fullmatch(regex, text) is not None) is (text != word)
        assert (re.fullmatch(other_than(word), text) is not None) is (text != word)


@given(st.text(alphabet="abc", max_size=5), st.text(alphabet="abc", max_size=5))
def test_a_pattern_for_all_but_any_word_is_right(word: str, text: str) -> None:
    assert (re.fullmatch(other_than(word), text) is not None) is (text != word)


def test_the_states_of_the_class_header_are_all_sets_of_texts_and_each_has_one_class() -> None:
    assert len(STATES) == len(set(STATES)) == 2**5
    for floor in DataClass:
        masks = masks_by_class(floor)
        assert sum(masks.values()) == EVERY_STATE
        assert all(masks[looser] == 0 for looser in DataClass if looser.strictness < floor.strictness)


@given(st.frozensets(st.sampled_from(["", "public", "internal", "restricted", OTHER])), st.sampled_from(DataClass))
def test_saying_more_never_makes_a_class_looser(state: class_header.State, floor: DataClass) -> None:
    said = class_of(state, floor)
    assert said.strictness >= floor.strictness
    assert class_of(state | {OTHER}, floor) is DataClass.RESTRICTED
