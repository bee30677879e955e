"""What a policy may ask for besides its clusters, and what it is told when the asking is unsound."""

import pytest

from penstock_policies.loader import load
from tests.policies.writing import SOUND, SPARE, budget, errors_in, feed, sound_set, wishing


@pytest.mark.parametrize(
    ("wish", "error"),
    [
        (
            "prefer: [{clusters: [onprm]}]",
            (
                'a.yaml:8:24: spec.prefer[0].clusters[0]: no Cluster is named "onprm"; '
                'expected one of cloud, onprem; did you mean "onprem"?'
            ),
        ),
        (
            "shares: [{cluster: clowd, minShare: 10%}]",
            (
                'a.yaml:8:22: spec.shares[0].cluster: no Cluster is named "clowd"; '
                'expected one of cloud, onprem; did you mean "cloud"?'
            ),
        ),
        (
            "schedules: [{name: n, cron: '0 22 * * *', duration: 8h, only: {clusters: [onprem, clowd]}}]",
            (
                'a.yaml:8:85: spec.schedules[0].only.clusters[1]: no Cluster is named "clowd"; '
                'expected one of cloud, onprem; did you mean "cloud"?'
            ),
        ),
    ],
)
def test_a_wish_about_an_unknown_cluster_is_an_error_with_a_guess(wish: str, error: str) -> None:
    assert errors_in(wishing(wish)) == [error]


@pytest.mark.parametrize(
    ("wish", "path"),
    [
        ("prefer: [{clusters: [cloud]}]", "spec.prefer[0].clusters[0]"),
        ("shares: [{cluster: cloud, pin: 10%}]", "spec.shares[0].cluster"),
        (
            "schedules: [{name: n, cron: '0 1 * * *', duration: 1h, prefer: [{clusters: [onprem, cloud]}]}]",
            "spec.schedules[0].prefer[0].clusters[1]",
        ),
        (
            "schedules: [{name: n, cron: '0 1 * * *', duration: 1h, shares: [{cluster: cloud, pin: 1%}]}]",
            "spec.schedules[0].shares[0].cluster",
        ),
    ],
)
def test_a_wish_about_a_cluster_that_the_policy_does_not_name_is_an_error(wish: str, path: str) -> None:
    (error,) = errors_in(wishing(wish, clusters="[onprem]"))
    assert f': {path}: the policy does not name the cluster "cloud" among those that may serve' in error
    assert error.endswith("expected one of onprem")


@pytest.mark.parametrize(
    ("wish", "error"),
    [
        (
            "objective: {minimize: cost, mix: {latency: 100%}}",
            "a.yaml:8:14: spec.objective: unsound combination of fields; expected minimize or mix, not both",
        ),
        (
            "objective: {mix: {cost: 50%, carbon: 30%}}",
            ("a.yaml:8:14: spec.objective: unsound combination of fields; expected parts that add up to 100%, not 80%"),
        ),
        (
            "objective: {mix: {costs: 100%}}",
            (
                'a.yaml:8:21: spec.objective.mix.costs: unknown key "costs"; '
                'expected one of cost, latency, carbon, locality, spread; did you mean "cost"?'
            ),
        ),
        (
            "prefer: [{}]",
            "a.yaml:8:12: spec.prefer[0]: unsound combination of fields; expected clusters or sites, one of them",
        ),
        (
            "shares: [{cluster: cloud, minShare: 50%, maxShare: 10%}]",
            "a.yaml:8:12: spec.shares[0]: unsound combination of fields; expected minShare not above maxShare",
        ),
        (
            "shares: [{cluster: cloud, pin: 1%}, {cluster: cloud, pin: 2%}]",
            (
                'a.yaml:8:49: spec.shares[1].cluster: a second rule for "cloud"; '
                "expected one rule; the first stands at a.yaml:8:22"
            ),
        ),
        (
            "schedules: [{name: n, cron: 22 h, duration: 8h}]",
            (
                'a.yaml:8:31: spec.schedules[0].cron: malformed value "22 h"; '
                "expected five cron fields, such as '0 22 * * *', not 2"
            ),
        ),
        (
            "schedules: [{name: n, cron: 30 0 22 * * *, duration: 8h}]",
            (
                'a.yaml:8:31: spec.schedules[0].cron: malformed value "30 0 22 * * *"; '
                "expected five cron fields, such as '0 22 * * *', not 6"
            ),
        ),
        (
            "schedules: [{name: n, cron: 0 25 * * *, duration: 8h}]",
            (
                'a.yaml:8:31: spec.schedules[0].cron: malformed value "0 25 * * *"; '
                "expected five cron fields, such as '0 22 * * *': Bad hour"
            ),
        ),
        (
            "schedules: [{name: n, cron: 0 22 * * *, duration: 8h, timeZone: Europe/Berln}]",
            (
                'a.yaml:8:67: spec.schedules[0].timeZone: malformed value "Europe/Berln"; '
                'expected a time zone of the IANA database, such as Europe/Berlin; did you mean "Europe/Berlin"?'
            ),
        ),
        (
            "affinity: {header: x-penstock-session}",
            (
                'a.yaml:8:22: spec.affinity.header: the edge removes "x-penstock-session" from requests before '
                "anything else; expected a header that begins with neither x-envoy- nor x-penstock-"
            ),
        ),
        (
            "affinity: {header: x-session, ttl: 1h}",
            "a.yaml:8:13: spec.affinity: unsound combination of fields; expected ttl only with cookie",
        ),
        (
            "affinity: {header: 'x session'}",
            (
                'a.yaml:8:22: spec.affinity.header: malformed value "x session"; '
                "expected a name of at most 128 letters, digits, hyphens and underscores"
            ),
        ),
        (
            "schedules: [{name: n, cron: 0 22 * * *, duration: 8h, only: {sites: [edge]}}]",
            (
                "a.yaml:8:63: spec.schedules[0].only: none of the policy's clusters fits, "
                "so the schedule could not be kept; "
                "expected what fits at least one of onprem (on_prem, eu-central), cloud (cloud, eu-west)"
            ),
        ),
        (
            "versions: {lama: {stable: v1}}",
            (
                'a.yaml:8:20: spec.versions.lama: versions of "lama", for which the policy is not or which none of its '
                'clusters serves; expected one of llama; did you mean "llama"?'
            ),
        ),
        (
            "versions: {llama: {stable: v1}}",
            (
                "a.yaml:8:30: spec.versions.llama.stable: none of the policy's clusters serves version "
                '"v1" of llama; expected modelVersions in a Cluster to say so'
            ),
        ),
    ],
)
def test_an_unsound_wish_is_told_with_place_and_expectation(wish: str, error: str) -> None:
    assert errors_in(wishing(wish)) == [error]


