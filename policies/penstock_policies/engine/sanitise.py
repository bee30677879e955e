"""First stage: let in what can be true, refuse the rest with a note. Owns the limits of plausible load and probes.

A refused fact is as good as never received: later stages then hold what they knew. Prices have memory and a stage of
their own, :mod:`penstock_policies.engine.prices`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from penstock_policies.decision import Note, Stage
from penstock_policies.observations import EndpointProbe, Load, Observations
from penstock_policies.policyset import PolicySet

FUTURE = 30.0
"""Seconds a fact's time may lie ahead: clocks are stepped by NTP, but not by more on a machine worth trusting."""
LOAD_AGE = 10.0
"""Seconds until a load report is unknown: ten of the edges' one-second intervals."""
_GREATEST_LOAD = 1e8
"""Requests (a second, or in flight) no cluster carries: beyond is a unit mix-up or an overflowed counter."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Observations that can be true."""

    probes: Mapping[str, Mapping[str, EndpointProbe]]
    """Cluster, endpoint to probe, for every endpoint that was probed."""
    load: Mapping[str, Mapping[str, Load]]
    """Edge region, cluster to load, fresh only. A region that is missing is unknown, not idle."""
    unknown_load: Mapping[str, frozenset[str]]
    """Edge region to the clusters whose load was refused or has expired while others' is known."""
    notes: tuple[Note, ...]


def plausible_time(at: float, now: float) -> bool:
    """Tell whether a fact can be of that time."""
    return math.isfinite(at) and at <= now + FUTURE


def sanitise(policy: PolicySet, observations: Observations, now: float) -> Facts:
    """Keep the probes and loads that can be true."""
    notes: list[Note] = []
    probes = _probes(policy, observations, now, notes)
    load, unknown = _load(policy, observations, now, notes)
    return Facts(probes, load, unknown, tuple(notes))


def total_load(facts: Facts, cluster: str, now: float, age: float = LOAD_AGE) -> Load:
    """Add up what all regions report about a cluster in reports no older than ``age`` seconds."""
    loads = [by[cluster] for by in facts.load.values() if cluster in by and now - by[cluster].at <= age]
    return Load(
        at=max((load.at for load in loads), default=now),
        in_flight=sum(load.in_flight for load in loads),
        request_rate=sum(load.request_rate for load in loads),
        error_rate=sum(load.error_rate for load in loads),
        reporters=sum(load.reporters for load in loads),
        success_rate=sum(load.success_rate or 0.0 for load in loads),
    )


def error_share(load: Load) -> float:
    """Give the share of requests that failed; 0 without requests."""
    return min(1.0, load.error_rate / load.request_rate) if load.request_rate > 0 else 0.0


def refusal(what: str, why: str, **fields: str | float) -> Note:
    """Note that a fact was refused."""
    return Note(Stage.SANITISE, f"{what} refused", {"why": why, **fields})


def _probes(
    policy: PolicySet, observations: Observations, now: float, notes: list[Note]
) -> dict[str, dict[str, EndpointProbe]]:
    kept: dict[str, dict[str, EndpointProbe]] = {}
    for name in sorted(observations.probes):
        cluster = policy.clusters.get(name)
        if cluster is None:
            notes.append(refusal("probe", "unknown cluster", cluster=name))
            continue
        known = {endpoint.key for endpoint in cluster.spec.endpoints}
        kept[name] = {}
        for endpoint, probe in sorted(observations.probes[name].items()):
            why = _probe_fault(probe, now) if endpoint in known else "unknown endpoint"
            if why:
                notes.append(refusal("probe", why, cluster=name, endpoint=endpoint))
            else:
                kept[name][endpoint] = probe
    return kept


def _probe_fault(probe: EndpointProbe, now: float) -> str:
    if not plausible_time(probe.at, now):
        return "time not plausible"
    if probe.consecutive_ok < 0 or probe.consecutive_failed < 0:
        return "negative count"
    return ""


def _load(
    policy: PolicySet, observations: Observations, now: float, notes: list[Note]
) -> tuple[dict[str, dict[str, Load]], dict[str, frozenset[str]]]:
    regions = set(policy.regions())
    kept: dict[str, dict[str, Load]] = {}
    unknown: dict[str, frozenset[str]] = {}
    for region in sorted(observations.load):
        if region not in regions:
            notes.append(refusal("load", "unknown region", region=region))
            continue
        fresh: dict[str, Load] = {}
        lost: set[str] = set()
        for name, load in sorted(observations.load[region].items()):
            if name not in policy.clusters:
                notes.append(refusal("load", "unknown cluster", region=region, cluster=name))
                continue
            why = _load_fault(load, now)
            if why:
                notes.append(refusal("load", why, region=region, cluster=name))
                lost.add(name)
            elif now - load.at > LOAD_AGE:
                lost.add(name)
            else:
                fresh[name] = load
        if fresh:
            kept[region] = fresh
            unknown[region] = frozenset(lost)
    return kept, unknown


def _load_fault(load: Load, now: float) -> str:
    if not plausible_time(load.at, now):
        return "time not plausible"
    figures = (load.in_flight, load.request_rate, load.error_rate, load.success_rate or 0.0)
    if not all(math.isfinite(figure) for figure in figures):
        return "not a finite number"
    if min(figures) < 0:
        return "negative"
    if max(figures) > _GREATEST_LOAD:
        return "larger than any cluster carries"
    return ""
