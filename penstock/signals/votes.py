"""What several Envoys say of one endpoint, and what follows: votes that expire, and the word of most. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from penstock_policies.observations import EndpointProbe
from penstock_policies.probing import Health

LIVE_INTERVALS: Final = 3
"""Reports of an Envoy after which what it said last counts no more."""


@dataclass(frozen=True, slots=True)
class Vote:
    """What one Envoy last said of an endpoint."""

    healthy: bool
    at: float
    until: float
    """When it counts no more."""


@dataclass(frozen=True, slots=True)
class Tally:
    """The live votes on one endpoint."""

    well: int = 0
    ill: int = 0
    at: float = 0.0
    """When the newest was cast; 0 where there is none."""

    @property
    def live(self) -> int:
        """How many there are."""
        return self.well + self.ill

    @property
    def healthy(self) -> bool | None:
        """What most of them say; None where they are even, or there is none."""
        return None if self.well == self.ill else self.well > self.ill


def tally(votes: Mapping[str, Vote], now: float) -> Tally:
    """Count the votes that live."""
    live = [vote for vote in votes.values() if now <= vote.until]
    well = sum(vote.healthy for vote in live)
    return Tally(well, len(live) - well, max((vote.at for vote in live), default=0.0))


def as_probe(counted: Tally, health: Health) -> EndpointProbe | None:
    """Say it as a probe that has reached its threshold, as every checker's has; None where nobody says anything.

    Even votes reach neither threshold: the endpoint stays what it was.
    """
    if not counted.live:
        return None
    healthy = counted.healthy
    return EndpointProbe(
        at=counted.at,
        consecutive_ok=health.healthy_threshold if healthy else 0,
        consecutive_failed=health.unhealthy_threshold if healthy is False else 0,
        detail=f"{counted.ill} of {counted.live} checkers do not reach it" if counted.ill else "",
    )