def test_two_schedules_of_one_name_are_an_error() -> None:
    schedule = "{name: nights, cron: '0 22 * * *', duration: 8h, prefer: [{sites: [cloud]}]}"
    (error,) = errors_in(wishing(f"schedules:\n  - {schedule}\n  - {schedule}"))
    assert error == (
        'a.yaml:10:12: spec.schedules[1].name: a second schedule named "nights"; '
        "expected a name that no other schedule has; the first stands at a.yaml:9:12"
    )


def test_a_version_must_be_served_and_a_canary_may_come_later() -> None:
    sound = SOUND.replace("capacity: {concurrency: 100}", "capacity: {concurrency: 100}\n  modelVersions: {llama: v1}")
    wish = wishing("versions: {llama: {stable: v1, canary: v2}}", clusters="[onprem]")
    loaded = load({"sound.yaml": sound, "a.yaml": wish})
    assert [str(problem) for problem in loaded.problems] == [
        (
            "a.yaml:8:42: warning: spec.versions.llama.canary: none of the policy's clusters serves version "
            '"v2" of llama yet; expected modelVersions in a Cluster to say so'
        )
    ]
    (error,) = load({"sound.yaml": sound, "a.yaml": wish.replace("v2", "v1")}).errors
    assert str(error) == (
        'a.yaml:8:42: spec.versions.llama.canary: "v1" is on trial and stable at once; '
        "expected another version than stable, or no canary"
    )
    (error,) = load({"sound.yaml": sound, "a.yaml": wish.replace("stable: v1", "stable: v11")}).errors
    assert str(error).endswith('serves version "v11" of llama; expected one of v1; did you mean "v1"?')


@pytest.mark.parametrize(
    ("field", "error"),
    [
        (
            "modelVersions: {lama: v1}",
            (
                'a.yaml:11:25: spec.modelVersions.lama: a version of "lama", which the cluster does not serve; '
                'expected a version of one of llama; did you mean "llama"?'
            ),
        ),
        (
            "carbon: {}",
            (
                "a.yaml:11:11: spec.carbon: the cluster has no carbon figure; "
                "expected gramsPerMillionTokens, or feed and key"
            ),
        ),
        (
            "carbon: {key: x, gramsPerMillionTokens: 1.0}",
            "a.yaml:11:17: spec.carbon.key: a key without a feed; expected feed: the name of a CostFeed",
        ),
        (
            "carbon: {feed: grid, key: x}",
            (
                'a.yaml:11:18: spec.carbon.feed: no CostFeed is named "grid"; '
                "expected the name of a CostFeed; there is none"
            ),
        ),
        (
            "latency: {roundTrip: {EU: 3ms}}",
            (
                'a.yaml:11:25: spec.latency.roundTrip.EU: malformed key "EU"; '
                "expected a region of at most 63 lower-case letters, digits and hyphens"
            ),
        ),
        (
            "spot: {confidence: 0.5}",
            (
                "a.yaml:11:22: spec.spot.confidence: wrong type: got 0.5; "
                'expected a percentage from 0% to 100%, such as 10%; did you mean "50%"?'
            ),
        ),
    ],
)
def test_what_a_cluster_says_of_itself_is_checked(field: str, error: str) -> None:
    assert errors_in(f"{SPARE}  {field}\n") == [error]


