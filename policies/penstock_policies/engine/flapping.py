"""Flap damping: how long a cluster that fell stays DOWN at least, however well its probes look.

Nothing for the first fall. Each fall before it has been UP for ten minutes holds it twice as long as the last, as
routers damp flapping routes (RFC 2439): every return costs users the requests that find it broken again.
"""

from typing import Final

from penstock_policies.decision import ClusterHealth, HealthState

_QUIET: Final = 600.0
"""Seconds UP after which earlier falls are forgiven."""
_FIRST_HOLD: Final = 10.0
_LATE_HOLD: Final = 90.0
_LONGEST_HOLD: Final = 600.0


def hold_after_fall(health: ClusterHealth, now: float) -> float:
    """Give the seconds to hold a cluster DOWN that falls now."""
    if not health.fell_at or (health.state is HealthState.UP and now - health.since >= _QUIET):
        return 0.0
    return min(_LONGEST_HOLD, max(_FIRST_HOLD, 2 * health.hold))


def hold_after_grey_fall(health: ClusterHealth, now: float) -> float:
    """Give the same where probes succeeded all along, so that nothing but time can tell when to try again."""
    return max(_FIRST_HOLD, hold_after_fall(health, now))


def hold_after_late_fall(health: ClusterHealth, now: float) -> float:
    """Give the same where first tokens were late, which is known of the last minute as a whole."""
    return max(_LATE_HOLD, hold_after_fall(health, now))


def held_down(health: ClusterHealth, now: float) -> bool:
    """Tell whether a DOWN cluster is still held."""
    return now - health.since < health.hold
