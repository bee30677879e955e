"""What is generated for each example, as a person would read it.

A case is a folder ``golden/CASE`` with a ``policy.yaml`` and, if need be, a ``decision.yaml``; every folder of
``policies/examples`` is a case too. ``pytest tests/envoy --regen-golden`` rewrites what is expected and removes what no
case has any more; the difference is what a reviewer reads.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from penstock_envoy.compiler import Compiler
from penstock_envoy.process import validate
from penstock_envoy.rendering import render
from penstock_envoy.residency import prove
from penstock_envoy.resource import EnvoyResource
from penstock_envoy.static import static_bootstrap
from penstock_policies.decision import Decision
from penstock_policies.policyset import PolicySet
from tests.envoy.fleet import decision, policy_set

GOLDEN = Path(__file__).parent / "golden"
EXAMPLES = Path(__file__).parents[2] / "policies" / "examples"
EXAMPLE_PREFIX = "example-"


def policy_texts(home: Path) -> list[str]:
    """The policy files below a folder, which may hold other YAML too."""
    texts = [each.read_text(encoding="utf-8") for each in sorted(home.rglob("*.yaml"))]
    return [text for text in texts if "apiVersion: penstock/" in text]


CASES = sorted(
    [each.parent.name for each in GOLDEN.glob("*/policy.yaml")]
    + [f"{EXAMPLE_PREFIX}{each.name}" for each in EXAMPLES.iterdir() if policy_texts(each)]
)


def case(name: str) -> tuple[PolicySet, Decision]:
    """The inputs of a case."""
    home = EXAMPLES / name.removeprefix(EXAMPLE_PREFIX) if name.startswith(EXAMPLE_PREFIX) else GOLDEN / name
    decided = home / "decision.yaml"
    policy = policy_set(*policy_texts(home))
    options: dict[str, Any] = yaml.safe_load(decided.read_text(encoding="utf-8")) if decided.exists() else {}
    if "unhealthy" in options:
        options["unhealthy"] = {cluster: tuple(keys) for cluster, keys in options["unhealthy"].items()}
    return policy, decision(policy, **options)


def generated(name: str) -> dict[str, str]:
    """Expected file name to its text, for each group and type of resource."""
    policy, decided = case(name)
    files: dict[str, dict[str, object]] = {}
    for group in policy.groups:
        for each in Compiler().compile(policy, decided, group):
            kind = each.type_url.rpartition(".")[2]
            files.setdefault(f"{group}.{kind}.json", {})[each.name] = render(each)
    return {file: json.dumps(content, indent=1, ensure_ascii=False) + "\n" for file, content in files.items()}


@pytest.mark.parametrize("name", CASES)
def test_the_generated_resources_are_the_golden_ones(name: str, request: pytest.FixtureRequest) -> None:
    home = GOLDEN / name
    found = generated(name)
    if request.config.getoption("--regen-golden", default=False):
        home.mkdir(exist_ok=True)
        for file, text in found.items():
            (home / file).write_text(text, encoding="utf-8")
        for orphan in {each.name for each in home.glob("*.json")} - set(found):
            (home / orphan).unlink()
    expected = {each.name: each.read_text(encoding="utf-8") for each in home.glob("*.json")}
    assert expected.keys() == found.keys()
    for file, text in found.items():
        assert json.loads(text) == json.loads(expected[file]), f"{name}/{file}: run pytest tests/envoy --regen-golden"


def test_no_golden_folder_is_left_without_a_case(request: pytest.FixtureRequest) -> None:
    orphans = {each for each in GOLDEN.iterdir() if each.is_dir() and each.name not in CASES}
    if request.config.getoption("--regen-golden", default=False):
        for orphan in orphans:
            for file in orphan.glob("*.json"):
                file.unlink()
            orphan.rmdir()
        orphans = set()
    assert not orphans


def resources_of(name: str) -> list[tuple[PolicySet, str, tuple[EnvoyResource, ...]]]:
    policy, decided = case(name)
    return [(policy, group, Compiler().compile(policy, decided, group)) for group in policy.groups]


@pytest.mark.parametrize("name", CASES)
def test_every_example_is_proven(name: str) -> None:
    for policy, group, resources in resources_of(name):
        prove(policy, resources, group)


@pytest.mark.e2e
@pytest.mark.parametrize("name", CASES)
def test_envoy_takes_every_example(name: str) -> None:
    for policy, _, resources in resources_of(name):
        secure = [each.tls for cluster in policy.clusters.values() for each in cluster.spec.endpoints if each.tls]
        if not all(Path(each.ca_file).exists() for each in secure):
            pytest.skip("this machine has no trusted roots where the example expects them")
        validate(static_bootstrap(resources, access_logs=("127.0.0.1", 1)))
