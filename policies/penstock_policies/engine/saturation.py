"""Whether a cluster is full, and what it gets done: what tells the time of work from the time in a queue."""

from penstock_policies.decision import ClusterHealth
from penstock_policies.engine.sanitise import Facts
from penstock_policies.observations import EngineLoad, Load
from penstock_policies.schema import Cluster

_QUEUE = (2.0, 0.05)
"""Requests waiting, and their ratio to those being worked on, above which it is a queue and not a moment's burst."""


def slots_left(cluster: Cluster, health: ClusterHealth | None) -> float:
    """Give the declared concurrency of the healthy endpoints, at least 1."""
    unhealthy = len(health.unhealthy_endpoints) if health is not None else 0
    return max(1.0, cluster.spec.capacity.concurrency * (1 - unhealthy / len(cluster.spec.endpoints)))


def queueing(engine: EngineLoad | None) -> bool | None:
    """Tell whether requests wait in the engines; None where they do not say."""
    if engine is None or engine.waiting is None or engine.running is None:
        return None
    least, part = _QUEUE
    return engine.waiting > max(least, part * engine.running)


def saturated(load: Load, engine: EngineLoad | None, slots: float) -> bool:
    """Tell whether requests wait, by the engines' word or for there being more of them than slots."""
    waiting = queueing(engine)
    return waiting if waiting is not None else load.in_flight >= slots


def completed(facts: Facts, cluster: str, now: float, age: float) -> float | None:
    """Give the requests a second that a cluster completes well; None unless every region with traffic can tell."""
    total = 0.0
    for by in facts.load.values():
        load = by.get(cluster)
        if load is None or now - load.at > age:
            continue
        if load.success_rate is not None:
            total += load.success_rate
        elif load.request_rate > 0:
            return None
    return total
