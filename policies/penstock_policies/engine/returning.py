"""How many slots of a cluster are counted on while endpoints come back: what is lost counts at once, what returns not.

A cluster that was DOWN comes back by its ceiling (:mod:`penstock_policies.engine.health`). One that lost some of its
endpoints never was: the slots counted on double with each ramp interval until they are what is there.
"""

import math
from collections.abc import Mapping
from typing import Final

from penstock_policies.decision import ClusterHealth, Decision, HealthState
from penstock_policies.policyset import PolicySet
from penstock_policies.schema import Cluster

_FACTOR: Final = 2.0
"""Of the slots counted on, by ramp interval: as the ceiling of a cluster in RAMP."""
_STEPS: Final = 30.0
"""Ramp intervals after which everything is counted on: a thousand million times what was."""


def healthy_slots(cluster: Cluster, health: ClusterHealth | None) -> float:
    """Give the requests in flight that the healthy endpoints can carry."""
    endpoints = {endpoint.key for endpoint in cluster.spec.endpoints}
    unhealthy = endpoints & set(health.unhealthy_endpoints) if health is not None else set[str]()
    return cluster.spec.capacity.concurrency * (1 - len(unhealthy) / len(endpoints))


def counted_slots(
    policy: PolicySet, health: Mapping[str, ClusterHealth], previous: Decision | None, now: float
) -> dict[str, float]:
    """Give the slots counted on of every cluster of which that is fewer than are there."""
    if previous is None:
        return {}
    elapsed = max(0.0, now - previous.at)
    counted: dict[str, float] = {}
    for name in sorted(policy.clusters):
        cluster, after, before = policy.clusters[name], health[name], previous.health.get(name)
        if before is None or HealthState.DOWN in {after.state, before.state}:
            continue
        there = healthy_slots(cluster, after)
        held = min(previous.memory.slots.get(name, math.inf), healthy_slots(cluster, before))
        grown = held * _FACTOR ** min(_STEPS, elapsed / cluster.spec.health.ramp_interval)
        if grown < there:
            counted[name] = grown
    return counted
