"""What the loader says of a document that the schema refuses."""

import re
from typing import Any

import pytest

from penstock_policies.expectations import PATTERNS, kind_schema
from penstock_policies.schema import KINDS
from tests.policies.writing import errors_in

CLUSTER = """\
apiVersion: penstock/v1
kind: Cluster
metadata:
  name: spare
spec:
  site: on_prem
  region: eu-central
  engine: vllm
  models: [llama]
  endpoints:
    - {address: 10.0.0.2, port: 8000}
  capacity: {concurrency: 100}
  health: {interval: 1s}
"""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "  capacity:",
            "  capacty: {}\n  capacity:",
            (
                "a.yaml:12:3: spec.capacty: unknown field; "
                "expected one of site, region, engine, models, endpoints, capacity, "
                "cost, carbon, power, latency, spot, modelVersions, "
                'health, metrics, outlierDetection, connectTimeout; did you mean "capacity"?'
            ),
        ),
        (
            "{interval: 1s}",
            "{intervall: 1s}",
            (
                "a.yaml:13:12: spec.health.intervall: unknown field; expected one of path, interval, timeout, "
                "unhealthyThreshold, healthyThreshold, rampInterval, from, checkers, models, "
                'generation, credential; did you mean "interval"?'
            ),
        ),
        (
            "{interval: 1s}",
            "{unhealthy_threshold: 2}",
            (
                "a.yaml:13:12: spec.health.unhealthy_threshold: unknown field; "
                "expected one of path, interval, timeout, "
                "unhealthyThreshold, healthyThreshold, rampInterval, from, checkers, models, "
                'generation, credential; did you mean "unhealthyThreshold"?'
            ),
        ),
        (
            "{interval: 1s}",
            "{concurrency: 1}",
            (
                "a.yaml:13:12: spec.health.concurrency: unknown field; expected one of path, interval, timeout, "
                "unhealthyThreshold, healthyThreshold, rampInterval, from, checkers, models, "
                'generation, credential; did you mean "spec.capacity.concurrency"?'
            ),
        ),
        (
            "{concurrency: 100}",
            "{}",
            "a.yaml:12:3: spec.capacity.concurrency: required field is missing; expected a whole number greater than 0",
        ),
        (
            "    - {address: 10.0.0.2, port: 8000}",
            "    - {address: 10.0.0.2}",
            "a.yaml:11:7: spec.endpoints[0].port: required field is missing; expected a whole number from 1 to 65535",
        ),
        (
            "port: 8000",
            'port: "8000"',
            (
                'a.yaml:11:33: spec.endpoints[0].port: wrong type: got "8000"; '
                "expected a whole number from 1 to 65535, without quotes"
            ),
        ),
        (
            "port: 8000",
            "port: 80000",
            "a.yaml:11:33: spec.endpoints[0].port: 80000 is out of range; expected a whole number from 1 to 65535",
        ),
        (
            "concurrency: 100",
            "concurrency: true",
            "a.yaml:12:27: spec.capacity.concurrency: wrong type: got true; expected a whole number greater than 0",
        ),
        (
            "site: on_prem",
            "site: on-prem",
            (
                'a.yaml:6:9: spec.site: unknown value "on-prem"; '
                'expected one of on_prem, cloud, edge; did you mean "on_prem"?'
            ),
        ),
        (
            "engine: vllm",
            "engine: VLLM",
            (
                'a.yaml:8:11: spec.engine: unknown value "VLLM"; '
                "expected one of vllm, sglang, trtllm, triton, nim, tgi, "
                'rayserve, ollama, openai; did you mean "vllm"?'
            ),
        ),
        (
            "models: [llama]",
            "models: llama",
            (
                'a.yaml:9:11: spec.models: wrong type: got "llama"; '
                'expected a list of at least one; did you mean "[llama]"?'
            ),
        ),
        (
            "models: [llama]",
            "models: []",
            "a.yaml:9:11: spec.models: a list is too short; expected a list of at least one",
        ),
        (
            "models: [llama]",
            "models: [3]",
            (
                "a.yaml:9:12: spec.models[0]: wrong type: got 3; "
                "expected text of 1 to 256 characters without control characters, in quotes"
            ),
        ),
        (
            "interval: 1s",
            "interval: 1",
            (
                "a.yaml:13:22: spec.health.interval: wrong type: got 1; "
                'expected a duration such as 500ms, 5s, 10m or 2h; did you mean "1s"?'
            ),
        ),
        (
            "interval: 1s",
            "interval: 1 second",
            (
                'a.yaml:13:22: spec.health.interval: malformed value "1 second"; '
                "expected a duration such as 500ms, 5s, 10m or 2h"
            ),
        ),
        (
            "interval: 1s",
            "interval: 1ms",
            (
                'a.yaml:13:22: spec.health.interval: "1ms" is out of range; '
                "expected a duration such as 500ms, 5s, 10m or 2h, at least 100ms"
            ),
        ),
        (
            "{concurrency: 100}",
            "{concurrency: 100, headroom: 20}",
            (
                "a.yaml:12:42: spec.capacity.headroom: wrong type: got 20; "
                'expected a percentage from 0% to 100%, such as 10%; did you mean "20%"?'
            ),
        ),
        (
            "name: spare",
            "name: Spare_1",
            (
                'a.yaml:4:9: metadata.name: malformed value "Spare_1"; '
                "expected a name of at most 63 lower-case letters, digits and inner hyphens"
            ),
        ),
        (
            "  name: spare",
            "  name: spare\n  labels: {tier: 1}",
            "a.yaml:5:18: metadata.labels.tier: wrong type: got 1; expected text, in quotes",
        ),
        (
            "  health: {interval: 1s}",
            "  health:",
            (
                "a.yaml:13:10: spec.health: the value is missing; "
                "expected a mapping with the fields path, interval, timeout, "
                "unhealthyThreshold, healthyThreshold, rampInterval, from, checkers, models, generation, credential"
            ),
        ),
        (
            "apiVersion: penstock/v1",
            "apiVersion: penstock/v2",
            'a.yaml:1:13: apiVersion: unknown value "penstock/v2"; expected penstock/v1; did you mean "penstock/v1"?',
        ),
        (
            "kind: Cluster",
            "kind: cluster",
            (
                'a.yaml:2:7: kind: unknown value "cluster"; expected one of Budget, Cluster, CostFeed, Listener, '
                'NodeGroup, ResidencyRule, TrafficPolicy; did you mean "Cluster"?'
            ),
        ),
        (
            "kind: Cluster\n",
            "",
            (
                "a.yaml:1:1: kind: required field is missing; expected one of Budget, Cluster, CostFeed, "
                "Listener, NodeGroup, ResidencyRule, TrafficPolicy"
            ),
        ),
    ],
)
def test_a_mistake_is_told_with_place_path_expectation_and_guess(old: str, new: str, expected: str) -> None:
    assert CLUSTER.count(old) == 1
    assert errors_in(CLUSTER.replace(old, new)) == [expected]


