"""An operator's word: what it asks, who gave it, why, and until when."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Drain:
    """Take a cluster out of service for a time.

    From ``since`` its share sinks to nothing over ``ramp`` seconds; from ``until`` on the drain is over.
    """

    cluster: str
    since: float
    until: float
    reason: str
    owner: str
    ramp: float = 0.0

    def active(self, now: float) -> bool:
        """Whether the drain is in force."""
        return self.since <= now < self.until

    def remaining(self, now: float) -> float:
        """Find the factor (1 to 0) left of the cluster's share by the ramp."""
        if not self.active(now):
            return 1.0
        if self.ramp <= 0:
            return 0.0
        return max(0.0, 1.0 - (now - self.since) / self.ramp)


@dataclass(frozen=True, slots=True)
class Overrides:
    """All that operators have asked for. At most one drain a cluster."""

    drains: Mapping[str, Drain] = field(default_factory=dict)