@pytest.mark.parametrize(("field", "measures", "wanted"), [("cost", "carbon", "price"), ("carbon", "price", "carbon")])
def test_a_feed_of_the_other_measure_is_an_error(field: str, measures: str, wanted: str) -> None:
    figures = feed("figures", measures)
    (error,) = errors_in(f"{SPARE}  {field}: {{feed: figures, key: x}}\n---\n{figures}")
    assert error == (
        f'a.yaml:11:{12 + len(field)}: spec.{field}.feed: the feed "figures" measures {measures}; '
        f"expected a CostFeed with measures: {wanted}; it stands at a.yaml:13:1"
    )


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        (
            "{amount: 5, per: day, scope: {policy: chatt}}",
            (
                'a.yaml:4:45: spec.scope.policy: no TrafficPolicy is named "chatt"; '
                'expected one of chat, records; did you mean "chat"?'
            ),
        ),
        (
            "{amount: 5, per: day, scope: {cluster: chat}}",
            (
                'a.yaml:4:46: spec.scope.cluster: no Cluster is named "chat", though a TrafficPolicy is; '
                "expected one of cloud, onprem"
            ),
        ),
        ("{amount: 0, per: day}", "a.yaml:4:16: spec.amount: 0 is out of range; expected a number greater than 0"),
        (
            "{amount: 5, per: dai}",
            'a.yaml:4:24: spec.per: unknown value "dai"; expected one of day, month; did you mean "day"?',
        ),
    ],
)
def test_a_budget_must_be_for_something_that_is_there(spec: str, error: str) -> None:
    assert errors_in(budget(spec)) == [error]


def test_a_budget_is_part_of_the_policy_set_and_of_its_digest() -> None:
    small = sound_set(budget("{amount: 5, per: day, scope: {site: cloud}}"))
    assert small.budgets["purse"].spec.amount == 5
    assert small.digest != sound_set(budget("{amount: 6, per: day, scope: {site: cloud}}")).digest


def test_all_that_can_be_wished_for_at_once_is_sound() -> None:
    rich = wishing(
        """objective: {mix: {cost: 60%, carbon: 25%, latency: 15%}, distancePenalty: 5%}
  prefer: [{sites: [on_prem]}, {clusters: [cloud, spare]}]
  shares: [{site: on_prem, minShare: 20%}, {cluster: spare, maxShare: 50%}]
  schedules:
    - name: nights
      cron: 0 22 * * MON-FRI
      duration: 8h
      timeZone: Europe/Berlin
      only: {sites: [on_prem]}
    - {name: weekend, cron: 0 0 * * SAT, duration: 2d, objective: {minimize: spread}, shares: []}
  versions: {llama: {stable: v1, canary: v2, canaryShare: 5%}}
  survive: any
  affinity: {cookie: sid, ttl: 30m}
  typicalRequest: {promptTokens: 1200, outputTokens: 150}
  slo: {ttftP95: 800ms}
  limits: {maxStep: 10%, minDwell: 30s, loadStep: 50%, deadBand: 2%, reversals: 2}""",
        clusters="[onprem, cloud, spare]",
    )
    spare = f"""{SPARE}  modelVersions: {{llama: v2}}
  spot: {{confidence: 60%}}
  carbon: {{feed: grid, key: us-east}}
  latency: {{ttftP95: 120ms, roundTrip: {{eu-west: 90ms}}}}
"""
    v1 = "modelVersions: {llama: v1}\n  capacity:"
    loaded = load(
        {
            "sound.yaml": SOUND.replace("capacity:", v1),
            "a.yaml": rich,
            "b.yaml": spare,
            "c.yaml": feed("grid", "carbon"),
            "d.yaml": budget(
                "{amount: 120.5, per: month, timeZone: Europe/Berlin, scope: {site: cloud}, onExhausted: reject}"
            ),
        }
    )
    assert loaded.problems == ()
    batch = loaded.require().policies["batch"].spec
    assert batch.schedules[0].duration == 8 * 3600
    assert batch.limits.reversals == 2
