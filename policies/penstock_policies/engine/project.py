"""Sixth stage: the weights in force, made lawful for today at once, before any limit on speed applies.

Shares of clusters that may carry nothing any more, or less than they did, go to the clusters that lack most towards
the target. What remains is the point from which steps are taken; a step towards the target cannot leave the lawful set
then, for that set is convex and holds both ends.
"""

import math
from collections.abc import Mapping

_ROUNDING = 1e-12


def project(before: Mapping[str, float], target: Mapping[str, float], bound: Mapping[str, float]) -> dict[str, float]:
    """Bring ``before`` within ``bound`` and give what is freed to those below their target, in proportion.

    Args:
        before: shares in force, summing to 1; clusters missing from ``target`` lose theirs.
        target: lawful shares summing to 1; what it exceeds of a bound (for want of anyone else) stays lawful.
        bound: the greatest share of a cluster; 1 where missing.

    """
    kept = {name: before.get(name, 0.0) for name in sorted(target)}
    for name, share in before.items():
        # Most shares of a large fleet are 0, and need no bounding.
        if share > 0 and name in kept:
            kept[name] = min(share, max(bound.get(name, 1.0), target[name]))
    freed = 1.0 - sum(kept.values())
    if freed <= _ROUNDING:
        return kept
    lacking = {name: target[name] - share for name, share in kept.items() if target[name] > share}
    whole = sum(lacking.values())
    if whole <= 0:
        return kept
    return {name: share + freed * lacking.get(name, 0.0) / whole for name, share in kept.items()}


def distance(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Give the total variation between two distributions: the share of traffic that differs, 0 to 1."""
    # An exact sum, for that does not depend on the order of the mappings.
    return math.fsum([abs(one.get(name, 0.0) - other.get(name, 0.0)) for name in {**one, **other}]) / 2
