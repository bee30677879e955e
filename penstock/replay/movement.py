"""How much and how restlessly a strategy moves weight."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from penstock.replay.scenario import Scenario
from penstock_policies.policyset import RowKey

_NOTICED: Final = 0.01
"""A change of share below one hundredth is no movement that could turn."""


@dataclass(slots=True)
class _Turning:
    extreme: float
    direction: int = 0


class Movement:
    """Adds up what changes from one set of shares to the next."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._shares: dict[RowKey, dict[str, float]] = {}
        self._turning: dict[tuple[RowKey, str], _Turning] = {}
        self.moved = 0.0
        """Times that all traffic has changed its cluster: total variation, by each row's part of the traffic."""
        self.reversals = 0
        """Times that a cluster's share of a row turned from rising to falling or back."""

    def count_from_here(self) -> None:
        """Forget what has moved so far, and not where the weights are."""
        self.moved, self.reversals = 0.0, 0

    def seen(self, key: RowKey, weights: Mapping[str, float]) -> None:
        """Take note of a row's shares."""
        whole = sum(weights.values())
        shares = {name: weight / whole for name, weight in weights.items() if weight > 0} if whole > 0 else {}
        before = self._shares.get(key)
        if before == shares:
            return
        self._shares[key] = shares
        if before is None:
            self._turning.update({(key, name): _Turning(share) for name, share in shares.items()})
            return
        # Sorted, as sums of floats depend on their order and that of a set on the process.
        names = sorted(before.keys() | shares.keys())
        part = self._scenario.part(key)
        self.moved += part * sum(abs(shares.get(name, 0.0) - before.get(name, 0.0)) for name in names) / 2
        for name in names:
            self._turn(key, name, shares.get(name, 0.0))

    def _turn(self, key: RowKey, name: str, share: float) -> None:
        turning = self._turning.setdefault((key, name), _Turning(0.0))
        change = share - turning.extreme
        if turning.direction * change > 0 or abs(change) < _NOTICED:
            # Going on as before, or too little to count: only a new extreme is remembered.
            if turning.direction * change > 0:
                turning.extreme = share
            return
        direction = 1 if change > 0 else -1
        if turning.direction == -direction:
            self.reversals += 1
        turning.direction, turning.extreme = direction, share
