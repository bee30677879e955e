import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from penstock_policies.published_schema import json_schema
from penstock_policies.schema import KINDS
from tests.policies.writing import EXAMPLES, SOUND, SPARE, budget, feed

VALIDATOR = Draft202012Validator(json_schema())


def test_the_schema_is_valid_json_schema_of_every_kind() -> None:
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema)) == schema
    assert [choice["$ref"] for choice in schema["oneOf"]] == [f"#/$defs/{kind}" for kind in KINDS]


POLICY_FILES = [path for path in sorted(EXAMPLES.rglob("*.yaml")) if "apiVersion: penstock/" in path.read_text()]


@pytest.mark.parametrize("path", POLICY_FILES, ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_every_example_is_valid_by_the_schema(path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text()):
        VALIDATOR.validate(document)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("kind: Listener", "kind: Listner"),
        ("port: 10000,", "prt: 10000,"),
        ("engine: vllm", "engine: other"),
        ("capacity: {concurrency: 100}", "capacity: {concurrency: 100, headroom: 0.2}"),
        ("dataClass: public, clusters", "data_class: public, clusters"),
        ("penstock/v1\nkind: Listener", "penstock/v2\nkind: Listener"),
    ],
)
def test_what_the_loader_refuses_the_schema_refuses(old: str, new: str) -> None:
    assert SOUND.count(old) == 1
    documents = list(yaml.safe_load_all(SOUND.replace(old, new)))
    assert not all(VALIDATOR.is_valid(document) for document in documents)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("minimize: cost", "minimize: costs"),
        ("minimize: cost", "mix: {costs: 100%}"),
        ("minimize: cost", "mix: {cost: 1}"),
        ("survive: any", "survive: all"),
        ("duration: 8h", "duration: 8"),
        ("{header: x-session}", "{header: 'x session'}"),
        ("{eu-west: 3ms}", "{EU: 3ms}"),
        ("{eu-west: 3ms}", "{eu-west: 3}"),
        ("per: day", "per: week"),
        ("scope: {site: cloud}", "scope: {sites: [cloud]}"),
        ("measures: carbon", "measures: money"),
        ("pin: 10%", "pin: 10"),
        ("{llama: {stable: v1}}", "{llama: v1}"),
    ],
)
def test_what_the_loader_refuses_of_steering_the_schema_refuses(old: str, new: str) -> None:
    steering = """
apiVersion: penstock/v1
kind: TrafficPolicy
metadata: {name: batch}
spec:
  dataClass: public
  clusters: [spare]
  objective: {minimize: cost}
  shares: [{cluster: spare, pin: 10%}]
  schedules: [{name: n, cron: 0 22 * * *, duration: 8h}]
  versions: {llama: {stable: v1}}
  survive: any
  affinity: {header: x-session}
---
"""
    sound = "---\n".join(
        (
            steering,
            f"{SPARE}  latency: {{roundTrip: {{eu-west: 3ms}}}}\n",
            feed("grid", "carbon"),
            budget("{amount: 5, per: day, scope: {site: cloud}}"),
        )
    )
    assert sound.count(old) == 1

    def valid(text: str) -> bool:
        return all(VALIDATOR.is_valid(document) for document in yaml.safe_load_all(text) if document)

    assert valid(sound)
    assert not valid(sound.replace(old, new))


def test_defaults_are_shown_as_they_are_written() -> None:
    definitions = json_schema()["$defs"]
    assert definitions["Health"]["properties"]["interval"]["default"] == "5s"
    assert definitions["Limits"]["properties"]["maxStep"]["default"] == "10%"
    assert definitions["ClusterSpec"]["properties"]["health"]["default"]["timeout"] == "2s"
    assert definitions["ClusterSpec"]["properties"]["cost"]["default"] == {
        "usdPerMillionTokens": 0.0,
        "promptPriceRatio": "100%",
        "egressUsdPerMillionTokens": 0.0,
    }


def test_every_default_is_valid_by_the_schema_of_its_own_field() -> None:
    schema = json_schema()
    for name, definition in schema["$defs"].items():
        for field, inner in definition.get("properties", {}).items():
            if "default" in inner:
                validator = Draft202012Validator({"$defs": schema["$defs"], **inner})
                assert validator.is_valid(inner["default"]), (name, field)


def test_ranges_of_durations_are_told() -> None:
    interval = json_schema()["$defs"]["Health"]["properties"]["interval"]
    assert interval["description"].endswith("From 100ms to 1h.")


def test_every_kind_and_every_part_of_it_is_described() -> None:
    definitions: dict[str, Any] = json_schema()["$defs"]
    assert all(definition["description"] for definition in definitions.values())
