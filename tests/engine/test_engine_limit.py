"""Projection and limits: what moves at once, what moves in steps, what does not move at all, and how often."""

import math
from itertools import pairwise
from typing import Any

import pytest

from penstock_policies.decision import Move, Row, Turns
from penstock_policies.engine import turns
from penstock_policies.engine.limit import Circumstances, Step, limit
from penstock_policies.engine.project import distance, project
from penstock_policies.policyset import RowKey
from penstock_policies.schema import Limits
from penstock_policies.words import DataClass

LONG_AGO = -1000.0
LIMITS = Limits.model_validate({"maxStep": "10%", "minDwell": "30s", "reversals": 3})


def step(here: dict[str, float], target: dict[str, float], **changes: Any) -> Step:
    facts: dict[str, Any] = {"moved_at": LONG_AGO, "cost_moved_at": LONG_AGO, "move": Move.NONE}
    facts |= {"turns": {}, "weights": {}, "target": changes.pop("wished", target)}
    limits = Limits.model_validate({"maxStep": "10%", "minDwell": "30s", "loadStep": changes.pop("load_step", "10%")})
    facts |= {name: changes.pop(name) for name in tuple(changes) if name in facts}
    around: dict[str, Any] = {
        "overloaded": frozenset(),
        "filled": frozenset({"home"}),
        "returning": {},
        "reported_at": 0.0,
        **changes,
    }
    row = Row(RowKey("p", "r", "m"), DataClass.PUBLIC, legs={}, excluded={}, reason="", **facts)
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
    assert step(here, {"a": 0.51, "b": 0.49}, wished={"a": 0.509, "b": 0.491}).shares is here


@pytest.mark.parametrize("share", [0.001, 0.006])
def test_a_small_share_that_is_declared_is_reached_for_what_is_declared_stands_still(share: float) -> None:
    here, target = {"a": 1.0, "b": 0.0}, {"a": 1 - share, "b": share}
    assert step(here, target).shares == pytest.approx(target)
    waiting = step(here, target, cost_moved_at=-29.0)
    assert waiting.shares is here
    assert waiting.notes[0].message == "waits out its dwell"


def test_a_share_declared_beside_others_that_quiver_is_reached_alone() -> None:
    here = {"a": 0.5, "b": 0.494, "pinned": 0.006}
    target = {"a": 0.503, "b": 0.496, "pinned": 0.001}
    taken = step(here, target, wished={"a": 0.501, "b": 0.498, "pinned": 0.001})
    assert taken.shares == {"a": pytest.approx(0.503), "b": pytest.approx(0.496), "pinned": 0.001}
    apart = step(here, {"a": 0.508, "b": 0.491, "pinned": 0.001}, wished={"a": 0.5, "b": 0.499, "pinned": 0.001})
    assert apart.shares == {"a": pytest.approx(0.505), "b": 0.494, "pinned": 0.001}


def test_where_nothing_is_heard_standing_still_tells_nothing() -> None:
    here, target = {"a": 0.505, "b": 0.495}, {"a": 0.51, "b": 0.49}
    assert step(here, target, reported_at=math.inf).shares is here


def test_the_rounding_of_weights_is_no_difference() -> None:
    here = {"a": 0.6667, "b": 0.3333}
    assert step(here, {"a": 2 / 3, "b": 1 / 3}).shares is here


def test_a_cluster_is_left_altogether_however_little_it_has() -> None:
    here, target = {"a": 0.9944, "b": 0.0056}, {"a": 1.0, "b": 0.0}
    quivering = {"a": 0.99, "b": 0.01}
    taken = step(here, target, wished=quivering)
    assert taken.shares == target
    assert taken.cost_stepped, "it counts as a move for merit"
    assert step(here, target, wished=quivering, cost_moved_at=-29.0).shares is here


def test_noise_around_nothing_does_not_switch_a_cluster_on_and_off() -> None:
    shares, wished, switched = {"a": 0.985, "b": 0.015}, {"a": 0.985, "b": 0.015}, []
    for tick in range(100):
        noise = 0.004 * (1 + math.sin(tick))
        target = {"a": 1.0 - noise, "b": noise} if tick % 3 else {"a": 1.0, "b": 0.0}
        taken = dict(step(shares, target, wished=wished).shares)
        switched.append((taken["b"] > 0) != (shares["b"] > 0))
        shares, wished = taken, target
    assert sum(switched) == 1, "it is left, and takes the whole dead-band to be entered again"


def test_a_share_that_turned_too_often_is_held_even_where_it_is_to_be_nothing() -> None:
    turned = {"b": Turns(1, (-1.0,), held_until=60.0, hold=60.0)}
    held = step({"a": 0.995, "b": 0.005}, {"a": 1.0, "b": 0.0}, turns=turned)
    assert held.shares == {"a": 0.995, "b": 0.005}
    assert held.notes[0].message == "held, turned too often"


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
    assert taken.shares["home"] == pytest.approx(0.50), "the urgent part does not wait for money"
    assert taken.shares["b"] == pytest.approx(0.05 + 0.10)
    assert taken.move is Move.COST, "only money is left to be saved"


