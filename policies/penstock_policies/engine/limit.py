"""Seventh stage: how far weights may move now. Hard moves were made by the projection; what is left can wait.

A step is a convex combination of where we are and where we want to be, so it keeps sums, zeros and linear capacity
limits. Why weights move decides how far and how often: moves to match load or to use what has recovered hurt users
while they wait, so they are quick; moves for merit (money, carbon, any other wish) go in small steps, seldom, and may
turn back only so often. Where a move is partly urgent, the urgent part is taken by itself until the rest has waited its
time.

The dead-band keeps noise from being published, and nothing else. What is measured never stands quite still; what is
declared (a pin, a floor, a canary) does, to the last digit. So a wish within the dead-band that stands still is met
after its dwell, and so is one to leave a cluster altogether. To enter a cluster for what does not stand still takes the
whole dead-band, to leave it none: noise around nothing cannot switch it off and on.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from penstock_policies.decision import TOTAL_WEIGHT, Move, Note, Row, Stage
from penstock_policies.engine.project import distance
from penstock_policies.engine.turns import held
from penstock_policies.schema import Limits

_LOAD_BANDS = 3.0
"""Dead-bands that a move to match load must exceed, whose target quivers with the arrivals; headroom bears such a
difference. Not for leaving a cluster altogether: a few percent would else stay at a dear cluster for ever after a
peak."""
_SETTLE = 2.5
"""Seconds between a step for load and the report that the next one rests on, at least: loops swing when they act again
before reports show the last step."""
_PATIENCE = 30.0
"""Seconds after which the next step is taken whatever the reports show."""
_URGENT_DWELL = 5.0
"""Seconds between two steps against overload: long enough for the first to show in the load reports."""
_SAME_TARGET = 0.05
"""Total variation within which a target counts as the one already being moved to."""
_STILL = 1e-6
"""A wished share that changed less than this since the last decision is the same but for the solver's rounding."""
_WEIGHT = 1 / TOTAL_WEIGHT
"""The smallest share that can be published."""
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Step:
    """Where a row may go now. ``stepped`` tells that a limited step was taken, from which the dwell counts."""

    shares: Mapping[str, float]
    move: Move
    stepped: bool = False
    cost_stepped: bool = False
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What decides why a row moves."""

    overloaded: frozenset[str]
    """Clusters that would be planned beyond capacity if no row moved."""
    filled: frozenset[str]
    """Clusters that were full until now: what they gain, load kept away from them and not merit."""
    returning: Mapping[str, float]
    """Clusters coming back from an outage or a drain, to the interval in seconds of their recovery."""
    reported_at: float = math.inf
    """When the newest load report was made that the target rests on; infinite where there is none."""


@dataclass(frozen=True, slots=True)
class _Urgent:
    """The part of a move that cannot wait for the long dwell."""

    amount: float
    move: Move
    dwell: float
    step: float
    target: Mapping[str, float]


def limit(
    row: Row,
    here: Mapping[str, float],
    target: Mapping[str, float],
    *,
    limits: Limits,
    around: Circumstances,
    now: float,
) -> Step:
    """Take the step from ``here`` towards ``target`` that the limits allow now.

    Args:
        row: the row as last decided.
        here: its projected shares.
        target: the shares it should have.
        limits: of its policy.
        around: why it may have to move.
        now: the time.

    """
    gap = distance(here, target)
    if gap < limits.dead_band - _ROUNDING or gap <= _ROUNDING:
        return _exact(row, here, target, limits, around, now=now)
    urgent = _urgent(row, here, target, limits, around)
    saving = gap - urgent.amount >= max(limits.dead_band - _ROUNDING, _ROUNDING)
    leaving = any(here[name] > 0 and wanted <= _ROUNDING for name, wanted in urgent.target.items())
    band = limits.dead_band * (_LOAD_BANDS if urgent.move is Move.LOAD and not leaving else 1.0)
    pressing = urgent.amount >= max(band - _ROUNDING, _ROUNDING)
    if not saving and not pressing:
        return _exact(row, here, target, limits, around, now=now)
    move = urgent.move if pressing else Move.COST
    if now - row.moved_at < urgent.dwell or _blind(row, urgent.move, around, now):
        return _waiting(here, move, now - row.moved_at, urgent.dwell, gap)
    reached = _towards(here, urgent.target if saving else target, urgent.step) if pressing else here
    due = saving and now - row.cost_moved_at >= limits.min_dwell
    allowed = _without_turning(row, reached, target, now) if due else reached
    cost = distance(reached, allowed) >= max(limits.dead_band - _ROUNDING, _ROUNDING)
    if saving and distance(reached, urgent.target) <= _ROUNDING:
        move = Move.COST
    if cost or pressing:
        return _stepped(here, _towards(reached, allowed, limits.max_step), target, move, cost=cost)
    if due:
        return Step(here, move, notes=(_held_note(row, here, target, now),))
    return _waiting(here, move, now - row.cost_moved_at, limits.min_dwell, gap)


def _exact(
    row: Row,
    here: Mapping[str, float],
    target: Mapping[str, float],
    limits: Limits,
    around: Circumstances,
    *,
    now: float,
) -> Step:
    """Meet, of a difference within the dead-band, what is no noise: as a move for merit, in its turn."""
    # Where nothing is heard everything stands still, and tells nothing.
    before = row.target if math.isfinite(around.reported_at) else {}
    wish = _no_noise(before, here, target)
    gap = distance(here, wish)
    if gap <= _ROUNDING:
        return Step(here, Move.NONE)
    if now - row.cost_moved_at < limits.min_dwell:
        return _waiting(here, Move.COST, now - row.cost_moved_at, limits.min_dwell, gap)
    allowed = _without_turning(row, here, wish, now)
    if distance(here, allowed) <= _ROUNDING:
        return Step(here, Move.COST, notes=(_held_note(row, here, wish, now),))
    return _stepped(here, _towards(here, allowed, limits.max_step), wish, Move.COST, cost=True)


def _no_noise(
    before: Mapping[str, float], here: Mapping[str, float], target: Mapping[str, float]
) -> Mapping[str, float]:
    """Give the shares with those at their target that are as ``before`` or to be nothing; others make room for them."""
    change = {
        name: wanted - here[name]
        for name, wanted in target.items()
        if _leaves(here[name], wanted)
        or (abs(wanted - here[name]) > _WEIGHT and abs(wanted - before.get(name, math.inf)) <= _STILL)
    }
    due = -math.fsum(change.values())
    lacking = {
        name: wanted - here[name]
        for name, wanted in target.items()
        if name not in change and (wanted - here[name]) * due > 0
    }
    whole = math.fsum(lacking.values())
    if whole:
        change |= {name: due * lack / whole for name, lack in lacking.items()}
    return {name: share + change.get(name, 0.0) for name, share in here.items()}


def _leaves(share: float, wanted: float) -> bool:
    return share > _ROUNDING and wanted < _WEIGHT / 2


def _blind(row: Row, move: Move, around: Circumstances, now: float) -> bool:
    """Tell whether no report shows yet what the last step did."""
    return move is Move.LOAD and around.reported_at < row.moved_at + _SETTLE and now < row.moved_at + _PATIENCE


def _towards(here: Mapping[str, float], target: Mapping[str, float], step: float) -> Mapping[str, float]:
    gap = distance(here, target)
    if gap <= step + _ROUNDING:
        return target
    part = step / gap
    return {name: here[name] + part * (wanted - here[name]) for name, wanted in target.items()}


def _stepped(
    here: Mapping[str, float], reached: Mapping[str, float], target: Mapping[str, float], move: Move, *, cost: bool
) -> Step:
    left = distance(reached, target)
    if left <= _ROUNDING:
        return Step(target, Move.NONE, stepped=True, cost_stepped=cost)
    note = Note(
        Stage.LIMIT, "step limited", {"move": move, "step": distance(here, reached), "gap": distance(here, target)}
    )
    return Step(reached, move, stepped=True, cost_stepped=cost, notes=(note,))


def _waiting(here: Mapping[str, float], move: Move, waited: float, dwell: float, gap: float) -> Step:
    facts: dict[str, str | float | int] = {"move": move, "dwell": dwell, "waited": waited, "gap": gap}
    return Step(here, move, notes=(Note(Stage.LIMIT, "waits out its dwell", facts),))


def _without_turning(
    row: Row, here: Mapping[str, float], target: Mapping[str, float], now: float
) -> Mapping[str, float]:
    """Leave the clusters where they are whose shares have turned too often; the others move as far as they can."""
    still = {
        name for name, wanted in target.items() if held(row.turns, name, 1 if wanted > here[name] else -1, now=now)
    }
    if not still:
        return target
    change = {name: 0.0 if name in still else wanted - here[name] for name, wanted in target.items()}
    gained = sum(amount for amount in change.values() if amount > 0)
    lost = -sum(amount for amount in change.values() if amount < 0)
    moving = min(gained, lost)
    if moving <= 0:
        return here
    return {name: here[name] + amount * moving / (gained if amount > 0 else lost) for name, amount in change.items()}


def _held_note(row: Row, here: Mapping[str, float], target: Mapping[str, float], now: float) -> Note:
    until = {
        name: row.turns[name].held_until
        for name, wanted in sorted(target.items())
        if held(row.turns, name, 1 if wanted > here[name] else -1, now=now)
    }
    return Note(Stage.LIMIT, "held, turned too often", {**until, "gap": distance(here, target)})


def _urgent(
    row: Row, here: Mapping[str, float], target: Mapping[str, float], limits: Limits, around: Circumstances
) -> _Urgent:
    """Find the largest urgent part: off overloaded clusters, back to returning ones, or into room that load left."""
    gained = {name: wanted - here[name] for name, wanted in target.items() if wanted > here[name]}
    lost = {name: here[name] - wanted for name, wanted in target.items() if wanted < here[name]}
    returning = dict(around.returning)
    if row.move is Move.RECOVERY and distance(row.target, target) < _SAME_TARGET:
        returning = {name: returning.get(name, _URGENT_DWELL) for name in gained}
    relief = {name: amount for name, amount in lost.items() if name in around.overloaded}
    back = {name: amount for name, amount in gained.items() if name in returning}
    room = {
        name: amount
        for name, amount in gained.items()
        if name not in back and (name in around.filled or _under_way(row, name))
    }
    recovery = min((returning[name] for name in back), default=_URGENT_DWELL)
    parts = (
        (relief, lost, Move.LOAD, _URGENT_DWELL),
        (back, gained, Move.RECOVERY, recovery),
        (room, gained, Move.LOAD, _URGENT_DWELL),
    )
    part, side, move, dwell = max(parts, key=lambda each: sum(each[0].values()))
    amount = sum(part.values())
    other = gained if side is lost else lost
    whole = sum(other.values())
    moved = {**part, **{name: amount * share / whole for name, share in other.items()}} if whole > 0 else part
    partial = {
        name: share + moved.get(name, 0.0) if name in gained else share - moved.get(name, 0.0)
        for name, share in here.items()
    }
    dwell = min(limits.min_dwell, dwell)
    if move is Move.LOAD:
        return _Urgent(amount, move, max(_SETTLE, dwell), limits.load_step, partial)
    return _Urgent(amount, move, dwell, limits.max_step, partial)


def _under_way(row: Row, name: str) -> bool:
    """Tell whether the row was already on its way to the cluster to match load."""
    return row.move is Move.LOAD and row.target.get(name, 0.0) * TOTAL_WEIGHT > row.weights.get(name, 0) + 1
