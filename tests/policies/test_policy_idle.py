"""A rule that matches nothing is a warning, and a warning keeps nothing from running."""

import pytest

from penstock_policies.loader import load
from tests.policies.writing import SOUND, joined_by, warnings_in

HEAD = "apiVersion: penstock/v1\n"


def document(kind: str, spec: str) -> str:
    return f"{HEAD}kind: {kind}\nmetadata: {{name: idle}}\nspec: {spec}\n"


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (
            document(
                "Cluster",
                "{site: cloud, region: x, engine: tgi, models: [m], "
                "endpoints: [{address: 10.0.0.2, port: 1}], capacity: {concurrency: 1}}",
            ),
            "a.yaml:3:18: warning: metadata.name: no policy uses the cluster; expected a TrafficPolicy naming it",
        ),
        (
            document("CostFeed", "{type: file, path: prices.json}"),
            (
                "a.yaml:3:18: warning: metadata.name: no cluster takes its price from the feed; "
                "expected a Cluster with cost.feed"
            ),
        ),
        (
            document("Listener", "{address: 0.0.0.0, port: 1, dataClass: public}"),
            (
                "a.yaml:3:18: warning: metadata.name: no group has the listener; "
                "expected a NodeGroup with it among its listeners"
            ),
        ),
        (
            document("ResidencyRule", "{dataClass: internal, allow: {sites: [cloud]}}"),
            (
                "a.yaml:4:19: warning: spec.dataClass: the rule matches nothing: no policy is for internal data; "
                "expected a TrafficPolicy with dataClass internal"
            ),
        ),
        (
            document("ResidencyRule", "{dataClass: public, allow: {}}"),
            "a.yaml:4:34: warning: spec.allow: the rule forbids nothing; expected sites, regions or clusters",
        ),
        (
            document("ResidencyRule", "{dataClass: restricted, allow: {sites: [on_prem, edge]}}"),
            'a.yaml:4:56: warning: spec.allow.sites[1]: no cluster is at site "edge"',
        ),
        (
            document("ResidencyRule", "{dataClass: restricted, allow: {regions: [eu-central, eu-wset]}}"),
            (
                'a.yaml:4:61: warning: spec.allow.regions[1]: no cluster is in region "eu-wset"; '
                'expected one of eu-central, eu-west; did you mean "eu-west"?'
            ),
        ),
        (
            document("TrafficPolicy", "{match: {path: /x/, models: []}, dataClass: public, clusters: [cloud]}"),
            (
                "a.yaml:4:35: warning: spec.match.models: the policy matches nothing: its list of models is empty; "
                "expected models, or no such field for every model"
            ),
        ),
    ],
)
def test_what_matches_nothing_is_a_warning_at_its_place(text: str, warning: str) -> None:
    assert warnings_in(text) == [warning]
    assert joined_by(text).policy_set is not None


def test_a_listener_whose_class_no_policy_serves_is_a_warning() -> None:
    text = document("Listener", "{address: 0.0.0.0, port: 1, dataClass: internal}")
    sound = SOUND.replace("listeners: [public]", "listeners: [public, idle]")
    (warning,) = load({"sound.yaml": sound, "a.yaml": text}).problems
    assert str(warning) == (
        "a.yaml:4:46: warning: spec.dataClass: no policy is for internal data, "
        "so the listener refuses every request of its class; expected a TrafficPolicy with dataClass internal"
    )


def test_a_policy_whose_class_no_listener_carries_is_a_warning() -> None:
    sound = SOUND.replace("port: 10000, dataClass: public", "port: 10000, dataClass: restricted")
    (warning,) = load({"sound.yaml": sound}).problems
    assert str(warning) == (
        "sound.yaml:42:40: warning: spec.dataClass: the policy matches nothing: "
        "no listener of a group carries public data; "
        "expected a Listener with dataClass public or a less strict one in a NodeGroup"
    )


def test_a_stricter_policy_is_reached_through_a_looser_listener_and_so_not_idle() -> None:
    assert load({"sound.yaml": SOUND}).problems == ()


def test_a_cluster_that_serves_none_of_a_policys_models_is_a_warning() -> None:
    sound = SOUND.replace("models: [llama]", "models: [llama, qwen]", 1)
    text = document(
        "TrafficPolicy", "{match: {path: /x/, models: [qwen]}, dataClass: public, clusters: [onprem, cloud]}"
    )
    (warning,) = load({"sound.yaml": sound, "a.yaml": text}).problems
    assert str(warning) == (
        'a.yaml:4:82: warning: spec.clusters[1]: the cluster "cloud" serves none of the policy\'s models; '
        "expected a cluster with model qwen, not llama"
    )


def test_restricted_data_without_a_residency_rule_is_a_warning() -> None:
    sound = SOUND.replace(
        "spec: {dataClass: restricted, allow: {sites: [on_prem]}}",
        "spec: {dataClass: public, allow: {sites: [on_prem, cloud]}}",
    )
    (warning,) = load({"sound.yaml": sound}).problems
    assert str(warning) == (
        "sound.yaml:47:40: warning: spec.dataClass: no residency rule is for restricted data: "
        "the policy's own clusters alone limit where it goes; expected a ResidencyRule with dataClass restricted"
    )


def test_a_broken_document_does_not_make_others_look_idle() -> None:
    broken = SOUND.replace("clusters: [onprem, cloud]", "clusters: onprem")
    assert [problem.severity for problem in load({"sound.yaml": broken}).problems] == ["error"]


def test_metrics_of_an_engine_that_tells_none_are_not_read() -> None:
    spec = (
        "{site: cloud, region: x, engine: ollama, models: [m], metrics: {port: 9000}, "
        "endpoints: [{address: 10.0.0.2, port: 1}], capacity: {concurrency: 1}}"
    )
    told = warnings_in(document("Cluster", spec))
    assert any("spec.metrics: nothing is read there: ollama tells no metrics" in one for one in told)
