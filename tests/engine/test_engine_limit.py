"""Projection and limits: what moves at once, what moves in steps, what does not move at all."""

from typing import Any

import pytest

from penstock_policies.decision import Move, Row
from penstock_policies.engine.limit import Circumstances, Step, limit
from penstock_policies.engine.project import distance, project
from penstock_policies.policyset import RowKey
from penstock_policies.schema import Limits
from penstock_policies.words import DataClass

LONG_AGO = -1000.0


def step(here: dict[str, float], target: dict[str, float], **changes: Any) -> Step:
    facts: dict[str, Any] = {"moved_at": LONG_AGO, "cost_moved_at": LONG_AGO, "move": Move.NONE, "target": target}
    facts |= {name: changes.pop(name) for name in tuple(changes) if name in facts}
    around: dict[str, Any] = {"overloaded": frozenset(), "on_prem": frozenset({"home"}), "returning": {}, **changes}
    row = Row(RowKey("p", "r", "m"), DataClass.PUBLIC, {}, {}, excluded={}, reason="", **facts)
    limits = Limits.model_validate({"maxStep": "10%", "minDwell": "30s"})
    return limit(row, here, target, limits=limits, around=Circumstances(**around), now=0.0)


def test_what_a_cluster_loses_goes_to_those_that_lack_it() -> None:
    here = project({"home": 0.4, "a": 0.6}, {"home": 0.4, "a": 0.0, "b": 0.6}, {"a": 0.0})
    assert here == {"home": 0.4, "a": 0.0, "b": pytest.approx(0.6)}


def test_a_cluster_that_is_gone_leaves_its_share_to_the_rest() -> None:
    here = project({"gone": 0.5, "a": 0.5}, {"a": 0.5, "b": 0.5}, {})
    assert here == {"a": 0.5, "b": 0.5}


def test_what_is_within_its_bounds_is_left_alone() -> None:
    before = {"a": 0.3, "b": 0.7}
    assert project(before, {"a": 0.9, "b": 0.1}, {"a": 0.5, "b": 1.0}) == before


def test_a_target_beyond_a_bound_for_want_of_others_is_lawful() -> None:
    assert project({"a": 1.0}, {"a": 1.0}, {"a": 0.01}) == {"a": 1.0}


def test_distance_is_the_share_of_traffic_that_differs() -> None:
    assert distance({"a": 0.7, "b": 0.3}, {"b": 0.5, "c": 0.5}) == pytest.approx(0.7)


def test_a_quiver_is_not_followed() -> None:
    here = {"a": 0.505, "b": 0.495}
    assert step(here, {"a": 0.51, "b": 0.49}).shares is here


def test_a_cost_move_takes_one_step_each_long_dwell() -> None:
    here, target = {"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 1.0}
    taken = step(here, target)
    assert taken.shares == {"a": pytest.approx(0.9), "b": pytest.approx(0.1)}
    assert (taken.move, taken.stepped, taken.cost_stepped) == (Move.COST, True, True)
    waiting = step(here, target, moved_at=-29.0, cost_moved_at=-29.0)
    assert waiting.shares is here
    assert waiting.notes[0].fields["dwell"] == 30.0


def test_a_step_that_reaches_the_target_lands_on_it() -> None:
    assert step({"a": 0.55, "b": 0.45}, {"a": 0.5, "b": 0.5}).shares == {"a": 0.5, "b": 0.5}


def test_overload_is_relieved_after_five_seconds() -> None:
    moves = {"overloaded": frozenset({"home"}), "cost_moved_at": -1.0}
    here, target = {"home": 1.0, "a": 0.0}, {"home": 0.5, "a": 0.5}
    assert step(here, target, moved_at=-4.0, **moves).shares is here
    taken = step(here, target, moved_at=-5.0, **moves)
    assert taken.shares["home"] == pytest.approx(0.9)
    assert taken.move is Move.LOAD
    assert not taken.cost_stepped


def test_a_recovered_cluster_is_refilled_at_its_own_pace() -> None:
    here, target = {"a": 1.0, "b": 0.0}, {"a": 0.8, "b": 0.2}
    taken = step(here, target, moved_at=-2.0, cost_moved_at=-2.0, returning={"b": 2.0})
    assert taken.move is Move.RECOVERY
    assert taken.shares["b"] == pytest.approx(0.1)


def test_the_urgent_part_of_a_move_does_not_carry_the_rest_with_it() -> None:
    # 5 % off the overloaded cluster is urgent; 40 % between the clouds only saves money and was last done a second ago.
    here = {"home": 0.55, "a": 0.45, "b": 0.0}
    target = {"home": 0.50, "a": 0.05, "b": 0.45}
    taken = step(here, target, overloaded=frozenset({"home"}), cost_moved_at=-1.0)
    assert taken.shares == {"home": pytest.approx(0.50), "a": pytest.approx(0.45), "b": pytest.approx(0.05)}
    assert not taken.cost_stepped


def test_money_gets_its_turn_however_often_load_moves() -> None:
    here = {"home": 0.55, "a": 0.45, "b": 0.0}
    target = {"home": 0.50, "a": 0.05, "b": 0.45}
    taken = step(here, target, overloaded=frozenset({"home"}), moved_at=-5.0)
    assert taken.cost_stepped


def test_small_differences_of_load_are_borne_but_no_remainder_is_left_behind() -> None:
    overloaded = frozenset({"home"})
    here = {"home": 0.52, "a": 0.48}
    assert step(here, {"home": 0.50, "a": 0.50}, overloaded=overloaded).shares is here
    home = step({"home": 0.98, "a": 0.02}, {"home": 1.0, "a": 0.0})
    assert home.shares == {"home": 1.0, "a": 0.0}
