"""Third stage: how many requests in flight each cluster may be planned to carry, and what limits it.

From what is declared to what is full: healthy endpoints, what experience has taught (the trim), what of a spot cluster
may be counted on. From there to what may be planned: the headroom, more of it while load is unknown, and the tightest
latency SLO of those that may use the cluster.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from penstock_policies.decision import ClusterHealth, Note, Stage
from penstock_policies.engine.crowding import towards_plan
from penstock_policies.engine.latency import greatest_utilisation
from penstock_policies.engine.returning import healthy_slots
from penstock_policies.policyset import PolicySet
from penstock_policies.schema import Cluster

_STALE = (30.0, 300.0)
"""Seconds of age of a load report between which the headroom widens: nobody knows any more how full the cluster is."""
_WIDEST = 0.2
"""Of the capacity: what is kept free on top while load is unknown for long."""
_NOTEWORTHY = 0.999
"""Of what was: less is worth telling."""


@dataclass(frozen=True, slots=True)
class Tightest:
    """The SLO that bears hardest on a cluster."""

    policy: str
    slo: float
    """Seconds to the first token."""
    patience: float
    """Seconds of waiting it leaves, after the round trip and what an idle cluster takes."""


@dataclass(frozen=True, slots=True)
class Capacities:
    """Requests in flight by cluster."""

    planned: Mapping[str, float]
    """Up to which it may be filled by plan."""
    full: Mapping[str, float]
    """At which it is full."""
    limited_by: Mapping[str, str]
    """What keeps the planned capacity below the declared one, in words."""
    notes: tuple[Note, ...]


def judge_capacity(
    policy: PolicySet,
    health: Mapping[str, ClusterHealth],
    trim: Mapping[str, tuple[float, float]],
    tightest: Mapping[str, Tightest],
    *,
    counted: Mapping[str, float],
    service_time: Mapping[str, float],
    in_flight: Mapping[str, float],
    all_heard: bool,
    unknown_for: Mapping[str, float],
    limited: frozenset[str] = frozenset(),
) -> Capacities:
    """Give every cluster's capacities.

    Args:
        policy: the rules.
        health: tells which endpoints are left.
        trim: cluster to the learnt part of its capacity.
        tightest: cluster to the SLO that bears hardest on it, where there is one that it can keep.
        counted: cluster some of whose endpoints are coming back to the slots counted on so far.
        service_time: cluster to seconds a request holds a slot.
        in_flight: cluster to the requests it holds now, where any edge says.
        all_heard: whether every edge region that ever reported still does: what one does not tell of is not missing.
        unknown_for: cluster to the age in seconds of its load report, where that has expired.
        limited: clusters that just told a probe that too much is asked for. It has lowered their trim already.

    """
    planned: dict[str, float] = {}
    full: dict[str, float] = {}
    limited_by: dict[str, str] = {}
    notes: list[Note] = []
    for name in sorted(policy.clusters):
        cluster = policy.clusters[name]
        full[name], whys = _full(cluster, health.get(name), counted.get(name), trim.get(name, (1.0, 0.0))[0], notes)
        if name in limited:
            whys.append("told a probe that too much is asked for")
            notes.append(_note("capacity lowered, a probe met 429", cluster=name))
        headroom = cluster.spec.capacity.headroom
        if headroom > 0:
            whys.append(f"headroom {headroom:.0%}")
        age = unknown_for.get(name, 0.0)
        widened = _widening(age)
        if widened > 0:
            whys.append(f"load unknown for {age:.0f} s")
            notes.append(_note("headroom widened, load unknown", cluster=name, age=age, kept_free=widened))
        planned[name] = full[name] * max(0.0, 1 - headroom - widened)
        within = _within_slo(tightest.get(name), full[name], service_time[name])
        if within < planned[name]:
            whys.append(f"SLO {tightest[name].slo * 1000:.0f} ms of {tightest[name].policy}")
            planned[name] = within
        if name in in_flight:
            there = in_flight[name]
            corrected = towards_plan(planned[name], there, service_time[name], raised=all_heard and age <= 0)
            if corrected < planned[name]:
                whys.append(f"{there:.0f} in flight, more than planned")
            planned[name] = min(full[name], corrected)
        limited_by[name] = ", ".join(whys)
    return Capacities(planned, full, limited_by, tuple(notes))


def _full(
    cluster: Cluster, health: ClusterHealth | None, counted: float | None, trim: float, notes: list[Note]
) -> tuple[float, list[str]]:
    """Give the requests in flight at which a cluster counts as full, and what lowers them."""
    whys: list[str] = []
    declared, left = cluster.spec.capacity.concurrency, healthy_slots(cluster, health)
    if health is not None and left < declared:
        whys.append(f"{len(health.unhealthy_endpoints)} of {len(cluster.spec.endpoints)} endpoints unhealthy")
        notes.append(
            _note("capacity lowered by unhealthy endpoints", cluster=cluster.name, declared=declared, left=left)
        )
    if counted is not None and counted < left:
        whys.append("endpoints are coming back")
        fields: dict[str, str | float | int] = {"cluster": cluster.name, "counted": counted, "there": left}
        notes.append(Note(Stage.CAPACITY, "returning endpoints counted on by and by", fields))
        left = counted
    if trim < _NOTEWORTHY:
        whys.append(f"overload taught to use {trim:.0%}")
        notes.append(_note("capacity lowered by what was learnt", cluster=cluster.name, trim=trim))
    if cluster.spec.spot is not None:
        whys.append(f"spot, {cluster.spec.spot.confidence:.0%} counted on")
        trim *= cluster.spec.spot.confidence
    return left * trim, whys


def _note(message: str, **fields: str | float) -> Note:
    return Note(Stage.CAPACITY, message, fields)


def _within_slo(tightest: Tightest | None, full: float, service_time: float) -> float:
    if tightest is None:
        return full
    return full * greatest_utilisation(tightest.patience, full, service_time)


def _widening(age: float) -> float:
    begins, ends = _STALE
    return _WIDEST * min(1.0, max(0.0, (age - begins) / (ends - begins)))
