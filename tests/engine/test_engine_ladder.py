"""The ladder, row by row: who breaks a rule falls alone, everybody else keeps the plan, and all of it is told."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from penstock_policies.decision import Decision, Row, Rung, Stage
from penstock_policies.engine import optimum, pipeline, waterfall
from penstock_policies.engine.pipeline import decide
from penstock_policies.engine.plan import Problem, Solution, Solver, SolverError
from penstock_policies.engine.rows import planned_rows
from penstock_policies.engine.situation import Situation
from penstock_policies.engine.verify import VerifyError, verify
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import PolicySet, RowKey
from penstock_policies.serial import from_json, material_digest, to_json
from tests.engine.engine_world import EU, MODEL, ONPREM, US, World, fleet, records, row, traffic

CHAT, BATCH, RECORDS = row(), row("batch"), row("records")


class Spoiler:
    """A defect on the way from plan to weights: the first ``plans`` plans of a decision give a policy unlawful ones."""

    def __init__(self, policy: str, plans: int) -> None:
        self._policy = policy
        self._plans = plans
        self._seen: Situation | None = None
        self._calls = 0

    def __call__(self, situation: Situation, problem: Problem, solution: Solution) -> dict[RowKey, Row]:
        self._calls = self._calls + 1 if situation is self._seen else 1
        self._seen = situation
        rows = planned_rows(situation, problem, solution)
        if self._calls > self._plans:
            return rows
        return {
            key: replace(one, weights=dict.fromkeys(one.weights, 1)) if key.policy == self._policy else one
            for key, one in rows.items()
        }


@pytest.fixture(name="spoil")
def spoil_fixture(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
    return lambda policy, plans: monkeypatch.setattr(pipeline, "planned_rows", Spoiler(policy, plans))


def giving_up(problem: Problem) -> Solution:
    raise SolverError("out of iterations")


def crowded(*, chat: float = 100.0, batch: float = 100.0) -> World:
    """A world in which two public policies and a restricted one have run for a while."""
    policies = (traffic(), traffic("batch", path="/b/"), records())
    world = World(fleet(policies=policies), rates={CHAT: chat, BATCH: batch, RECORDS: 5.0})
    world.run(120)
    return world


def decided(world: World, solver: Solver = optimum.solve) -> Decision:
    """Decide as if a second had passed, and check what must hold whatever fell."""
    now, seen, before = world.now + 1, world.observations(), world.previous
    decision = decide(world.policy, seen, Overrides(), before, now, solver=solver)
    verify(world.policy, decision)
    assert to_json(decide(world.policy, seen, Overrides(), before, now, solver=solver)) == to_json(decision)
    assert from_json(to_json(decision)) == decision
    return decision


def rungs(decision: Decision) -> dict[str, Rung]:
    return {key.policy: one.rung for key, one in decision.rows.items()}


def falls(one: Row) -> list[tuple[str, object, object]]:
    return [
        (note.message, note.fields["from"], note.fields["why"])
        for note in one.notes
        if note.stage is Stage.SOLVE and note.message.startswith("fell back")
    ]


def told(decision: Decision, message: str) -> list[Mapping[str, object]]:
    return [dict(note.fields) for note in decision.notes if note.message == message]


def test_a_row_that_breaks_a_rule_takes_the_next_rung_and_no_other_row_does(spoil: Callable[[str, int], None]) -> None:
    world = crowded()
    sound = decided(world)
    spoil("batch", 1)
    decision = decided(world)
    assert rungs(decision) == {"chat": Rung.OPTIMUM, "batch": Rung.WATERFALL, "records": Rung.OPTIMUM}
    assert decision.rung is Rung.WATERFALL, "the lowest that is used"
    assert sum(decision.rows[BATCH].weights.values()) == 10_000
    assert decision.rows[CHAT] == sound.rows[CHAT]
    assert decision.rows[RECORDS] == sound.rows[RECORDS]


def test_the_fall_of_a_row_is_told_with_where_to_and_why(spoil: Callable[[str, int], None]) -> None:
    world = crowded()
    spoil("batch", 1)
    decision = decided(world)
    name = f"batch/eu-west/{MODEL}"
    assert falls(decision.rows[BATCH]) == [("fell back to waterfall", Rung.OPTIMUM, "weights sum to 3")]
    assert falls(decision.rows[CHAT]) == []
    assert told(decision, "rung failed") == [{"rung": Rung.OPTIMUM, "why": f"{name}: weights sum to 3"}]
    assert told(decision, "rows fell below the others") == [{"waterfall": name}]


def test_a_fallen_row_is_planned_into_the_room_that_the_others_leave(spoil: Callable[[str, int], None]) -> None:
    world = crowded()
    spoil("batch", 1)
    decision = decided(world)
    on_prem = decision.clusters[ONPREM]
    assert on_prem.planned == pytest.approx(on_prem.capacity, rel=0.02), "full, and not over"
    assert decision.rows[BATCH].target[EU] > 0
    assert told(decision, "rows without a plan overload clusters that others share") == []


def test_a_row_that_no_plan_suits_keeps_its_last_good_weights(spoil: Callable[[str, int], None]) -> None:
    world = crowded()
    before = world.weights(BATCH)
    spoil("batch", 2)
    decision = decided(world)
    assert rungs(decision) == {"chat": Rung.OPTIMUM, "batch": Rung.LAST_GOOD, "records": Rung.OPTIMUM}
    assert decision.rows[BATCH].weights == before
    assert [(message, from_) for message, from_, _ in falls(decision.rows[BATCH])] == [
        ("fell back to waterfall", Rung.OPTIMUM),
        ("fell back to last_good", Rung.WATERFALL),
    ]


def refused_until_now(world: World) -> None:
    """Let the batch policy have no last good weights, and as much traffic as ever."""
    assert world.previous is not None
    refused = replace(world.previous.rows[BATCH], weights={}, legs={}, refusal="no_cluster_available")
    world.previous = replace(world.previous, rows={**world.previous.rows, BATCH: refused})
    world.silent = True


def test_a_row_without_last_good_weights_gets_its_first_choice_and_what_it_overloads_is_told(
    spoil: Callable[[str, int], None],
) -> None:
    world = crowded(batch=300.0)
    refused_until_now(world)
    spoil("batch", 2)
    decision = decided(world)
    batch = decision.rows[BATCH]
    assert rungs(decision) == {"chat": Rung.OPTIMUM, "batch": Rung.STATIC, "records": Rung.OPTIMUM}
    assert batch.weights == {ONPREM: 10_000, EU: 0, US: 0}
    assert "however full that makes it" in batch.reason
    (full,) = told(decision, "rows without a plan overload clusters that others share")
    assert full == {ONPREM: pytest.approx(decision.clusters[ONPREM].planned / 136, abs=0.01)}
    assert decision.clusters[ONPREM].planned > 136 * 1.5, "what the dashboard shows as planned holds the fallen row"
    (note,) = [note for note in batch.notes if "overload" in note.message]
    assert note.fields == full
    assert not any("overload" in note.message for note in decision.rows[CHAT].notes)


def test_a_static_row_that_fits_is_not_said_to_overload_anything(spoil: Callable[[str, int], None]) -> None:
    world = crowded(chat=20.0, batch=20.0)
    refused_until_now(world)
    spoil("batch", 2)
    decision = decided(world)
    assert decision.rung is Rung.STATIC
    assert not any("overload" in note.message for note in (*decision.notes, *decision.rows[BATCH].notes))


def test_a_row_that_no_rung_can_serve_lawfully_is_refused_and_all_others_keep_the_optimum(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    policies = (traffic(), traffic("records", data_class="restricted", clusters=(ONPREM, EU)))
    world = World(fleet(policies=policies), rates={CHAT: 300.0, RECORDS: 5.0})
    world.run(60)
    before = world.weights()
    # Eligibility that has forgotten residency: only the last gate stands between restricted data and the cloud.
    monkeypatch.setattr(PolicySet, "allowed", lambda *_: None)
    world.policy = fleet(policies=policies)
    decision = decided(world)
    refused = decision.rows[RECORDS]
    assert rungs(decision) == {"chat": Rung.OPTIMUM, "records": Rung.REFUSED}
    assert decision.rung is Rung.REFUSED
    assert (refused.weights, refused.legs, refused.refusal) == ({}, {}, "no_cluster_available")
    assert [message for message, _, _ in falls(refused)] == [
        "fell back to waterfall",
        "fell back to last_good",
        "fell back to static",
        "fell back to refused",
    ]
    assert decision.rows[CHAT].weights[EU] == pytest.approx(before[EU], abs=500), "and not everything on-prem"
    monkeypatch.undo()
    world.policy = fleet(policies=policies)
    world.previous = decision
    after = decided(world)
    assert after.rung is Rung.OPTIMUM
    assert after.rows[RECORDS].weights == {ONPREM: 10_000}


def test_a_solver_without_an_answer_fails_every_row_it_was_asked_about(
    monkeypatch: pytest.MonkeyPatch, spoil: Callable[[str, int], None]
) -> None:
    world = crowded()
    whole = decided(world, giving_up)
    assert set(rungs(whole).values()) == {Rung.WATERFALL}
    assert told(whole, "rung failed") == [{"rung": Rung.OPTIMUM, "why": "out of iterations"}]
    assert told(whole, "rows fell below the others") == [], "the decision's own rung says it"
    spoil("batch", 1)
    monkeypatch.setattr(waterfall, "solve", giving_up)
    part = decided(world)
    assert rungs(part) == {"chat": Rung.OPTIMUM, "batch": Rung.LAST_GOOD, "records": Rung.OPTIMUM}


def test_a_row_under_a_ramped_drain_may_fall_as_any_other(spoil: Callable[[str, int], None]) -> None:
    world = crowded()
    world.drain(EU, ramp=100.0)
    world.tick(50.0)
    spoil("chat", 1)
    decision = decide(world.policy, world.observations(), Overrides(dict(world.drains)), world.previous, world.now + 1)
    assert rungs(decision) == {"chat": Rung.WATERFALL, "batch": Rung.OPTIMUM, "records": Rung.OPTIMUM}
    verify(world.policy, decision)


def test_a_decision_that_the_last_check_refuses_to_the_end_is_never_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(policy: PolicySet, decision: Decision) -> None:
        raise VerifyError(dict.fromkeys(decision.rows, ("said no",)))

    world = crowded()
    monkeypatch.setattr(pipeline, "verify", never)
    with pytest.raises(VerifyError, match="said no"):
        world.tick()


def test_a_refused_row_with_weights_is_no_refusal() -> None:
    world = crowded()
    decision = world.tick()
    sly = replace(decision.rows[BATCH], rung=Rung.REFUSED)
    with pytest.raises(VerifyError, match="refused, and yet with weights"):
        verify(world.policy, replace(decision, rows={**decision.rows, BATCH: sly}))


def test_the_rung_of_a_row_is_material(spoil: Callable[[str, int], None]) -> None:
    decision = crowded().tick()
    other = replace(decision.rows[BATCH], rung=Rung.WATERFALL)
    fallen = replace(decision, rows={**decision.rows, BATCH: other})
    assert material_digest(fallen) != material_digest(decision)


def test_decisions_recorded_before_rows_had_rungs_are_read_as_they_were() -> None:
    plain = json.loads(to_json(decided(crowded(), giving_up)))
    for one in plain["rows"].values():
        del one["rung"]
    assert set(rungs(from_json(json.dumps(plain))).values()) == {Rung.WATERFALL}
