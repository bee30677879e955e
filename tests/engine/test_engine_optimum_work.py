"""How much the optimum may work: no answer is late, and whether there is one does not depend on the machine."""

from functools import partial

import pytest

from penstock_policies.decision import Rung
from penstock_policies.engine import decide, optimum
from penstock_policies.engine.optimum.solver import WORK
from penstock_policies.engine.plan import Bound, Problem, SolverError
from penstock_policies.overrides import Overrides
from tests.engine.engine_world import World, fleet, row
from tests.engine.plan_builders import asked, problem


def _contended() -> Problem:
    """Rows that all want what few can have, and a floor that has to bow: no problem for which a step or two will do."""
    floor = Bound(frozenset({"home"}), 0.9, 1.0, "minShare home")
    rows = [
        asked(
            f"p{number}",
            demand=5.0,
            merit={"home": 0.5 + number / 100, "near": 0.1 + number / 50, "far": 0.12 + number / 70},
            bounds=(floor,),
        )
        for number in range(30)
    ]
    return problem(*rows)


def test_a_problem_that_takes_too_much_work_has_no_answer() -> None:
    with pytest.raises(SolverError, match="no answer within the work allowed"):
        optimum.solve(_contended(), work=WORK // 10_000)


def test_work_that_suffices_changes_nothing_about_the_answer() -> None:
    assert optimum.solve(_contended(), work=WORK // 100) == optimum.solve(_contended())


def test_the_waterfall_decides_where_the_optimum_would_be_late_and_the_notes_say_why() -> None:
    world = World(fleet(), rates={row(): 100.0})
    before = world.run(30)
    world.now += 1
    hurried = partial(optimum.solve, work=0)
    decision = decide(world.policy, world.observations(), Overrides({}), before, world.now, solver=hurried)
    assert decision.rung is Rung.WATERFALL
    (note,) = [note for note in decision.notes if note.message == "rung failed"]
    assert note.fields == {"rung": Rung.OPTIMUM, "why": "no answer within the work allowed"}
    assert all(sum(one.weights.values()) == 10_000 for one in decision.rows.values())
