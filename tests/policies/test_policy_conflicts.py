import pytest

from penstock_policies.loader import load
from tests.policies.writing import SOUND, errors_in

HEAD = "apiVersion: penstock/v1\n"


def policy(name: str, spec: str) -> str:
    return f"{HEAD}kind: TrafficPolicy\nmetadata: {{name: {name}}}\nspec: {spec}\n---\n"


def listener(name: str, address: str, port: int) -> str:
    return (
        f"{HEAD}kind: Listener\nmetadata: {{name: {name}}}\n"
        f"spec: {{address: '{address}', port: {port}, dataClass: public}}\n---\n"
    )


def group(name: str, cluster: str, listeners: str) -> str:
    return (
        f"{HEAD}kind: NodeGroup\nmetadata: {{name: {name}}}\n"
        f"spec: {{match: {{cluster: {cluster}}}, region: us-east, listeners: {listeners}}}\n---\n"
    )


def test_a_restricted_policy_that_names_a_cloud_cluster_is_an_error_naming_the_rule_and_its_place() -> None:
    text = policy("vault", "{match: {path: /vault/}, dataClass: restricted, clusters: [onprem, cloud]}")
    assert errors_in(text) == [
        (
            'a.yaml:4:74: spec.clusters[1]: restricted data may not reach cluster "cloud" (cloud is cloud in eu-west); '
            "expected a cluster that residency allows: "
            "rule at-home allows restricted data only at on_prem (sound.yaml:34:1)"
        )
    ]


def test_residency_binds_every_class_that_a_rule_names_and_every_rule_counts() -> None:
    rules = "".join(
        f"{HEAD}kind: ResidencyRule\nmetadata: {{name: {name}}}\n"
        f"spec: {{dataClass: internal, allow: {{{allow}}}}}\n---\n"
        for name, allow in [("in-central", "regions: [eu-central]"), ("named", "clusters: [onprem]")]
    )
    text = rules + policy("staff", "{match: {path: /staff/}, dataClass: internal, clusters: [cloud]}")
    errors = errors_in(text)
    assert [error.split(": ")[:2] for error in errors] == [["a.yaml:14:64", "spec.clusters[0]"]] * 2
    assert "rule in-central allows internal data only in eu-central" in errors[0]
    assert "rule named allows internal data only on onprem" in errors[1]


def test_a_model_that_none_of_the_policys_clusters_serves_is_an_error_with_a_guess() -> None:
    text = policy("batch", "{match: {path: /batch/, models: [lama]}, dataClass: public, clusters: [onprem]}")
    assert errors_in(text) == [
        (
            'a.yaml:4:40: spec.match.models[0]: none of the policy\'s clusters serves the model "lama"; '
            'expected one of llama; did you mean "llama"?'
        )
    ]


def test_two_policies_for_the_same_traffic_are_an_error_naming_both_places() -> None:
    text = policy("another", "{match: {path: /v1/}, dataClass: public, clusters: [cloud]}")
    assert errors_in(text) == [
        (
            'sound.yaml:42:15: spec.match: the policy matches the same traffic as "another" at a.yaml:4:15: '
            "public requests on /v1/ for every model; expected another path, other models or another dataClass"
        )
    ]


def test_two_policies_whose_models_intersect_are_an_error_naming_the_models() -> None:
    specs = "{match: {path: /x/, models: [%s]}, dataClass: public, clusters: [big]}"
    cluster = f"""{HEAD}kind: Cluster
metadata: {{name: big}}
spec:
  site: cloud
  region: eu-west
  engine: openai
  models: [a, b, c]
  endpoints: [{{address: 10.0.0.2, port: 80}}]
  capacity: {{concurrency: 1}}
---
"""
    (error,) = errors_in(cluster + policy("one", specs % "a, b") + policy("two", specs % "c, b, a"))
    assert "public requests on /x/ for b, a;" in error
    assert errors_in(cluster + policy("one", specs % "a, b") + policy("two", specs % "c")) == []


@pytest.mark.parametrize(
    "spec",
    [
        "{match: {path: /v1/, models: [llama]}, dataClass: public, clusters: [cloud]}",
        "{match: {path: /v1/chat/}, dataClass: public, clusters: [cloud]}",
        "{match: {path: /}, dataClass: public, clusters: [cloud]}",
        "{match: {path: /v1/}, dataClass: internal, clusters: [cloud]}",
    ],
)
def test_a_more_or_less_specific_policy_and_one_of_another_class_are_no_conflict(spec: str) -> None:
    assert errors_in(policy("another", spec)) == []


def test_two_groups_for_the_same_envoys_are_an_error() -> None:
    assert errors_in(group("again", "edge-eu", "[public]")) == [
        (
            'sound.yaml:32:25: spec.match.cluster: the group matches the same Envoys as "again" at a.yaml:4:25; '
            "expected another node cluster"
        )
    ]


def test_two_listeners_of_one_group_on_the_same_port_are_an_error() -> None:
    text = listener("one", "::1", 9000) + listener("two", "0:0:0:0:0:0:0:1", 9000) + group("us", "us", "[one, two]")
    assert errors_in(text) == [
        (
            'a.yaml:14:64: spec.listeners[1]: the listener "two" is on [::1]:9000, as is "one" of the same group; '
            "expected another port; they stand at a.yaml:9:42 and a.yaml:4:30"
        )
    ]


def test_listeners_of_different_groups_may_share_a_port() -> None:
    assert (
        errors_in(
            listener("us", "::", 10000)
            + listener("eu", "::", 10000)
            + group("us", "us", "[us]")
            + group("eu", "eu", "[eu]")
        )
        == []
    )


def test_a_rule_that_fails_the_schema_does_not_let_the_policy_through() -> None:
    files = {"sound.yaml": SOUND.replace("sites: [on_prem]", "sites: [onprem]").replace("[onprem]}\n", "[cloud]}\n")}
    assert load(files).policy_set is None
