"""Seventh stage: shares to whole weights, by largest remainder."""

import math
from collections.abc import Mapping

from penstock_policies.decision import TOTAL_WEIGHT


def quantise(shares: Mapping[str, float]) -> dict[str, int]:
    """Round shares that sum to 1 to weights that sum to :data:`TOTAL_WEIGHT`, each less than one unit off.

    Equal remainders go to the larger share, then to the name first in order, so the result does not depend on the
    order of ``shares``. No shares give no weights.
    """
    if not shares:
        return {}
    exact = {name: share * TOTAL_WEIGHT for name, share in shares.items()}
    # An exact weight that came through a float division may sit a hair under its whole number.
    weights = {name: math.floor(value + 1e-9) for name, value in exact.items()}
    spare = TOTAL_WEIGHT - sum(weights.values())
    if spare:
        by_remainder = sorted(exact, key=lambda name: (weights[name] - exact[name], -exact[name], name))
        for name in by_remainder[:spare]:
            weights[name] += 1
    return dict(sorted(weights.items()))
