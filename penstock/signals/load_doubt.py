"""Which claims of a reporter are not believed: one Envoy among many must not steer its region. Pure.

A claim is doubted when all of this holds:

* it is large (:data:`LARGE`) and at once a hundred times what the same reporter said before;
* it is ten times all that the whole region lately carried at the cluster: where a load balancer moves a region's
  requests to one Envoy, the region's sum stays;
* three or more others report from the region, and none of them makes such a claim: a surge of users comes in at more
  than one door.

A doubted claim does not count, what the reporter said before it does. One that is kept up for :data:`LASTING` seconds
is believed: it may be true, and nobody looks at the alarm.
"""

from dataclasses import dataclass, field
from typing import Final

from penstock.signals.load_reports import MILLIONTHS, Figures

LARGE: Final = 1_000
"""Requests in flight, or a second, up to which everything is believed."""
LEAP: Final = 100
"""Times what was said before."""
SHARE: Final = 10
"""Times what the whole region carried."""
OTHERS: Final = 3
"""Reporters beside it, of the same region."""
LASTING: Final = 300.0
"""Seconds."""
FRESH: Final = 3.0
"""Seconds for which a claim speaks for the next one's truth."""

_LEAST: Final = LARGE // LEAP


def peak(figures: Figures) -> int:
    """Tell the size of a claim: requests in flight or a second, whichever is more."""
    return max(figures.in_flight, figures.issued // MILLIONTHS, figures.errors // MILLIONTHS)


@dataclass(slots=True)
class Claims:
    """The claims about one cluster in one region that are not believed."""

    since: dict[int, float] = field(default_factory=dict)
    """Reporter to when it began."""
    at: dict[int, float] = field(default_factory=dict)
    """Reporter to its latest."""

    def believed(self, reporter: int, claim: int, *, before: int, region: int, others: int, now: float) -> bool:
        """Judge a claim; ``before`` and ``region`` are the sizes of what was said and carried lately."""
        doubted = claim > LEAP * max(_LEAST, before) and claim > SHARE * region and others >= OTHERS
        if not doubted:
            self.since.pop(reporter, None)
            self.at.pop(reporter, None)
            return True
        if any(now - at <= FRESH for other, at in self.at.items() if other != reporter):
            return True
        self.at[reporter] = now
        return now - self.since.setdefault(reporter, now) >= LASTING

    def forget(self, reporter: int) -> None:
        """Forget a reporter that is gone."""
        self.since.pop(reporter, None)
        self.at.pop(reporter, None)
