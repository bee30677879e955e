"""How often changes go out: the first at once, those of a storm less and less often, the last one always.

After every send there is a window in which further changes wait, the newest in place of those before it. A change
that had to wait makes the next window longer; quiet makes it shorter again. Pure: time is an argument.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Debounce:
    """How long changes may wait."""

    floor: float = 0.01
    """Seconds, above 0: the window after a change that comes out of quiet."""
    ceiling: float = 1.0
    """Seconds, at least the floor: the longest window, and so the longest wait of any change."""
    growth: float = 2.0
    """Above 1: what a window is multiplied by when changes arrive inside it, and divided by when none does."""

    def __post_init__(self) -> None:
        if not 0.0 < self.floor <= self.ceiling < math.inf:
            raise ValueError(f"floor and ceiling must be 0 < floor <= ceiling, not {self.floor} and {self.ceiling}")
        if not 1.0 < self.growth < math.inf:
            raise ValueError(f"growth must be above 1, not {self.growth}")


class Pace:
    """The windows of one sequence of changes."""

    __slots__ = ("_held", "_rule", "_sent_at", "window")

    def __init__(self, rule: Debounce) -> None:
        self._rule = rule
        self._sent_at: float | None = None
        self._held = False
        """Whether a change waits."""
        self.window = rule.floor
        """Seconds after the last send in which changes wait."""

    def wait(self, now: float, *, urgent: bool = False) -> float:
        """Return for how many seconds a change that arrives now must wait.

        0: send it now, it counts as sent. Otherwise keep it, or a newer one that arrives meanwhile, and call `send`
        when the time is over.
        """
        if self._sent_at is not None:
            quiet = now - self._sent_at
            if quiet < self.window and not urgent:
                self._held = True
                return self.window - quiet
            while quiet >= self.window > self._rule.floor and not self._held:
                quiet -= self.window
                self.window = max(self._rule.floor, self.window / self._rule.growth)
        self.send(now)
        return 0.0

    def send(self, now: float) -> None:
        """Note that what waited, if anything did, is sent."""
        self._sent_at = now
        if self._held:
            self._held = False
            self.window = min(self._rule.ceiling, self.window * self._rule.growth)
