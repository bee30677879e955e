"""What a policy wishes for in vain is a warning, and keeps nothing from running."""

import pytest

from penstock_policies.loader import load
from tests.policies.writing import SOUND, SPARE, budget, warnings_in, wishing


def test_a_cluster_in_no_version_that_is_asked_for_is_a_warning() -> None:
    sound = SOUND.replace("capacity: {concurrency: 100}", "capacity: {concurrency: 100}\n  modelVersions: {llama: v1}")
    loaded = load({"sound.yaml": sound, "a.yaml": wishing("versions: {llama: {stable: v1}}")})
    assert [str(problem) for problem in loaded.problems] == [
        (
            'a.yaml:7:22: warning: spec.clusters[1]: the cluster "cloud" serves no known version of llama, '
            "so it gets none of its requests; expected modelVersions with v1"
        )
    ]


@pytest.mark.parametrize(
    ("spec", "warning"),
    [
        (
            "{amount: 5, per: day, scope: {policy: records, cluster: cloud}}",
            (
                "a.yaml:4:36: warning: spec.scope: the budget matches nothing: no policy in its scope names a cluster "
                "in its scope; expected a policy, cluster or site that belong together"
            ),
        ),
        (
            "{amount: 5, per: day, scope: {policy: records}}",
            (
                "a.yaml:4:36: warning: spec.scope: the budget counts and limits nothing: all traffic in its scope is "
                "restricted, which is exempt; expected a scope with public or internal traffic"
            ),
        ),
    ],
)
def test_a_budget_that_limits_nothing_is_a_warning(spec: str, warning: str) -> None:
    assert warnings_in(budget(spec)) == [warning]


@pytest.mark.parametrize(
    ("wish", "warning"),
    [
        (
            "survive: any",
            (
                "a.yaml:8:12: warning: spec.survive: the policy has one cluster, whose loss nobody can carry; "
                "expected a second cluster"
            ),
        ),
        (
            "objective: {minimize: carbon}",
            (
                "a.yaml:8:14: warning: spec.objective: carbon decides nothing: none of the policy's clusters says "
                "what it emits; expected carbon in the Clusters"
            ),
        ),
        ("prefer: [{clusters: []}]", "a.yaml:8:12: warning: spec.prefer[0]: the tier is empty"),
        (
            "prefer: [{sites: [on_prem, edge]}]",
            (
                'a.yaml:8:30: warning: spec.prefer[0].sites[1]: none of the policy\'s clusters is at site "edge"; '
                "expected one of on_prem"
            ),
        ),
        (
            "prefer: [{sites: [on_prem]}, {clusters: [onprem]}]",
            (
                'a.yaml:8:44: warning: spec.prefer[1].clusters[0]: the cluster "onprem" is in tier 1 already, '
                "which counts; expected each cluster in one tier"
            ),
        ),
        (
            "shares: [{cluster: onprem, maxShare: 100%}]",
            (
                "a.yaml:8:12: warning: spec.shares[0]: the rule bounds nothing; "
                "expected minShare above 0% or maxShare below 100%"
            ),
        ),
        (
            "schedules: [{name: n, cron: 0 22 * * *, duration: 8h}]",
            (
                "a.yaml:8:15: warning: spec.schedules[0]: the schedule changes nothing; "
                "expected only, objective, prefer or shares in it"
            ),
        ),
        (
            "schedules: [{name: n, cron: 0 22 * * *, duration: 8h, only: {}}]",
            (
                "a.yaml:8:63: warning: spec.schedules[0].only: all of the policy's clusters fit; "
                "expected what leaves one of them out"
            ),
        ),
    ],
)
def test_a_wish_without_effect_is_a_warning(wish: str, warning: str) -> None:
    (found,) = warnings_in(wishing(wish, clusters="[onprem]"))
    assert found.startswith(warning)


def test_a_schedule_that_leaves_a_model_to_nobody_is_a_warning() -> None:
    sound = SOUND.replace("models: [llama]", "models: [llama, qwen]", 1)
    wish = wishing("schedules: [{name: n, cron: 0 22 * * *, duration: 8h, only: {sites: [cloud]}}]")
    (warning,) = load({"sound.yaml": sound, "a.yaml": wish}).problems
    assert 'no cluster that fits serves the model "qwen", which is then served as at other hours' in str(warning)


@pytest.mark.parametrize(
    ("fields", "policy_fields", "warning"),
    [
        (
            "latency: {roundTrip: {eu-wset: 3ms}}",
            "",
            (
                'spec.latency.roundTrip.eu-wset: no node group is in region "eu-wset"; '
                'expected one of eu-west; did you mean "eu-west"?'
            ),
        ),
        (
            "spot: {confidence: 0%}",
            "survive: none",
            (
                "spec.spot.confidence: no plan counts on the cluster, so it serves only what nobody else can; "
                "expected more than 0%"
            ),
        ),
        (
            "latency: {ttftP95: 400ms}",
            "slo: {ttftP95: 300ms}",
            (
                "spec.slo.ttftP95: none of the policy's clusters keeps the target even when idle; "
                "expected at least 400ms, the fastest cluster's latency.ttftP95, and the round trip to it"
            ),
        ),
        (
            "spot: {}",
            "survive: spot",
            (
                "spec.clusters: all of the policy's clusters are spot, so nobody can carry the loss of one by plan; "
                "expected a cluster that is not spot, or survive: none"
            ),
        ),
    ],
)
def test_what_a_cluster_says_in_vain_is_a_warning(fields: str, policy_fields: str, warning: str) -> None:
    (found,) = warnings_in(f"{SPARE}  {fields}\n---\n{wishing(policy_fields, clusters='[spare]')}")
    assert warning in found
