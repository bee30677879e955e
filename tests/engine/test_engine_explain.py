"""The sentence that goes with a row's weights: every figure that made them so, and what comes next."""

from dataclasses import replace
from typing import Any

from penstock_policies.decision import Move, Note, Row, Stage
from penstock_policies.engine.explain import explain
from penstock_policies.engine.plan import Outcome, RowPlan, RowProblem
from penstock_policies.engine.problem import problem_of
from penstock_policies.engine.situation import Situation, understand
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import PolicySet
from penstock_policies.steering import Objective, Schedule
from penstock_policies.words import DataClass, Measure
from tests.engine.engine_world import EU, ONPREM, US, World, fleet, row


def _known(policy: PolicySet | None = None) -> tuple[Situation, RowProblem]:
    world = World(policy or fleet())
    situation = understand(world.policy, world.observations(), Overrides(), None, world.now)
    return situation, next(one for one in problem_of(situation).rows if one.key == row())


def _row(**facts: Any) -> Row:
    split = {ONPREM: 6000, EU: 4000, US: 0}
    target = {name: weight / 10_000 for name, weight in split.items()}
    given: dict[str, Any] = {"weights": split, "target": target, "excluded": {}, "reason": "", **facts}
    return Row(row(), DataClass.PUBLIC, legs={name: (name,) for name in split}, **given)


def _objective(objective: Objective, *schedules: Schedule) -> PolicySet:
    policies = fleet()
    chat = policies.policies["chat"]
    spec = chat.spec.model_copy(update={"objective": objective, "schedules": schedules})
    return replace(policies, policies={**policies.policies, "chat": chat.model_copy(update={"spec": spec})})


def test_every_share_is_told_with_its_price_and_whether_it_is_full() -> None:
    situation, problem = _known()
    told = explain(_row(), Outcome.PLANNED, problem, situation, frozenset({ONPREM}))
    assert told == (
        "0.0 requests/s: onprem-fra 60.0% (on-prem, 0.02 USD/Mtok, full by plan at 136 in flight), "
        "cloud-eu-west 40.0% (0.9 USD/Mtok)."
    )


def test_the_unused_cluster_nearest_to_being_used_is_told_with_the_gap() -> None:
    situation, problem = _known()
    told = explain(_row(gaps={US: 0.123}), Outcome.PLANNED, problem, situation, frozenset())
    assert told.endswith("; cloud-us-east would be used if it were 0.12 USD/Mtok cheaper.")


def test_a_gap_that_no_price_closes_and_one_of_a_used_cluster_are_not_told() -> None:
    situation, problem = _known()
    told = explain(_row(gaps={US: 5.0, EU: 0.1}), Outcome.PLANNED, problem, situation, frozenset())
    assert "would be used" not in told


def test_what_could_not_be_kept_is_told() -> None:
    situation, problem = _known()
    plan = RowPlan({ONPREM: 0.6, EU: 0.4}, Outcome.PLANNED, bowed=("maxShare of site cloud",))
    slow = replace(problem, slow=frozenset({EU, US}))
    told = explain(_row(), Outcome.PLANNED, slow, situation, frozenset(), plan=plan)
    assert "cloud-eu-west 40.0% by plan though it misses the SLO" in told
    assert "maxShare of site cloud cannot be kept" in told
    assert "cloud-us-east" not in told


def test_a_move_is_told_with_its_reason_by_the_objective() -> None:
    for objective, reason in (
        (Objective(), "to save cost"),
        (Objective(minimize=Measure.LATENCY), "to answer sooner"),
        (Objective(minimize=Measure.CARBON), "to save carbon"),
        (Objective.model_validate({"mix": {"cost": "50%", "carbon": "50%"}}), "by its mix of objectives"),
    ):
        situation, problem = _known(_objective(objective))
        waited = Note(Stage.LIMIT, "waits", {"waited": 3.0, "dwell": 30.0})
        moving = _row(move=Move.COST, target={EU: 1.0}, notes=(waited,))
        told = explain(moving, Outcome.PLANNED, problem, situation, frozenset())
        assert f"on the way to cloud-eu-west 100.0% {reason}, next step 30 s after the last" in told


def test_the_objective_of_a_schedule_in_force_is_the_reason() -> None:
    spec = {"name": "green", "cron": "* * * * *", "duration": "1h", "objective": {"minimize": "carbon"}}
    always = Schedule.model_validate(spec)
    situation, problem = _known(_objective(Objective(), always))
    told = explain(_row(move=Move.COST), Outcome.PLANNED, problem, situation, frozenset())
    assert "to save carbon" in told


def test_a_refused_row_names_every_cluster_and_why_not() -> None:
    situation, problem = _known()
    refused = _row(weights={}, target={}, excluded={ONPREM: "drained", EU: "does not serve m"})
    told = explain(refused, Outcome.REFUSED, problem, situation, frozenset())
    assert told == "Refused: cloud-eu-west does not serve m, onprem-fra drained."
