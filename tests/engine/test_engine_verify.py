"""The last check and the ladder below it: a wrong plan is never published."""

from dataclasses import replace
from typing import Any

import pytest

from penstock_policies.decision import BudgetView, Decision, Row, Rung
from penstock_policies.engine import waterfall
from penstock_policies.engine.pipeline import decide
from penstock_policies.engine.plan import Outcome, Problem, RowPlan, Solution, Solver, SolverError
from penstock_policies.engine.verify import VerifyError, verify
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import PolicySet, RowKey
from penstock_policies.words import DataClass
from tests.engine.engine_world import EU, MODEL, ONPREM, START, US, World, budget, cluster, fleet, onprem, row, traffic

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


def test_a_refusal_with_weights_and_none_without_are_found() -> None:
    with pytest.raises(VerifyError, match="weights and a refusal"):
        verify(POLICY, with_row(sound(), row(), refusal="no_cluster_available"))
    world = World(POLICY)
    world.drain(ONPREM)
    with pytest.raises(VerifyError, match="neither weights nor a refusal"):
        verify(POLICY, with_row(world.tick(), RESTRICTED, refusal=""))


def test_a_version_nobody_asked_for_is_found() -> None:
    old, new = cluster(EU, versions={MODEL: "v1"}), cluster(US, versions={MODEL: "v2"})
    untold = onprem()
    free = fleet(clusters=(untold, old, new), policies=(traffic(),))
    decision = World(free).tick()
    rule = {"versions": {MODEL: {"stable": "v1"}}}
    strict = fleet(clusters=(untold, old, new), policies=(traffic(more=rule),))
    with pytest.raises(VerifyError, match=f"lawful are \\['{EU}'\\]"):
        verify(strict, decision)
    tried = fleet(
        clusters=(untold, old, new),
        policies=(traffic(more={"versions": {MODEL: {"stable": "v1", "canary": "v2"}}}),),
    )
    with pytest.raises(VerifyError, match=f"lawful are \\['{EU}', '{US}'\\]"):
        verify(tried, decision)


def test_serving_outside_a_schedules_hours_is_found_to_the_minute() -> None:
    nights = {
        "schedules": [{"name": "nights", "cron": "0 22 * * *", "duration": "8h", "only": {"sites": ["on_prem"]}}],
    }
    policy = fleet(policies=(traffic(more=nights),))
    decision = World(fleet(policies=(traffic(),))).tick()
    ten_at_night = START - START % 86_400 + 22 * 3600
    verify(policy, replace(decision, at=ten_at_night - 1))
    with pytest.raises(VerifyError, match="lawful are"):
        verify(policy, replace(decision, at=ten_at_night))
    with pytest.raises(VerifyError, match="lawful are"):
        verify(policy, replace(decision, at=ten_at_night + 8 * 3600 - 1))
    verify(policy, replace(decision, at=ten_at_night + 8 * 3600))


def test_spending_from_an_exhausted_budget_that_rejects_is_found_but_restricted_rows_are_exempt() -> None:
    fleetwide = budget("all", {}, on_exhausted="reject")
    policy = replace(POLICY, budgets={"all": fleetwide})
    view = BudgetView(100.0, 120.0, START - 1, START + 1, 1.0, 130.0, exhausted=True)
    with pytest.raises(VerifyError, match="lawful are") as caught:
        verify(policy, replace(sound(), budgets={"all": view}))
    assert caught.value.rows == {row()}
    verify(policy, replace(sound(), budgets={"all": replace(view, exhausted=False)}))
    shifting = replace(POLICY, budgets={"all": budget("all", {}, on_exhausted="shift")})
    verify(shifting, replace(sound(), budgets={"all": view}))
    american = replace(POLICY, budgets={"us": budget("us", {"cluster": US}, on_exhausted="reject")})
    with pytest.raises(VerifyError, match="lawful are"):
        verify(american, replace(sound(), budgets={"us": view}))


def greedy_for_the_cloud(problem: Problem) -> Solution:
    return Solution({one.key: RowPlan({EU: 2.0, ONPREM: -1.0}, Outcome.PLANNED) for one in problem.rows})


def giving_up(problem: Problem) -> Solution:
    raise SolverError("out of iterations")


def failures(decision: Decision) -> list[object]:
    return [note.fields["rung"] for note in decision.notes if note.message == "rung failed"]


@pytest.mark.parametrize("solver", [greedy_for_the_cloud, giving_up])
def test_where_the_optimum_fails_the_waterfall_plans(solver: Solver) -> None:
    world = World(POLICY)
    decision = decide(POLICY, world.observations(), Overrides(), None, world.now, solver=solver)
    assert decision.rung is Rung.WATERFALL
    assert decision.rows[row()].weights == {ONPREM: 10_000, EU: 0, US: 0}
    assert failures(decision) == [Rung.OPTIMUM]


@pytest.mark.parametrize("solver", [greedy_for_the_cloud, giving_up])
def test_where_no_plan_is_sound_the_last_good_weights_stay_in_force(
    solver: Solver, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(POLICY, rates={row(): 300.0})
    before = world.run(120)
    monkeypatch.setattr(waterfall, "solve", solver)
    world.failing = world.erring = {EU}
    decision = decide(POLICY, world.observations(), Overrides(), before, world.now, solver=solver)
    assert decision.rung is Rung.LAST_GOOD
    assert decision.rows[row()].weights == {ONPREM: 10_000, EU: 0, US: 0}, "the share of the dead cluster is re-spread"
    assert decision.rows[RESTRICTED].weights == {ONPREM: 10_000}
    assert failures(decision) == [Rung.OPTIMUM, Rung.WATERFALL]


def test_with_no_last_good_weights_the_policy_alone_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(POLICY)
    monkeypatch.setattr(waterfall, "solve", giving_up)
    decision = decide(POLICY, world.observations(), Overrides(), None, world.now, solver=giving_up)
    assert decision.rung is Rung.STATIC
    assert decision.rows[row()].weights == {ONPREM: 10_000, EU: 0, US: 0}


def test_the_next_good_plan_climbs_back_up_the_ladder() -> None:
    world = World(POLICY)
    world.previous = decide(POLICY, world.observations(), Overrides(), None, world.now, solver=giving_up)
    assert world.tick().rung is Rung.OPTIMUM


def test_rows_that_no_rung_can_serve_lawfully_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = fleet(policies=(traffic(), traffic("records", data_class="restricted", clusters=(ONPREM, EU))))
    # Eligibility that has forgotten residency: only the last gate stands between restricted data and the cloud.
    monkeypatch.setattr(PolicySet, "allowed", lambda *_: None)
    decision = World(policy).tick()
    assert decision.rows[RESTRICTED].weights == {}
    assert decision.rows[RESTRICTED].legs == {}
    assert decision.rows[row()].weights[ONPREM] == 10_000
