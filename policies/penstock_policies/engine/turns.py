"""The reversal budget: how often a cluster's share may turn from rising to falling or back for merit alone.

Damping as of flapping routes (RFC 2439): a share that has used up its turns is held, and each further turn holds it
twice as long. Moves that cannot wait, off what failed or against overload, turn a share whenever they must and do not
count. Pure: a row carries its turns from decision to decision.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from penstock_policies.decision import Turns
from penstock_policies.schema import Limits

WINDOW: Final = 600.0
"""Seconds in which turns are counted: the ten minutes of ``limits.reversals``."""
_FIRST_HOLD: Final = 60.0
_LONGEST_HOLD: Final = WINDOW
_STILL: Final = 1e-3
"""A change of share smaller than this has no direction: it is the rounding of weights, or a bystander's part."""


def held(turns: Mapping[str, Turns], name: str, direction: int, now: float) -> bool:
    """Tell whether the share of a cluster may not go in this direction for merit now."""
    past = turns.get(name)
    return past is not None and past.direction != direction and now < past.held_until


def after(
    turns: Mapping[str, Turns],
    before: Mapping[str, float],
    shares: Mapping[str, float],
    *,
    counts: bool,
    limits: Limits,
    now: float,
) -> dict[str, Turns]:
    """Give the turns of a row after it moved.

    Args:
        turns: up to now.
        before: the shares it came from, clusters that may serve no more taken off.
        shares: the shares it has now; clusters missing here are forgotten.
        counts: whether it moved for a reason that can wait.
        limits: of its policy.
        now: the time.

    """
    result: dict[str, Turns] = {}
    for name in sorted(shares):
        past = turns.get(name)
        change = shares[name] - before.get(name, 0.0)
        if past is None and abs(change) < _STILL:
            continue
        moved = _moved(past, change, counts=counts, limits=limits, now=now)
        if moved is not None:
            result[name] = moved
    return result


def _moved(past: Turns | None, change: float, *, counts: bool, limits: Limits, now: float) -> Turns | None:
    if past is not None:
        if past.at and now - past.at[0] >= WINDOW:
            past = replace(past, at=tuple(at for at in past.at if now - at < WINDOW))
        if not past.at and now - past.held_until >= WINDOW:
            past = replace(past, held_until=0.0, hold=0.0)
    if abs(change) < _STILL:
        return past
    direction = 1 if change > 0 else -1
    if past is None:
        return Turns(direction)
    if direction == past.direction or not counts:
        return replace(past, direction=direction)
    at = (*past.at, now)
    if len(at) < limits.reversals:
        return replace(past, direction=direction, at=at)
    hold = min(_LONGEST_HOLD, max(_FIRST_HOLD, 2 * past.hold))
    return Turns(direction, at, now + hold, hold)
