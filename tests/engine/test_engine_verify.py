"""The last check and the ladder below it: a wrong plan is never published."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from penstock_policies.decision import Decision, Row, Rung
from penstock_policies.engine.eligibility import Eligibility, eligibility
from penstock_policies.engine.pipeline import decide
from penstock_policies.engine.plan import Outcome, Problem, RowPlan, Solver, SolverError
from penstock_policies.engine.verify import VerifyError, verify
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import PolicySet, RowKey
from penstock_policies.words import DataClass
from tests.engine.engine_world import EU, ONPREM, US, World, fleet, records, row, traffic

POLICY = fleet()
RESTRICTED = row("records")


def sound() -> Decision:
    return World(POLICY).tick()


def with_row(decision: Decision, key: RowKey, **changes: Any) -> Decision:
    return replace(decision, rows={**decision.rows, key: replace(decision.rows[key], **changes)})


def test_a_sound_decision_passes() -> None:
    verify(POLICY, sound())


@pytest.mark.parametrize(
    ("key", "changes", "breach"),
    [
        (RESTRICTED, {"weights": {ONPREM: 5000, EU: 5000}}, "lawful are"),
        (RESTRICTED, {"legs": {ONPREM: (ONPREM, EU)}}, "reaches"),
        (RESTRICTED, {"data_class": DataClass.PUBLIC}, "data class"),
        (row(), {"weights": {ONPREM: 9999, EU: 0, US: 0}}, "sum to 9999"),
        (row(), {"weights": {ONPREM: 10_001, EU: -1, US: 0}}, "not whole and positive"),
        (row(), {"weights": {ONPREM: 10_000.0, EU: 0, US: 0}}, "not whole and positive"),
        (row(), {"weights": {}}, "lawful are"),
        (row(), {"legs": {ONPREM: (EU, ONPREM), EU: (EU,), US: (US,)}}, "does not begin with itself"),
        (row(), {"legs": {ONPREM: (ONPREM, EU, EU), EU: (EU,), US: (US,)}}, "twice"),
        (row(), {"legs": {ONPREM: (ONPREM,)}}, "different clusters"),
    ],
)
def test_every_kind_of_breach_is_found(key: RowKey, changes: dict[str, Any], breach: str) -> None:
    with pytest.raises(VerifyError, match=breach) as caught:
        verify(POLICY, with_row(sound(), key, **changes))
    assert caught.value.rows == {key}


def test_a_missing_and_a_needless_row_are_found() -> None:
    decision = sound()
    moved: dict[RowKey, Row] = dict(decision.rows)
    moved[row("nobody")] = moved.pop(row())
    with pytest.raises(VerifyError) as caught:
        verify(POLICY, replace(decision, rows=moved))
    assert caught.value.rows == {row(), row("nobody")}


def test_weight_on_a_drained_or_a_down_cluster_is_found() -> None:
    with pytest.raises(VerifyError, match="lawful are"):
        verify(POLICY, replace(sound(), draining={ONPREM: 0.0}))
    world = World(POLICY)
    world.failing = {EU}
    with pytest.raises(VerifyError, match="is down and has weight"):
        verify(POLICY, with_row(world.tick(), row(), weights={ONPREM: 9000, EU: 1000, US: 0}))


def greedy_for_the_cloud(problem: Problem) -> Mapping[RowKey, RowPlan]:
    return {one.key: RowPlan({EU: 2.0, ONPREM: -1.0}, Outcome.PLANNED) for one in problem.rows}


def giving_up(problem: Problem) -> Mapping[RowKey, RowPlan]:
    raise SolverError("out of time")


@pytest.mark.parametrize("solver", [greedy_for_the_cloud, giving_up])
def test_a_failed_plan_leaves_the_last_good_weights_in_force(solver: Solver) -> None:
    world = World(POLICY, rates={row(): 300.0})
    before = world.run(120)
    world.failing = world.erring = {EU}
    decision = decide(POLICY, world.observations(), Overrides(), before, world.now, solver=solver)
    assert decision.rung is Rung.LAST_GOOD
    assert decision.rows[row()].weights == {ONPREM: 10_000, EU: 0, US: 0}, "the share of the dead cluster is re-spread"
    assert decision.rows[RESTRICTED].weights == {ONPREM: 10_000}
    assert any(note.message == "rung failed" for note in decision.notes)


def test_with_no_last_good_weights_the_policy_alone_decides() -> None:
    world = World(POLICY)
    decision = decide(POLICY, world.observations(), Overrides(), None, world.now, solver=giving_up)
    assert decision.rung is Rung.STATIC
    assert decision.rows[row()].weights == {ONPREM: 10_000, EU: 0, US: 0}


def test_the_next_good_plan_climbs_back_up_the_ladder() -> None:
    world = World(POLICY)
    world.previous = decide(POLICY, world.observations(), Overrides(), None, world.now, solver=giving_up)
    assert world.tick().rung is Rung.WATERFALL


def test_rows_that_no_rung_can_serve_lawfully_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = fleet(policies=(traffic(), records(clusters=(ONPREM, EU))))

    def without_residency(policy: PolicySet, key: RowKey, drains: Mapping[str, float]) -> Eligibility:
        return eligibility(replace(policy, residency={}), key, drains)

    monkeypatch.setattr("penstock_policies.engine.situation.eligibility", without_residency)
    decision = World(policy).tick()
    assert decision.rows[RESTRICTED].weights == {}
    assert decision.rows[RESTRICTED].legs == {}
    assert decision.rows[row()].weights[ONPREM] == 10_000
