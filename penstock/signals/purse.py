"""The tokens that probing a cluster may cost, paid out evenly over the day. Pure.

Within any 24 hours no more is spent than the day's budget: what can be saved up and what flows in meanwhile come to
exactly that. Nothing is written down, because nothing need be: a purse begins empty, so that a restart, or a hundred of
them, gives no token that was not due anyway.
"""

from typing import Final

DAY: Final = 86_400.0

SAVED: Final = DAY / 24
"""Seconds of the day's budget that can be saved up: enough to look into a failure at once after a quiet hour."""


class Purse:
    """Tokens. Times are seconds of any clock that is never set back."""

    def __init__(self, tokens_per_day: int, dearest: int, now: float) -> None:
        """``dearest`` is what one generation costs at most."""
        self._most = max(tokens_per_day * SAVED / DAY, float(dearest))
        self._rate = max(0.0, tokens_per_day - self._most) / DAY
        self._held = 0.0
        self._at = now

    def period(self, cost: float) -> float:
        """Return the seconds in which so many tokens come in; infinite where none ever do."""
        return cost / self._rate if self._rate > 0 else float("inf")

    def take(self, cost: float, now: float) -> bool:
        """Take tokens out, if they are there."""
        self._fill(now)
        if self._held < cost:
            return False
        self._held -= cost
        return True

    def settle(self, taken: float, spent: float, now: float) -> None:
        """Put back what was taken and not spent, or pay what was spent beyond it."""
        self._fill(now)
        self._held = min(self._most, self._held + taken - spent)

    def held(self, now: float) -> float:
        """Return the tokens in it."""
        self._fill(now)
        return self._held

    def _fill(self, now: float) -> None:
        self._held = min(self._most, self._held + max(0.0, now - self._at) * self._rate)
        self._at = max(self._at, now)
