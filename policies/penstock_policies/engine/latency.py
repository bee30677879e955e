"""How long until the first token: network and idle cluster as declared, what load adds by queueing theory.

A cluster is an M/M/c queue of its slots. The chance to wait is Sakasegawa's approximation (1977), ``rho ** (sqrt(2 (c +
1)) - 1)``; who waits does so for an exponential time of mean ``s / (c (1 - rho))``, with ``s`` the seconds a request
holds a slot. Against the exact formula (Erlang C) the chance is right for one slot, too high at middling load and right
again near full, so that waits are told too long rather than too short.
"""

import math
from functools import lru_cache

from penstock_policies.policyset import distance
from penstock_policies.schema import Cluster

ROUND_TRIP = (0.002, 0.02, 0.1)
"""Seconds by distance where none is declared: the same region, the same area, elsewhere."""
_TAIL = 0.05
"""The part of requests that a 95th percentile leaves aside."""
_BISECTIONS = 40
"""Enough to halve 1 down to rounding."""


def round_trip(cluster: Cluster, edge_region: str) -> float:
    """Give the seconds from an edge to the cluster and back."""
    declared = cluster.spec.latency.round_trip.get(edge_region)
    return declared if declared is not None else ROUND_TRIP[distance(edge_region, cluster.spec.region)]


def wait95(rho: float, slots: float, service_time: float) -> float:
    """Give the seconds that 95 of 100 requests wait less than for a slot, at utilisation ``rho`` (0 to 1)."""
    if rho <= 0:
        return 0.0
    if rho >= 1 or slots <= 0:
        return math.inf
    waiting = rho ** (math.sqrt(2 * (slots + 1)) - 1)
    if waiting <= _TAIL:
        return 0.0
    return service_time / (slots * (1 - rho)) * math.log(waiting / _TAIL)


def greatest_utilisation(patience: float, slots: float, service_time: float) -> float:
    """Give the utilisation (0 to 1) up to which 95 of 100 requests wait at most ``patience`` seconds."""
    if patience < 0 or slots <= 0:
        return 0.0
    return _bisected(round(patience, 4), round(slots, 3), round(service_time, 4))


@lru_cache(maxsize=4096)
def _bisected(patience: float, slots: float, service_time: float) -> float:
    # Waits grow with utilisation, so that halving finds the one place where they pass the patience.
    least, most = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (least + most) / 2
        if wait95(middle, slots, service_time) <= patience:
            least = middle
        else:
            most = middle
    return least


def patience(cluster: Cluster, edge_region: str, slo: float) -> float | None:
    """Give the seconds of waiting that an SLO leaves; negative where even an idle cluster misses it.

    None where the cluster does not say how fast it is: it then keeps every SLO until it is full.
    """
    idle = cluster.spec.latency.ttft_p95
    if idle is None:
        return None
    return slo - idle - round_trip(cluster, edge_region)
