"""The lower rungs of the ladder: what to serve when the plan cannot be trusted. Plain on purpose.

Last good: the previous weights, on whoever is still eligible and not down. Static: everything to the first in order of
preference, what the policy files alone would say. Neither knows demand, prices or limits.
"""

from collections.abc import Mapping, Sequence

from penstock_policies.engine.quantise import quantise


def last_good(before: Mapping[str, int], preference: Sequence[str], down: frozenset[str]) -> dict[str, int]:
    """Keep the previous weights; those of clusters that are gone or down go to the others in proportion."""
    usable = [name for name in preference if name not in down] or list(preference)
    kept = {name: before.get(name, 0) for name in usable}
    whole = sum(kept.values())
    if whole <= 0:
        return static(preference, down)
    return _whole_row(preference, {name: weight / whole for name, weight in kept.items()})


def static(preference: Sequence[str], down: frozenset[str]) -> dict[str, int]:
    """Give everything to the first cluster in order of preference that is not down, or to the first at all."""
    if not preference:
        return {}
    first = next((name for name in preference if name not in down), preference[0])
    return _whole_row(preference, {first: 1.0})


def _whole_row(preference: Sequence[str], shares: Mapping[str, float]) -> dict[str, int]:
    return quantise({name: shares.get(name, 0.0) for name in preference})
