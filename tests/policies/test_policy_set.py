"""The questions everybody asks of a loaded policy directory."""

import pytest

from penstock_policies.policyset import ANY_MODEL, RowKey, distance
from penstock_policies.words import DataClass
from tests.policies.writing import sound_set

HEAD = "apiVersion: penstock/v1\n"

SPARE = f"""{HEAD}kind: Cluster
metadata: {{name: spare}}
spec:
  site: on_prem
  region: us-east
  engine: vllm
  models: [qwen]
  endpoints: [{{address: 10.0.0.9, port: 80}}]
  capacity: {{concurrency: 10}}
"""
BOTH = f"""{HEAD}kind: TrafficPolicy
metadata: {{name: both}}
spec: {{match: {{path: /both/}}, dataClass: public, clusters: [cloud, onprem, spare]}}
"""
ONE_MODEL = f"""{HEAD}kind: TrafficPolicy
metadata: {{name: one-model}}
spec: {{match: {{path: /one/, models: [qwen, llama]}}, dataClass: public, clusters: [cloud, spare]}}
"""
US = f"""{HEAD}kind: NodeGroup
metadata: {{name: edge-us}}
spec: {{match: {{cluster: edge-us}}, region: us-west, listeners: [public]}}
"""


def rule(name: str, data_class: str, allow: str) -> str:
    return f"{HEAD}kind: ResidencyRule\nmetadata: {{name: {name}}}\nspec: {{dataClass: {data_class}, allow: {allow}}}\n"


def test_a_cluster_that_a_rule_forbids_is_not_allowed_and_the_rule_says_why() -> None:
    policies = sound_set()
    assert policies.allowed(policies.clusters["cloud"], DataClass.RESTRICTED) == (
        "rule at-home allows restricted data only at on_prem"
    )
    assert policies.allowed(policies.clusters["onprem"], DataClass.RESTRICTED) is None
    assert policies.allowed(policies.clusters["cloud"], DataClass.PUBLIC) is None


@pytest.mark.parametrize(
    ("allow", "cluster", "reason"),
    [
        ("{regions: [eu-central]}", "cloud", "rule x allows internal data only in eu-central"),
        ("{regions: [eu-central]}", "onprem", None),
        ("{clusters: [cloud]}", "onprem", "rule x allows internal data only on cloud"),
        ("{clusters: [cloud]}", "cloud", None),
        ("{sites: []}", "onprem", "rule x allows internal data only at no site"),
        ("{sites: [cloud], regions: [us-east]}", "cloud", "rule x allows internal data only in us-east"),
    ],
)
def test_every_field_of_a_rule_limits(allow: str, cluster: str, reason: str | None) -> None:
    policies = sound_set(rule("x", "internal", allow))
    assert policies.allowed(policies.clusters[cluster], DataClass.INTERNAL) == reason


def test_every_rule_of_a_class_must_allow_a_cluster() -> None:
    policies = sound_set(rule("a", "internal", "{sites: [cloud, on_prem]}"), rule("b", "internal", "{sites: [cloud]}"))
    assert policies.allowed(policies.clusters["onprem"], DataClass.INTERNAL) is not None
    assert policies.allowed(policies.clusters["cloud"], DataClass.INTERNAL) is None


def test_candidates_are_the_named_clusters_that_serve_the_model_in_the_policys_order() -> None:
    policies = sound_set(SPARE, BOTH)
    both = policies.policies["both"]
    assert [cluster.name for cluster in policies.candidates(both, "llama")] == ["cloud", "onprem"]
    assert [cluster.name for cluster in policies.candidates(both, ANY_MODEL)] == ["cloud", "onprem", "spare"]
    assert policies.candidates(both, "unheard-of") == ()


def test_a_policy_for_every_model_has_a_row_for_each_and_one_for_the_rest() -> None:
    policies = sound_set(SPARE, BOTH, ONE_MODEL)
    assert policies.models_of(policies.policies["both"]) == ("llama", "qwen", ANY_MODEL)
    assert policies.models_of(policies.policies["one-model"]) == ("llama", "qwen")


def test_there_is_a_row_for_every_policy_region_and_model() -> None:
    policies = sound_set(US)
    assert policies.regions() == ("eu-west", "us-west")
    assert policies.rows() == tuple(
        RowKey(policy, region, model)
        for policy in ("chat", "records")
        for region in ("eu-west", "us-west")
        for model in (ANY_MODEL, "llama")
    )


def test_stand_ins_are_on_prem_first_then_near_then_as_written() -> None:
    policies = sound_set(SPARE, BOTH)
    both = policies.policies["both"]
    assert policies.preference(both, ANY_MODEL, "eu-west") == ("onprem", "spare", "cloud")
    assert policies.preference(both, ANY_MODEL, "us-east") == ("spare", "onprem", "cloud")
    assert policies.preference(both, "llama", "us-east") == ("onprem", "cloud")


@pytest.mark.parametrize(
    ("edge", "cluster", "steps"),
    [("eu-west", "eu-west", 0), ("eu-west", "eu-central", 1), ("eu-west", "us-west", 2), ("eu", "eu-west", 1)],
)
def test_distance_counts_the_same_region_the_same_area_and_elsewhere(edge: str, cluster: str, steps: int) -> None:
    assert distance(edge, cluster) == steps


def test_a_class_can_only_become_stricter() -> None:
    assert DataClass.INTERNAL.at_least() == (DataClass.INTERNAL, DataClass.RESTRICTED)
    assert DataClass.RESTRICTED.at_least() == (DataClass.RESTRICTED,)
