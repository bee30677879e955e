"""What may be planned for a cluster that holds more or fewer requests than it was planned to.

Weights are made for the mean; arrivals come in bunches and sizes scatter, so a cluster strays from its plan for as long
as its requests last. Where they last long, as generated answers do, that is long enough to do something about it: the
capacity planned is lowered by a part of what is too much there, and raised by a part of what is missing. The part, and
with it the gain of this loop, is small where requests are short: what is reported of them is over before it is read.
"""

from typing import Final

_DELAY: Final = 3.0
"""Seconds from a decision to the report that shows its effect. Requests that last no longer are left to themselves."""
_HORIZON: Final = 20.0
"""Seconds in which a cluster is brought back to its plan, roughly: several times the delay, so that the loop is far
from swinging (its gain times the delay stays below 0.15, however long requests last)."""
_LEAST, _MOST = 0.7, 1.15
"""Between which the capacity is corrected, as a part of what it would be. What it is raised by comes out of the
headroom and lasts until the cluster holds what it was planned to."""


def towards_plan(planned: float, in_flight: float, service_time: float, *, raised: bool) -> float:
    """Give the requests in flight to plan with.

    Args:
        planned: what the cluster may be planned to hold.
        in_flight: what it holds now.
        service_time: seconds a request holds a slot there.
        raised: whether it may be planned to hold more than that for a while.

    """
    if planned <= 0 or service_time <= 0:
        return planned
    part = max(0.0, service_time - _DELAY) / (service_time + _HORIZON)
    factor = 1.0 + part * (planned - in_flight) / planned
    return planned * min(_MOST if raised else 1.0, max(_LEAST, factor))