def test_load_moves_as_far_as_its_own_step_allows() -> None:
    here, target = {"home": 1.0, "a": 0.0}, {"home": 0.2, "a": 0.8}
    moves = {"overloaded": frozenset({"home"}), "moved_at": -5.0, "cost_moved_at": -1.0}
    assert step(here, target, load_step="100%", **moves).shares == target
    assert step(here, target, load_step="25%", **moves).shares["home"] == pytest.approx(0.75)


def test_room_that_load_left_is_used_as_quickly_as_room_is_made_for_load() -> None:
    here, target = {"home": 0.4, "a": 0.6}, {"home": 1.0, "a": 0.0}
    taken = step(here, target, moved_at=-5.0, cost_moved_at=-1.0, load_step="100%")
    assert taken.shares == target
    waiting = step(here, target, moved_at=-4.0, cost_moved_at=-1.0, load_step="100%")
    assert waiting.move is Move.LOAD
    # By the time the dwell is over the cluster is no longer full; the move goes on all the same.
    under_way = {"move": Move.LOAD, "weights": {"home": 4000, "a": 6000}, "filled": frozenset(), "load_step": "100%"}
    assert step(here, target, moved_at=-5.0, cost_moved_at=-1.0, **under_way).shares == target


def test_a_cheaper_cluster_that_was_never_full_is_moved_to_in_small_steps() -> None:
    taken = step({"home": 0.4, "a": 0.6}, {"home": 1.0, "a": 0.0}, filled=frozenset(), load_step="100%")
    assert taken.shares["home"] == pytest.approx(0.5)
    assert taken.move is Move.COST


def turned(shares: list[float], *, every: float = 1.0, counts: bool = True) -> dict[str, Turns]:
    past: dict[str, Turns] = {}
    for tick, (before, after) in enumerate(pairwise(shares)):
        past = turns.after(
            past,
            {"a": before, "b": 1 - before},
            {"a": after, "b": 1 - after},
            counts=counts,
            limits=LIMITS,
            now=tick * every,
        )
    return past


def test_each_change_of_direction_is_a_turn_and_a_long_way_one_way_is_none() -> None:
    assert turned([0.1, 0.2, 0.3, 0.4])["a"].at == ()
    assert turned([0.1, 0.2, 0.1, 0.1, 0.2])["a"].at == (1.0, 3.0)
    assert turned([0.1, 0.2, 0.1])["b"].at == (1.0,)


def test_turns_that_could_not_wait_do_not_count_and_neither_do_quivers() -> None:
    assert turned([0.1, 0.3, 0.1, 0.3, 0.1], counts=False)["a"].at == ()
    assert turned([0.5, 0.5001, 0.5, 0.5001, 0.5]) == {}


def test_a_share_that_used_up_its_turns_is_held_and_for_longer_each_time() -> None:
    past = turned([0.1, 0.2, 0.1, 0.2, 0.1])
    assert past["a"].held_until - 3.0 == past["a"].hold == 60.0
    assert turns.held(past, "a", 1, now=62.0)
    assert not turns.held(past, "a", -1, now=62.0), "it may go on the way it goes"
    assert not turns.held(past, "a", 1, now=63.0)
    again = turns.after(past, {"a": 0.1}, {"a": 0.2}, counts=True, limits=LIMITS, now=63.0)
    assert again["a"].hold == 120.0


def test_after_ten_quiet_minutes_turns_are_forgiven() -> None:
    past = turned([0.1, 0.2, 0.1, 0.2, 0.1])
    later = turns.after(past, {"a": 0.1}, {"a": 0.2}, counts=True, limits=LIMITS, now=700.0)
    assert later["a"] == Turns(1, (700.0,), held_until=0.0, hold=0.0)


def test_a_held_share_stays_while_the_others_move_on() -> None:
    held = {"a": Turns(-1, (1.0, 2.0, 3.0), held_until=60.0, hold=60.0)}
    here, target = {"a": 0.2, "b": 0.5, "c": 0.3}, {"a": 0.25, "b": 0.4, "c": 0.35}
    taken = step(here, target, turns=held)
    assert taken.shares == {"a": 0.2, "b": pytest.approx(0.45), "c": pytest.approx(0.35)}
    alone = step({"a": 0.2, "b": 0.8}, {"a": 0.3, "b": 0.7}, turns=held)
    assert alone.shares == {"a": 0.2, "b": 0.8}
    assert (alone.move, alone.notes[0].message) == (Move.COST, "held, turned too often")
    assert alone.notes[0].fields["a"] == 60.0


def test_overload_is_relieved_however_often_a_share_has_turned() -> None:
    held = {"home": Turns(1, (1.0, 2.0, 3.0), held_until=60.0, hold=60.0)}
    taken = step({"home": 1.0, "a": 0.0}, {"home": 0.5, "a": 0.5}, turns=held, overloaded=frozenset({"home"}))
    assert taken.shares["home"] < 1


def test_small_differences_of_load_are_borne_but_no_remainder_is_left_behind() -> None:
    overloaded = frozenset({"home"})
    here = {"home": 0.52, "a": 0.48}
    quivering = {"home": 0.51, "a": 0.49}
    assert step(here, {"home": 0.50, "a": 0.50}, overloaded=overloaded, wished=quivering).shares is here
    home = step({"home": 0.98, "a": 0.02}, {"home": 1.0, "a": 0.0})
    assert home.shares == {"home": 1.0, "a": 0.0}
