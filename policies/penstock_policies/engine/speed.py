"""How much of a full cluster's slot time a request takes where the cluster is not full: what batching gives.

Declared token rates tell what a full cluster does. An engine with fewer requests in its batch steps faster, so that a
request holds its slot for a shorter time; by how much depends on the machine. Taken to be linear in the load, from an
``idle`` part of the full time with nobody else there to all of it when full; the idle part is learnt, slowly, for it is
a property of the engine and not of the hour. Nothing is learnt of a cluster that declares no rates or is nearly full.
"""

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

from penstock_policies.decision import Decision
from penstock_policies.policyset import PolicySet

_MEMORY: Final = 300.0
"""Time constant in seconds."""
_LONGEST: Final = 5.0
"""Seconds that one look may speak for."""
_DOUBT: Final = 5.0
"""Seconds of looking at an idle cluster that the assumption of no gain at all weighs as much as."""
_LEAST_IDLE: Final = 0.3
"""No engine known gets faster than that: beyond it, times and sizes are of different requests."""
_NEARLY_FULL: Final = 0.9
"""Of its slots: from here on what batching gives is too small to be seen among the noise."""
_SLOWER: Final = 1.1
"""Times the declared slot time: less may be the noise of sizes and times measured apart."""
_GREATEST: Final = 100.0
"""Times slower than declared that a cluster is believed to be."""


class Seen(NamedTuple):
    """What a cluster shows of itself at a moment."""

    seconds: float
    """Slot time of a request, measured."""
    when_full: float
    """What it would be at the declared rates, for the sizes measured."""
    load: float
    """Part of its slots in use, 0 to 1."""


def learn_speed(
    policy: PolicySet, seen: Mapping[str, Seen], previous: Decision | None, now: float
) -> dict[str, tuple[float, float]]:
    """Advance what is known of every cluster: sums of a least-squares fit through (full, 1) with fading memory.

    At load ``rho`` the fit's line is ``1 - (1 - idle) (1 - rho)``; the sums are those of ``(1 - rho)^2`` and of
    ``(1 - rho) (1 - seconds / when_full)``, so that what is seen at low load, where the gain is large, counts for more.
    """
    before = previous.memory.speed if previous is not None else {}
    elapsed = max(0.0, now - previous.at) if previous is not None else 0.0
    fading, span = math.exp(-elapsed / _MEMORY), min(_LONGEST, elapsed)
    known: dict[str, tuple[float, float]] = {}
    for name in sorted(policy.clusters):
        weight, gain = before.get(name, (0.0, 0.0))
        one = seen.get(name)
        if one is not None and one.when_full > 0 and one.load < _NEARLY_FULL:
            free = 1.0 - one.load
            weight = weight * fading + span * free * free
            gain = gain * fading + span * free * (1.0 - min(1.0, one.seconds / one.when_full))
        if weight > 0:
            known[name] = (weight, gain)
    return known


def part_of_full(known: tuple[float, float] | None, load: float) -> float:
    """Give the part of its slot time when full that a request takes at a load (0 to 1) of a cluster."""
    if known is None:
        return 1.0
    weight, gain = known
    idle = max(_LEAST_IDLE, 1.0 - gain / (weight + _DOUBT))
    return 1.0 - (1.0 - idle) * max(0.0, 1.0 - load)


def slower_than_declared(seen: Seen | None) -> float | None:
    """Give by what factor a cluster is slower than it declares; None where it is not, beyond noise."""
    if seen is None or seen.when_full <= 0 or seen.seconds <= _SLOWER * seen.when_full:
        return None
    return min(_GREATEST, seen.seconds / seen.when_full)
