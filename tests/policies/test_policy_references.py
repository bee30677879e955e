from tests.policies.writing import errors_in

HEAD = "apiVersion: penstock/v1\n"


def document(kind: str, name: str, spec: str) -> str:
    return f"{HEAD}kind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"


def policy(spec: str) -> str:
    return document("TrafficPolicy", "batch", spec)


def test_an_unknown_cluster_in_a_policy_is_an_error_with_a_guess() -> None:
    assert errors_in(policy("{match: {path: /batch/}, dataClass: public, clusters: [onprem, clowd]}")) == [
        (
            'a.yaml:4:70: spec.clusters[1]: no Cluster is named "clowd"; '
            'expected one of cloud, onprem; did you mean "cloud"?'
        )
    ]


def test_an_unknown_cost_feed_is_an_error() -> None:
    text = f"""{HEAD}kind: Cluster
metadata: {{name: spare}}
spec:
  site: cloud
  region: eu-west
  engine: openai
  models: [llama]
  endpoints: [{{address: 10.0.0.2, port: 80}}]
  capacity: {{concurrency: 1}}
  cost: {{feed: prices, key: spare}}
"""
    assert errors_in(text) == [
        'a.yaml:11:16: spec.cost.feed: no CostFeed is named "prices"; expected the name of a CostFeed; there is none'
    ]


def test_an_unknown_listener_in_a_group_is_an_error_and_another_kind_of_that_name_is_mentioned() -> None:
    text = document("NodeGroup", "us", "{match: {cluster: us}, region: us-east, listeners: [chat]}")
    assert errors_in(text) == [
        'a.yaml:4:59: spec.listeners[0]: no Listener is named "chat", though a TrafficPolicy is; expected one of public'
    ]


def test_an_unknown_cluster_in_a_residency_rule_is_an_error() -> None:
    text = document("ResidencyRule", "x", "{dataClass: public, allow: {clusters: [on-prem]}}")
    assert errors_in(text) == [
        (
            'a.yaml:4:46: spec.allow.clusters[0]: no Cluster is named "on-prem"; '
            'expected one of cloud, onprem; did you mean "onprem"?'
        )
    ]


def test_a_second_document_of_a_name_is_an_error_that_points_at_the_first() -> None:
    text = f"{HEAD}kind: Listener\nmetadata: {{name: public}}\nspec: {{address: '::', port: 1, dataClass: public}}\n"
    assert errors_in(text) == [
        (
            'sound.yaml:26:18: metadata.name: a second Listener named "public"; the first stands at a.yaml:3:18; '
            "expected a name that no other Listener has"
        )
    ]


def test_documents_of_different_kinds_may_share_a_name() -> None:
    assert (
        errors_in(
            policy("{match: {path: /batch/}, dataClass: public, clusters: [onprem]}").replace("batch}", "onprem}")
        )
        == []
    )


def test_a_long_vocabulary_is_cut_short() -> None:
    feeds = "---\n".join(document("CostFeed", f"feed-{index:02}", "{type: file, path: x.json}") for index in range(20))
    spec = (
        "{site: cloud, region: x, engine: tgi, models: [m], endpoints: [{address: 10.0.0.2, port: 1}], "
        "capacity: {concurrency: 1}, cost: {feed: none, key: x}}"
    )
    (error,) = errors_in(f"{feeds}---\n{document('Cluster', 'spare', spec)}")
    assert error.endswith("expected one of " + ", ".join(f"feed-{index:02}" for index in range(12)) + ", and 8 more")


def test_a_name_listed_twice_is_an_error() -> None:
    assert errors_in(policy("{match: {path: /batch/}, dataClass: public, clusters: [onprem, cloud, onprem]}")) == [
        'a.yaml:4:77: spec.clusters[2]: "onprem" is listed twice; expected it once (line 4)'
    ]


def test_a_document_that_fails_the_schema_still_lends_its_name() -> None:
    broken = f"{HEAD}kind: Cluster\nmetadata: {{name: spare}}\nspec: {{}}\n---\n"
    text = broken + policy("{match: {path: /batch/}, dataClass: public, clusters: [spare]}")
    assert all("required field is missing" in error for error in errors_in(text))
