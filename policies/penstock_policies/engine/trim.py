"""How much of a cluster's declared capacity experience leaves it: the trim, 0.1 to 1.

Full engines tell how much they really work on, and the trim follows that within seconds. Other signs of too much load
shrink it as well; while a cluster is clean it grows slowly (additive increase, multiplicative decrease). Measured
queues and latencies move capacity only, never weights themselves, and only as fast as the time constants here: weights
that chase a measured queue swing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from penstock_policies.decision import ClusterHealth, Decision
from penstock_policies.engine.sanitise import Facts, error_share, plausible_time, total_load
from penstock_policies.engine.saturation import queueing, saturated, slots_left
from penstock_policies.observations import EngineLoad, Load
from penstock_policies.policyset import PolicySet

LEAST_TRIM = 0.1
_FOLLOW = 10.0
"""Time constant in seconds towards what is carried: within half a minute, yet longer than reports lag."""
_DECAY = 300.0
"""Time constant in seconds where all that is known is that there is a queue: service times take care of what is too
much now, this of what would come back."""
_GROWTH = 0.02 / 30
"""Part of the declared capacity that comes back a second while a cluster is clean: 2 % in 30 s."""
_BEYOND = 1.1
"""Of the declared concurrency: requests in flight above which, for want of better knowledge, some are in a queue."""
_PLANNED = 1.01
"""Of the planned capacity: a plan beyond it overloads the cluster, beyond rounding."""
_BUSY = 0.5
"""Of the capacity: load from which a queue or a late first token is the load's doing."""
_LATE_PART = 0.95
"""Of the load at which first tokens are late: what is taken to be carried well."""
_ERRORS = (0.05, 0.5)
"""Share of failures between which a cluster is taken to refuse what is too much, as a provider's quota does. More of
them are a matter of health."""
_LEAST_RATE = 1.0
"""Requests a second below which their failures prove nothing."""
_LIMITED_FOR = 5.0
"""Seconds for which the word of a probe that too much is asked for (429) counts: one word takes 40 % of the way."""
_LIMITED_LEAST = 0.25
"""Of the capacity: what such a word leaves. A quota may be used up by others, of whom nothing is known here, and be
free again within the minute; what refuses requests in earnest shows by their failures."""


@dataclass(frozen=True, slots=True)
class _Showing:
    """What a cluster shows of itself."""

    load: Load
    engine: EngineLoad | None
    slots: float
    """The declared concurrency of its healthy endpoints."""
    slo: float | None
    planned: float
    """Requests in flight it was planned to carry at most."""
    limited: bool
    """A probe was just answered that too much is asked for."""
    fits: bool
    """Whether the last plan kept to that: a fleet overloaded knowingly learns nothing from its queues."""


def learn_trim(
    policy: PolicySet,
    facts: Facts,
    health: Mapping[str, ClusterHealth],
    slo: Mapping[str, float],
    *,
    previous: Decision | None,
    now: float,
) -> dict[str, tuple[float, float]]:
    """Advance the trim of every cluster to ``now``.

    Args:
        policy: the rules.
        facts: what edges and engines report.
        health: tells which endpoints are left.
        slo: cluster to the tightest time to the first token, seconds, that anybody wants of it.
        previous: the decision whose weights are in force.
        now: Unix seconds.

    Returns:
        Cluster to its trim and when it last changed, for those that are trimmed.

    """
    if previous is None:
        return {}
    elapsed = max(0.0, now - previous.at)
    limited = limited_clusters(facts, now)
    trims: dict[str, tuple[float, float]] = {}
    for name in sorted(policy.clusters):
        view = previous.clusters.get(name)
        showing = _Showing(
            load=total_load(facts, name, now),
            engine=facts.engines.get(name),
            slots=slots_left(policy.clusters[name], health.get(name)),
            slo=slo.get(name),
            planned=view.capacity if view is not None else math.inf,
            limited=name in limited,
            fits=view is not None and view.planned <= _PLANNED * view.capacity,
        )
        before, since = previous.memory.trim.get(name, (1.0, 0.0))
        trim = min(1.0, max(LEAST_TRIM, _advanced(before, showing, elapsed)))
        if trim < 1:
            trims[name] = (trim, now if trim != before else since)
    return trims


def limited_clusters(facts: Facts, now: float) -> frozenset[str]:
    """Name the clusters of which a probe was just answered that too much is asked for."""
    return frozenset(
        name
        for known in (facts.probes, *facts.edge_probes.values())
        for name, probes in known.items()
        if any(
            probe.limited_at is not None
            and plausible_time(probe.limited_at, now)
            and now - probe.limited_at <= _LIMITED_FOR
            for probe in probes.values()
        )
    )


def _advanced(before: float, showing: _Showing, elapsed: float) -> float:
    follow = -math.expm1(-elapsed / _FOLLOW)
    carried = _carried(showing)
    if carried is not None:
        return before + follow * (carried - before)
    well = _carried_well(showing)
    if well is not None:
        return before + follow * (min(well, before) - before)
    if queueing(showing.engine) is None and showing.load.in_flight > _BEYOND * showing.slots:
        return before * math.exp(-elapsed / _DECAY) if showing.fits else before
    if saturated(showing.load, showing.engine, showing.slots):
        return before
    # Silence is no proof of being well.
    return before + _GROWTH * elapsed if showing.load.reporters > 0 or showing.engine is not None else before


def _carried(showing: _Showing) -> float | None:
    """Give the part of the capacity that full engines work on; None where they do not say that they are full."""
    engine = showing.engine
    if engine is None or engine.running is None or engine.waiting is None or not queueing(engine):
        return None
    busy = engine.running + engine.waiting >= _BUSY * showing.slots
    return engine.running / showing.slots if busy else None


def _carried_well(showing: _Showing) -> float | None:
    """Give the part of the capacity that may be carried well where there are signs of too much; None without."""
    signs: list[float] = []
    load, engine = showing.load, showing.engine
    late = [one for one in (load.ttft_p95, engine.ttft_p95 if engine is not None else None) if one is not None]
    if (
        showing.slo is not None
        and late
        and max(late) > showing.slo
        and _BUSY * showing.planned <= load.in_flight <= showing.planned
    ):
        signs.append(_LATE_PART * load.in_flight / showing.slots)
    failing = error_share(load)
    if load.request_rate >= _LEAST_RATE and _ERRORS[0] <= failing < _ERRORS[1]:
        signs.append(load.in_flight * (1 - failing) / showing.slots)
    if showing.limited:
        signs.append(max(_LIMITED_LEAST, load.in_flight / showing.slots))
    return min(signs, default=None)
