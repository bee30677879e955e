"""Plans for tests: a sound directory, an edit of it, and what comes of it."""

from dataclasses import replace

from penstock.plan.assumed import with_demand
from penstock.plan.comparison import Plan, compare
from penstock.plan.inputs import Inputs
from penstock_policies.loader import load
from penstock_policies.policyset import PolicySet
from tests.policies.writing import SOUND

NOW = 1_800_000_000.0

DEAR = SOUND.replace("capacity: {concurrency: 100}", "capacity: {concurrency: 100}\n  cost: {usdPerMillionTokens: 0.1}")
"""The sound directory with a price at home, so that its cloud at 0.9 is nine times as dear."""


def policies(text: str) -> PolicySet:
    return load({"policy.yaml": text}).require()


def edited(text: str, *edits: tuple[str, str]) -> str:
    """``text`` after the edits, each of which must find what it replaces exactly once."""
    for old, new in edits:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def plan_of(
    *edits: tuple[str, str], text: str = DEAR, inputs: Inputs | None = None, demand: dict[str, float] | None = None
) -> Plan:
    """The plan for an edit of ``text``."""
    before, after = policies(text), policies(edited(text, *edits))
    given = replace(inputs or Inputs(), at=NOW)
    return compare(before, after, with_demand(given, before, after, demand or {}))
