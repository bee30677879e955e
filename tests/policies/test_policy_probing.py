"""How a cluster is to be probed: what the loader accepts, what it refuses and in what words."""

import pytest

from penstock_policies.probing import Generation, Health
from tests.policies.writing import errors_in, warnings_in


def cluster(health: str, tls: str = ", tls: {sni: a.example.com}", address: str = "10.0.0.9") -> str:
    return f"""\
apiVersion: penstock/v1
kind: Cluster
metadata: {{name: probed}}
spec:
  site: cloud
  region: eu-west
  engine: openai
  models: [llama, mistral]
  endpoints: [{{address: {address}, port: 443{tls}}}]
  capacity: {{concurrency: 10}}
  health: {health}
"""


def test_without_a_word_of_it_nothing_but_health_is_asked() -> None:
    health = Health()
    assert (health.path, health.models, health.generation, health.credential) == ("/health", False, None, None)


def test_generation_has_sound_defaults() -> None:
    generation = Generation()
    assert (generation.max_tokens, generation.interval, generation.tokens_per_day) == (4, 60.0, 20_000)


@pytest.mark.parametrize(
    "health",
    [
        "{models: true, generation: {}}",
        "{generation: {model: mistral, api: completions, path: /serve/v1/completions, ttftWarn: 1s}}",
        "{credential: {env: PENSTOCK_SECRET_EU}}",
        "{credential: {file: eu.key, header: api-key, scheme: ''}}",
    ],
)
def test_all_of_it_can_be_said(health: str) -> None:
    assert errors_in(cluster(health)) == []
    assert not [warning for warning in warnings_in(cluster(health)) if "spec.health" in warning]


@pytest.mark.parametrize(
    ("health", "error"),
    [
        (
            "{generation: {model: mistrall}}",
            (
                'a.yaml:11:32: spec.health.generation.model: a generation by "mistrall", which the cluster does not '
                'serve; expected one of llama, mistral; did you mean "mistral"?'
            ),
        ),
        (
            "{interval: 2m, generation: {interval: 1m}}",
            (
                "a.yaml:11:49: spec.health.generation.interval: generations more often than the probes that tell "
                "whether there is anybody to ask; expected at least spec.health.interval, 2m"
            ),
        ),
        (
            "{from: edge, models: true}",
            (
                "a.yaml:11:32: spec.health.models: Envoys look at no list of models; "
                "expected from: control-plane, or no models"
            ),
        ),
        (
            "{credential: {env: DATABASE_URL}}",
            (
                'a.yaml:11:30: spec.health.credential.env: malformed value "DATABASE_URL"; '
                "expected a variable whose name begins with PENSTOCK_SECRET_"
            ),
        ),
        (
            "{credential: {file: /etc/shadow}}",
            (
                'a.yaml:11:31: spec.health.credential.file: malformed value "/etc/shadow"; '
                "expected the name of a file of the credentials directory, without a path"
            ),
        ),
        (
            "{credential: {file: ..}}",
            (
                'a.yaml:11:31: spec.health.credential.file: malformed value ".."; '
                "expected the name of a file of the credentials directory, without a path"
            ),
        ),
        (
            "{credential: {}}",
            "a.yaml:11:24: spec.health.credential: unsound combination of fields; expected env or file, one of them",
        ),
        (
            "{credential: {file: a, header: Host}}",
            (
                'a.yaml:11:42: spec.health.credential.header: "Host" carries no key; '
                "expected a header such as Authorization, api-key or x-api-key"
            ),
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(health: str, error: str) -> None:
    assert errors_in(cluster(health)) == [error]


@pytest.mark.parametrize(
    "health",
    [
        "{generation: {tokensPerDay: 999}}",
        "{generation: {maxTokens: 65}}",
        '{generation: {prompt: "two\\nlines"}}',
        "{generation: {interval: 4s}}",
        "{generation: {tokens_per_day: 2000}}",
        "{credential: {env: PENSTOCK_SECRET_A, file: a}}",
        "{credential: {file: a, scheme: two words}}",
        "{models: yes-please}",
    ],
)
def test_what_is_out_of_bounds_is_refused(health: str) -> None:
    assert len(errors_in(cluster(health))) == 1


def test_a_key_that_would_travel_in_plain_text_is_a_warning() -> None:
    assert any(
        "spec.health.credential: the key is sent in plain text to endpoints without tls" in warning
        for warning in warnings_in(cluster("{credential: {env: PENSTOCK_SECRET_EU}}", tls=""))
    )


def test_a_generation_that_fails_before_it_is_slow_is_a_warning() -> None:
    found = warnings_in(cluster("{generation: {timeout: 2s, ttftWarn: 2s}}"))
    assert any("spec.health.generation.ttftWarn" in warning for warning in found)


def test_checkers_where_no_envoy_probes_are_told_to_change_nothing() -> None:
    edge = warnings_in(cluster("{from: edge, checkers: 5}"))
    assert not [warning for warning in edge if "checkers" in warning]
    (found,) = [warning for warning in warnings_in(cluster("{checkers: 5}")) if "checkers" in warning]
    assert found == (
        "a.yaml:11:22: warning: spec.health.checkers: changes nothing: only Envoys that probe have checkers among "
        "them; expected from: edge, or no checkers"
    )
