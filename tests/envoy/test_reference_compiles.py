"""The policy reference's fleet, decided by the real engine at several hours: compiled, proven and warmed for."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from penstock_envoy import compiler
from penstock_envoy.compiler import Compiler
from penstock_envoy.residency import prove
from penstock_policies.decision import Decision
from penstock_policies.engine.pipeline import decide
from penstock_policies.observations import Observations, Spend
from penstock_policies.overrides import Drain, Overrides
from penstock_policies.policyset import RowKey
from penstock_policies.words import DataClass
from tests.envoy.fleet import policy_set

REFERENCE = (Path(__file__).parents[2] / "docs" / "policy-reference.md").read_text(encoding="utf-8")
POLICY = policy_set(*re.findall(r"^```yaml\n(.*?)^```", REFERENCE, re.MULTILINE | re.DOTALL))
GROUP = "edge-eu"
CHAT = RowKey("chat", "eu-west", "llama-3-70b")
CHATS = frozenset(POLICY.policies["chat"].spec.clusters)
"""Clusters of the policy with hours and a budget; the reference's other examples have neither."""
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()
NIGHT = datetime(2026, 11, 24, 23, tzinfo=UTC).timestamp()
DAY = datetime(2026, 11, 24, tzinfo=UTC).timestamp()


def decided(now: float, *, spent: float = 0.0, drained: tuple[str, ...] = ()) -> Decision:
    spend = {"chat-daily": Spend(at=now, period_start=DAY, usd=spent)}
    drains = {name: Drain(name, now - 1, now + 3600, "maintenance", "ops") for name in drained}
    return decide(POLICY, Observations(spend=spend), Overrides(drains), None, now)


@pytest.mark.parametrize(
    "decision",
    [decided(NOON), decided(NIGHT), decided(NOON, spent=400.0), decided(NOON, drained=("onprem-fra",))],
    ids=["noon", "night", "spent", "drained"],
)
def test_whatever_the_hour_and_the_purse_the_configuration_is_proven(decision: Decision) -> None:
    proof = prove(POLICY, Compiler().compile(POLICY, decision, GROUP), GROUP)
    assert proof.clusters[DataClass.RESTRICTED] <= {"onprem-fra"}


def test_at_night_nothing_leaves_home() -> None:
    proof = prove(POLICY, Compiler().compile(POLICY, decided(NIGHT), GROUP), GROUP)
    assert proof.clusters[DataClass.PUBLIC] & CHATS == {"onprem-fra"}


def test_an_exhausted_budget_refuses_what_it_pays_for_and_spares_restricted_requests() -> None:
    decision = decided(NOON, spent=400.0)
    assert decision.rows[CHAT].refusal == "budget_exhausted"
    proof = prove(POLICY, Compiler().compile(POLICY, decision, GROUP), GROUP)
    assert not proof.clusters[DataClass.PUBLIC] & CHATS
    assert proof.clusters[DataClass.RESTRICTED] == {"onprem-fra"}


def test_after_warming_neither_the_hour_nor_the_purse_nor_a_drain_authors_anything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    it = Compiler()
    it.warm(POLICY, decided(NOON), GROUP)

    def author(*_: Any, **__: Any) -> bytes:
        raise AssertionError("authored on the hot path")

    for name in ("author_leg", "author_cluster", "author_listener", "author_routes"):
        monkeypatch.setattr(compiler, name, author)
    for decision in (
        decided(NOON),
        decided(NIGHT),
        decided(NOON, spent=400.0),
        decided(NOON, drained=("cloud-eu-west",)),
    ):
        it.compile(POLICY, decision, GROUP)