def test_a_document_that_is_no_mapping_is_an_error() -> None:
    assert errors_in("- a\n- b\n") == [
        "a.yaml:1:1: wrong type: got a list; expected a mapping with the fields apiVersion, kind, metadata, spec"
    ]


def test_a_document_of_another_system_is_told_what_belongs_here() -> None:
    assert errors_in("apiVersion: v1\nkind: ConfigMap\n") == [
        'a.yaml:1:13: apiVersion: unknown value "v1"; expected penstock/v1',
        (
            'a.yaml:2:7: kind: unknown value "ConfigMap"; expected one of Budget, Cluster, CostFeed, Listener, '
            "NodeGroup, ResidencyRule, TrafficPolicy"
        ),
    ]


def test_every_mistake_of_a_document_is_told_in_one_go() -> None:
    text = CLUSTER.replace("site: on_prem", "sight: on_prem").replace("port: 8000", "port: 0").replace("1s", "1")
    assert [error.split(": ")[:2] for error in errors_in(text)] == [
        ["a.yaml:5:1", "spec.site"],
        ["a.yaml:6:3", "spec.sight"],
        ["a.yaml:11:33", "spec.endpoints[0].port"],
        ["a.yaml:13:22", "spec.health.interval"],
    ]


def test_a_long_wrong_value_is_shortened_and_credentials_are_left_out() -> None:
    feed = """\
        apiVersion: penstock/v1
        kind: CostFeed
        metadata: {name: prices}
        spec: {type: http, url: "htp://user:secret@prices.example.com/%s"}
        """
    (error,) = errors_in(feed % ("x" * 500))
    assert error.startswith('a.yaml:4:25: spec.url: malformed value "htp://***@prices.example.com/xxx')
    assert "secret" not in error
    assert len(error) < 200


def test_an_odd_key_is_told_on_one_short_line() -> None:
    (error,) = errors_in(CLUSTER.replace("  capacity:", f'  "a\\nb{"c" * 100}": 1\n  capacity:'))
    assert error.startswith('a.yaml:12:3: spec["a\\nbccc')
    assert "\n" not in error
    assert "c" * 60 not in error


def test_every_pattern_of_the_schema_is_explained_in_words() -> None:
    patterns = {pattern for kind in KINDS for pattern in _patterns(dict(kind_schema(kind)))}
    assert patterns == set(PATTERNS)
    assert all(re.compile(pattern) for pattern in patterns)


def _patterns(schema: Any) -> set[str]:
    if isinstance(schema, dict):
        found = {pattern for inner in schema.values() for pattern in _patterns(inner)}
        return found | {schema["pattern"]} if isinstance(schema.get("pattern"), str) else found
    if isinstance(schema, list):
        return {pattern for inner in schema for pattern in _patterns(inner)}
    return set()
