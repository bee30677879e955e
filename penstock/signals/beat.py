"""When something is to be done that is done again and again: a beat of its own for each of many, and no common one.

Each has a phase drawn by chance, and keeps it: whatever holds it up, it comes back to its own phase and leaves out what
it missed. So a thousand of them are spread evenly over their interval, and after an outage that held all of them up at
one gate they still are; jitter alone would leave them in step for minutes. Pure, but for the chance it is given.
"""

import math
import random
from typing import Final

JITTER: Final = 0.1
"""Share of the interval by which a beat may come late, so that what itself beats is not always met at one point."""


class Beat:
    """One phase of one interval. Times are seconds of any clock that is never set back."""

    def __init__(self, interval: float, chance: random.Random, now: float) -> None:
        self._interval = interval
        self._chance = chance
        self._phase = now + chance.uniform(0, interval)
        self._last = -1

    def wait(self, now: float) -> float:
        """Go on to the next beat that is not over yet; gives the seconds until then."""
        self._last = max(self._last + 1, math.floor((now - self._phase) / self._interval) + 1)
        late = self._chance.uniform(0, JITTER) * self._interval
        return max(0.0, self._phase + self._last * self._interval + late - now)
