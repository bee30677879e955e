"""First stage: let in what can be true, refuse the rest with a note. Owns the limits of plausible load and probes.

A refused fact is as good as never received: later stages then hold what they knew. Prices have memory and a stage of
their own, :mod:`penstock_policies.engine.prices`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from penstock_policies.decision import Note, Stage
from penstock_policies.observations import EndpointProbe, EngineLoad, Load, Observations
from penstock_policies.policyset import PolicySet

_Probes = Mapping[str, Mapping[str, EndpointProbe]]

FUTURE = 30.0
"""Seconds a fact's time may lie ahead: clocks are stepped by NTP, but not by more on a machine worth trusting."""
LOAD_AGE = 10.0
"""Seconds until a load report is unknown: ten of the edges' one-second intervals."""
ENGINE_AGE = 30.0
"""Seconds until what an engine says of itself is unknown: engines are asked every few seconds."""
_GREATEST_LOAD = 1e8
"""Requests (a second, or in flight) no cluster carries: beyond is a unit mix-up or an overflowed counter."""
_GREATEST_TOKENS = 1e12
"""Tokens a second no fleet generates."""
_GREATEST_TTFT = 86_400.0
"""Seconds to a first token nobody has waited for."""


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
    engines: Mapping[str, EngineLoad] = field(default_factory=dict)
    """Cluster to what its engines say of themselves, fresh only; figures that cannot be true are None."""
    unknown_for: Mapping[str, float] = field(default_factory=dict)
    """Cluster to the age in seconds of its oldest load report that has expired."""
    edge_probes: Mapping[str, Mapping[str, Mapping[str, EndpointProbe]]] = field(default_factory=dict)
    """Edge region, cluster, endpoint to what most Envoys there say of it."""


def plausible_time(at: float, now: float) -> bool:
    """Tell whether a fact can be of that time."""
    return math.isfinite(at) and at <= now + FUTURE


def sanitise(policy: PolicySet, observations: Observations, now: float) -> Facts:
    """Keep the probes and loads that can be true."""
    notes: list[Note] = []
    probes = _probes(policy, observations.probes, now, notes)
    edge_probes = _edge_probes(policy, observations, now, notes)
    load, unknown = _load(policy, observations, now, notes)
    engines = _engines(policy, observations, now, notes)
    ages = _ages(load, unknown, observations, now)
    return Facts(probes, load, unknown, tuple(notes), engines, ages, edge_probes)


def total_load(facts: Facts, cluster: str, now: float, age: float = LOAD_AGE) -> Load:
    """Add up what all regions report about a cluster in reports no older than ``age`` seconds.

    Tokens are None unless every region with traffic counts them; the time to the first token is the worst region's.
    """
    loads = [by[cluster] for by in facts.load.values() if cluster in by and now - by[cluster].at <= age]
    carrying = [load for load in loads if load.request_rate > 0]
    prompt = [load.prompt_tokens for load in carrying if load.prompt_tokens is not None]
    output = [load.output_tokens for load in carrying if load.output_tokens is not None]
    return Load(
        at=max((load.at for load in loads), default=now),
        in_flight=sum(load.in_flight for load in loads),
        request_rate=sum(load.request_rate for load in loads),
        error_rate=sum(load.error_rate for load in loads),
        reporters=sum(load.reporters for load in loads),
        success_rate=sum(load.success_rate or 0.0 for load in loads),
        prompt_tokens=sum(prompt) if carrying and len(prompt) == len(carrying) else None,
        output_tokens=sum(output) if carrying and len(output) == len(carrying) else None,
        ttft_p95=max((load.ttft_p95 for load in loads if load.ttft_p95 is not None), default=None),
    )


def error_share(load: Load) -> float:
    """Give the share of requests that failed; 0 without requests."""
    return min(1.0, load.error_rate / load.request_rate) if load.request_rate > 0 else 0.0


def refusal(what: str, why: str, **fields: str | float) -> Note:
    """Note that a fact was refused."""
    return Note(Stage.SANITISE, f"{what} refused", {"why": why, **fields})


