"""Seventh stage: how far weights may move now. Hard moves were made by the projection; what is left can wait.

A step is a convex combination of where we are and where we want to be, so it keeps sums, zeros and linear capacity
limits. How long weights dwell between two steps depends on why they move: overload and recovery hurt users and are
short, money can wait. Where a move is partly urgent, the urgent part is taken by itself until the rest has waited its
time.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from penstock_policies.decision import Move, Note, Row, Stage
from penstock_policies.engine.project import distance
from penstock_policies.schema import Limits

_DEAD_BAND = 0.01
"""Total variation not worth a push."""
_LOAD_BAND = 0.03
"""The same for moves to match load, whose target quivers with the arrivals; headroom bears such a difference. Not for
leaving a cluster altogether: a few percent would else stay at a dear cluster for ever after a peak."""
_SETTLE = 2.5
"""Seconds between two steps for load, at least: loops swing when they act again before reports show the last step."""
_URGENT_DWELL = 5.0
"""Seconds between two steps against overload: long enough for the first to show in the load reports."""
_SAME_TARGET = 0.05
"""Total variation within which a target counts as the one already being moved to."""
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
    on_prem: frozenset[str]
    returning: Mapping[str, float]
    """Clusters coming back from an outage or a drain, to the interval in seconds of their recovery."""


@dataclass(frozen=True, slots=True)
class _Urgent:
    """The part of a move that cannot wait for the long dwell."""

    amount: float
    move: Move
    dwell: float
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
    if gap < _DEAD_BAND - _ROUNDING:
        return Step(here, Move.NONE)
    urgent = _urgent(row, here, target, limits, around)
    saving = gap - urgent.amount >= _DEAD_BAND - _ROUNDING
    leaving = any(here[name] > 0 and wanted <= 0 for name, wanted in target.items())
    band = _LOAD_BAND if urgent.move is Move.LOAD and not leaving else _DEAD_BAND
    pressing = urgent.amount >= band - _ROUNDING
    if not saving and not pressing:
        return Step(here, Move.NONE)
    if saving and now - row.cost_moved_at >= limits.min_dwell and now - row.moved_at >= urgent.dwell:
        return _stepped(here, target, limits, Move.COST)
    if pressing and now - row.moved_at >= urgent.dwell:
        return _stepped(here, urgent.target if saving else target, limits, urgent.move)
    move, since, dwell = (
        (urgent.move, row.moved_at, urgent.dwell) if pressing else (Move.COST, row.cost_moved_at, limits.min_dwell)
    )
    facts: dict[str, str | float | int] = {"move": move, "dwell": dwell, "waited": now - since, "gap": gap}
    return Step(here, move, notes=(Note(Stage.LIMIT, "waits out its dwell", facts),))


def _stepped(here: Mapping[str, float], target: Mapping[str, float], limits: Limits, move: Move) -> Step:
    gap = distance(here, target)
    cost = move is Move.COST
    if gap <= limits.max_step + _ROUNDING:
        return Step(target, Move.NONE, stepped=True, cost_stepped=cost)
    part = limits.max_step / gap
    shares = {name: here[name] + part * (wanted - here[name]) for name, wanted in target.items()}
    note = Note(Stage.LIMIT, "step limited", {"move": move, "step": limits.max_step, "gap": gap})
    return Step(shares, move, stepped=True, cost_stepped=cost, notes=(note,))


def _urgent(
    row: Row, here: Mapping[str, float], target: Mapping[str, float], limits: Limits, around: Circumstances
) -> _Urgent:
    """Find the largest urgent part: off overloaded clusters, back to returning ones, or home to on-prem ones."""
    gained = {name: wanted - here[name] for name, wanted in target.items() if wanted > here[name]}
    lost = {name: here[name] - wanted for name, wanted in target.items() if wanted < here[name]}
    returning = dict(around.returning)
    if row.move is Move.RECOVERY and distance(row.target, target) < _SAME_TARGET:
        returning = {name: returning.get(name, _URGENT_DWELL) for name in gained}
    relief = {name: amount for name, amount in lost.items() if name in around.overloaded}
    back = {name: amount for name, amount in gained.items() if name in returning}
    home = {name: amount for name, amount in gained.items() if name in around.on_prem and name not in back}
    recovery = min((returning[name] for name in back), default=_URGENT_DWELL)
    parts = (
        (relief, lost, Move.LOAD, _URGENT_DWELL),
        (back, gained, Move.RECOVERY, recovery),
        (home, gained, Move.LOAD, _URGENT_DWELL),
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
    return _Urgent(amount, move, max(_SETTLE, dwell) if move is Move.LOAD else dwell, partial)
