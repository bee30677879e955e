"""How fast a cluster priced by the hour truly is when full, beside what it declares: slowly, and never by its load.

An hour's price becomes one of tokens by the tokens that a full cluster makes in an hour. Not by those it makes just
now: a box at a third of its load makes each token three times as dear on average, and traffic that was steered by that
would leave for good or swing. So a look counts only between the loads at which a cluster tells something of a full one
and at which requests begin to queue, with what batching gives taken out, and an average over hours is kept. A cluster
that traffic has left is not looked at; what is known of it fades over days towards what it declares, so that it is
tried again one day, and not every hour.
"""

import math
from collections.abc import Mapping
from typing import Final

from penstock_policies.decision import Decision
from penstock_policies.engine.speed import Seen, part_of_full
from penstock_policies.feeds import Basis
from penstock_policies.policyset import PolicySet

_MEMORY: Final = 6 * 3600.0
"""Time constant in seconds: a property of machines and model, not of the hour."""
_UNSEEN: Final = 3 * 86400.0
"""Time constant in seconds of what nobody has looked at since."""
_LONGEST: Final = 5.0
"""Seconds that one look may speak for."""
_DOUBT: Final = 600.0
"""Seconds of looking at a full cluster that its declared rate weighs as much as."""
_TELLING: Final = (0.5, 0.95)
"""Loads between which a look counts: below, what a full cluster does is guesswork; above, time in flight is waiting."""
_NOTEWORTHY: Final = 0.005
"""Of the pace: less reads as what is declared."""
_GREATEST: Final = 4.0
"""Times slower or faster than declared that a cluster is believed to be."""


def learn_paces(
    policy: PolicySet,
    seen: Mapping[str, Seen],
    speed: Mapping[str, tuple[float, float]],
    previous: Decision | None,
    now: float,
) -> dict[str, tuple[float, float]]:
    """Advance what is known of every cluster whose price is one of time: sums of weights and of weighted paces."""
    before = previous.memory.paces if previous is not None else {}
    elapsed = max(0.0, now - previous.at) if previous is not None else 0.0
    span = min(_LONGEST, elapsed)
    least, most = _TELLING
    known: dict[str, tuple[float, float]] = {}
    for name in _by_time(policy):
        one = seen.get(name)
        telling = one is not None and one.when_full > 0 and one.seconds > 0 and least <= one.load <= most
        fading = math.exp(-elapsed / (_MEMORY if telling else _UNSEEN))
        weight, total = (fading * each for each in before.get(name, (0.0, 0.0)))
        if one is not None and telling:
            pace = one.seconds / (one.when_full * part_of_full(speed.get(name), one.load))
            pace = min(_GREATEST, max(1 / _GREATEST, pace))
            weight, total = weight + span * one.load, total + span * one.load * pace
        if weight > 0:
            known[name] = (weight, total)
    return known


def pace_of(known: tuple[float, float] | None) -> tuple[float, bool]:
    """Give how many times slower than declared a full cluster is, and whether measuring has any part in that."""
    weight, total = known if known is not None else (0.0, 0.0)
    pace = (_DOUBT + total) / (_DOUBT + weight)
    return pace, weight > _DOUBT or abs(pace - 1) > _NOTEWORTHY


def _by_time(policy: PolicySet) -> list[str]:
    """Name the clusters whose price is one of something else than tokens."""
    bases = {name: feed.spec.bases() for name, feed in policy.feeds.items()}
    costs = {name: cluster.spec.cost for name, cluster in sorted(policy.clusters.items())}
    return [
        name
        for name, cost in costs.items()
        if bases.get(cost.feed or "", {}).get(cost.key or "", Basis.TOKENS) is not Basis.TOKENS
    ]