def _probes(
    policy: PolicySet, told: _Probes, now: float, notes: list[Note], **about: str
) -> dict[str, dict[str, EndpointProbe]]:
    kept: dict[str, dict[str, EndpointProbe]] = {}
    for name in sorted(told):
        cluster = policy.clusters.get(name)
        if cluster is None:
            notes.append(refusal("probe", "unknown cluster", cluster=name, **about))
            continue
        known = {endpoint.key for endpoint in cluster.spec.endpoints}
        kept[name] = {}
        for endpoint, probe in sorted(told[name].items()):
            why = _probe_fault(probe, now) if endpoint in known else "unknown endpoint"
            if why:
                notes.append(refusal("probe", why, cluster=name, endpoint=endpoint, **about))
            else:
                kept[name][endpoint] = probe
    return kept


def _edge_probes(
    policy: PolicySet, observations: Observations, now: float, notes: list[Note]
) -> dict[str, dict[str, dict[str, EndpointProbe]]]:
    regions = set(policy.regions()) if observations.edge_probes else set[str]()
    kept: dict[str, dict[str, dict[str, EndpointProbe]]] = {}
    for region in sorted(observations.edge_probes):
        if region in regions:
            kept[region] = _probes(policy, observations.edge_probes[region], now, notes, region=region)
        else:
            notes.append(refusal("probe", "unknown region", region=region))
    return kept


def _probe_fault(probe: EndpointProbe, now: float) -> str:
    if not plausible_time(probe.at, now):
        return "time not plausible"
    if min(probe.consecutive_ok, probe.consecutive_failed, probe.generation_failed) < 0:
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
                fresh[name] = _without_faults(load, "load", notes, region=region, cluster=name)
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


_Sayings = TypeVar("_Sayings", Load, EngineLoad)

_UPPER = {
    "waiting": _GREATEST_LOAD,
    "running": _GREATEST_LOAD,
    "prompt_tokens": _GREATEST_TOKENS,
    "output_tokens": _GREATEST_TOKENS,
    "ttft_p95": _GREATEST_TTFT,
}
"""What can be left out of a report, to the greatest figure that can be true."""


def _without_faults(report: _Sayings, what: str, notes: list[Note], **about: str) -> _Sayings:
    """Leave out the optional figures that cannot be true: what else the report says may still be."""
    faulty: dict[str, None] = {}
    for name, greatest in _UPPER.items():
        figure: float | None = getattr(report, name, None)
        if figure is not None and not (math.isfinite(figure) and 0 <= figure <= greatest):
            faulty[name] = None
            notes.append(refusal(what, "figure not plausible", figure=name, **about))
    return replace(report, **faulty) if faulty else report  # type: ignore[arg-type] # only fields that may be None


def _engines(policy: PolicySet, observations: Observations, now: float, notes: list[Note]) -> dict[str, EngineLoad]:
    kept: dict[str, EngineLoad] = {}
    for name, engine in sorted(observations.engines.items()):
        if name not in policy.clusters:
            notes.append(refusal("engine load", "unknown cluster", cluster=name))
        elif not plausible_time(engine.at, now):
            notes.append(refusal("engine load", "time not plausible", cluster=name))
        elif now - engine.at <= ENGINE_AGE:
            kept[name] = _without_faults(engine, "engine load", notes, cluster=name)
    return kept


def _ages(
    load: Mapping[str, Mapping[str, Load]],
    unknown: Mapping[str, frozenset[str]],
    observations: Observations,
    now: float,
) -> dict[str, float]:
    """Give the age of the oldest expired report of every cluster, where its region still reports others."""
    ages: dict[str, float] = {}
    for region in sorted(load):
        for name in sorted(unknown[region]):
            at = observations.load[region][name].at
            if plausible_time(at, now) and now - at > LOAD_AGE:
                ages[name] = max(ages.get(name, 0.0), now - at)
    return ages
