"""The policy reference: its examples load, and no field is missing from it."""

import re
from pathlib import Path

import pytest

from penstock_policies.loader import load
from penstock_policies.published_schema import json_schema

REFERENCE = (Path(__file__).parents[2] / "docs" / "policy-reference.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", REFERENCE, re.MULTILINE | re.DOTALL)
PROSE = re.sub(r"^```yaml\n.*?^```", "", REFERENCE, flags=re.MULTILINE | re.DOTALL)
SAID = set(re.findall(r"[A-Za-z][A-Za-z0-9]*", " ".join(re.findall(r"`[^`]+`", PROSE))))


def test_the_examples_of_the_reference_are_a_sound_directory_together() -> None:
    loaded = load({f"example-{index}.yaml": text for index, text in enumerate(BLOCKS)})
    assert [str(problem) for problem in loaded.problems] == []
    assert loaded.require().budgets


@pytest.mark.parametrize("part", sorted(json_schema()["$defs"]))
def test_every_field_is_in_the_reference(part: str) -> None:
    assert set(json_schema()["$defs"][part].get("properties", {})) <= SAID


def test_every_word_of_the_language_is_in_the_reference() -> None:
    for definition in json_schema()["$defs"].values():
        for word in definition.get("enum", ()):
            assert re.search(rf"\b{word}\b", REFERENCE), word
