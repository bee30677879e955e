"""Seventh stage: how far weights may move now. Hard moves were made by the projection; what is left can wait.

A step is a convex combination of where we are and where we want to be, so it keeps sums, zeros and linear capacity
limits. How long weights dwell between two steps depends on why they move: overload and recovery hurt users and are
short, money can wait.
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
    stepped: bool
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What decides why a row moves."""

    overloaded: frozenset[str]
    """Clusters that would be planned beyond capacity if no row moved."""
    on_prem: frozenset[str]
    returning: Mapping[str, float]
    """Clusters coming back from an outage or a drain, to the interval in seconds of their recovery."""


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
        return Step(here, Move.NONE, stepped=False, notes=())
    move, dwell = _why(row, here, target, limits, around)
    leaving = any(here[name] > 0 and wanted <= 0 for name, wanted in target.items())
    if move is Move.LOAD and gap < _LOAD_BAND and not leaving:
        return Step(here, Move.NONE, stepped=False, notes=())
    waited = now - row.moved_at
    if waited < dwell:
        note = Note(Stage.LIMIT, "waits out its dwell", {"move": move, "dwell": dwell, "waited": waited, "gap": gap})
        return Step(here, move, stepped=False, notes=(note,))
    if gap <= limits.max_step + _ROUNDING:
        return Step(target, Move.NONE, stepped=True, notes=())
    part = limits.max_step / gap
    shares = {name: here[name] + part * (wanted - here[name]) for name, wanted in target.items()}
    note = Note(Stage.LIMIT, "step limited", {"move": move, "step": limits.max_step, "gap": gap, "dwell": dwell})
    return Step(shares, move, stepped=True, notes=(note,))


def _why(
    row: Row, here: Mapping[str, float], target: Mapping[str, float], limits: Limits, around: Circumstances
) -> tuple[Move, float]:
    gaining = {name for name, wanted in target.items() if wanted > here[name] + _ROUNDING}
    losing = {name for name, wanted in target.items() if wanted < here[name] - _ROUNDING}
    returning = [around.returning[name] for name in sorted(gaining) if name in around.returning]
    if losing & around.overloaded:
        return Move.LOAD, min(limits.min_dwell, _URGENT_DWELL)
    if returning:
        return Move.RECOVERY, min(limits.min_dwell, *returning)
    if gaining & around.on_prem:
        return Move.LOAD, min(limits.min_dwell, _URGENT_DWELL)
    if row.move is Move.RECOVERY and distance(row.target, target) < _SAME_TARGET:
        return Move.RECOVERY, min(limits.min_dwell, _URGENT_DWELL)
    return Move.COST, limits.min_dwell
