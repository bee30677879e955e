"""Second stage: the health state machine of every cluster. Owns when a cluster is DOWN and how it comes back.

DOWN when every endpoint fails its probes; PROBATION (1 %) as soon as one is well again; RAMP from 5 %, doubling with
each clean ramp interval; then UP. Whatever the probes say is weighed against the data plane, which outranks them:
requests that succeed prove life, and when most clusters seem to fail at once the prober is distrusted, not the fleet.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from penstock_policies.decision import ClusterHealth, Decision, HealthState, Note, Stage
from penstock_policies.engine.sanitise import Facts, error_share, total_load
from penstock_policies.observations import EndpointProbe
from penstock_policies.policyset import PolicySet
from penstock_policies.schema import Cluster

PROBATION_CEILING = 0.01
_RAMP_START = 0.05
_RAMP_FACTOR = 2.0
_STALE_PROBE = 10.0
"""Seconds, or three probe intervals if that is longer, after which a probe says nothing any more."""
_TOGETHER = 10.0
"""Seconds within which failures count as one event: a cut-off prober loses clusters as their intervals come round."""
_EVIDENCE_AGE = 3.0
"""Seconds a load report proves anything about a cluster's life: three of the edges' intervals."""
_EVIDENCE_RATE = 1.0
"""Requests a second below which their outcome proves nothing."""
_ALIVE_ERRORS = 0.1
_DEAD_ERRORS = 0.5


@dataclass(frozen=True, slots=True)
class Assessment:
    """The health of every cluster. ``frozen`` says why the prober is distrusted; empty when it is not."""

    clusters: Mapping[str, ClusterHealth]
    frozen: str
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the probes and the data plane say of one cluster at this moment."""

    unhealthy: tuple[str, ...]
    failing: bool
    fresh: bool
    why: str
    alive: bool
    dead: bool
    erring: bool


def assess(policy: PolicySet, facts: Facts, previous: Decision | None, now: float) -> Assessment:
    """Advance every cluster's state machine to ``now``."""
    notes: list[Note] = []
    before = {name: _before(policy.clusters[name], previous, now) for name in sorted(policy.clusters)}
    readings = {name: _read(policy.clusters[name], facts, held, now) for name, held in before.items()}
    falling = {
        name
        for name, reading in readings.items()
        if reading.failing and not reading.alive and before[name].state is not HealthState.DOWN
    }
    for name, reading in readings.items():
        if reading.failing and reading.alive and before[name].state is not HealthState.DOWN:
            notes.append(Note(Stage.HEALTH, "probes fail but requests succeed, kept", {"cluster": name}))
    frozen = _distrust(before, readings, falling, previous, now)
    if frozen:
        notes.append(Note(Stage.HEALTH, "prober distrusted, health held", {"why": frozen}))
    after = {
        name: _advance(policy.clusters[name], held, readings[name], falls=name in falling, frozen=bool(frozen), now=now)
        for name, held in before.items()
    }
    notes.extend(
        Note(Stage.HEALTH, "state changed", {"cluster": name, "from": before[name].state, "to": after[name].state})
        for name in after
        if after[name].state is not before[name].state
    )
    return Assessment(after, frozen, tuple(notes))


def _before(cluster: Cluster, previous: Decision | None, now: float) -> ClusterHealth:
    held = previous.health.get(cluster.name) if previous is not None else None
    # Optimistic: a cluster nobody has probed yet is served; Envoy's own ejection guards the first seconds.
    return held if held is not None else ClusterHealth(HealthState.UP, now, reason="not probed yet")


def _read(cluster: Cluster, facts: Facts, held: ClusterHealth, now: float) -> _Reading:
    probes = facts.probes.get(cluster.name, {})
    unhealthy: list[str] = []
    fresh = False
    detail = ""
    for endpoint in cluster.spec.endpoints:
        probe = probes.get(endpoint.key)
        current = probe is not None and now - probe.at <= max(_STALE_PROBE, 3 * cluster.spec.health.interval)
        fresh = fresh or current
        if _unhealthy(cluster, probe if current else None, was=endpoint.key in held.unhealthy_endpoints):
            unhealthy.append(endpoint.key)
            if probe is not None and probe.detail and not detail:
                detail = f": {probe.detail}"
    total = total_load(facts, cluster.name, now, _EVIDENCE_AGE)
    proves = total.request_rate >= _EVIDENCE_RATE
    return _Reading(
        unhealthy=tuple(unhealthy),
        failing=len(unhealthy) == len(cluster.spec.endpoints),
        fresh=fresh,
        why=f"{len(unhealthy)} of {len(cluster.spec.endpoints)} endpoints fail their probes{detail}",
        alive=proves and error_share(total) < _ALIVE_ERRORS and (total.success_rate or 0.0) >= _EVIDENCE_RATE,
        dead=proves and error_share(total) >= _DEAD_ERRORS,
        erring=proves and error_share(total) >= _ALIVE_ERRORS,
    )


def _unhealthy(cluster: Cluster, probe: EndpointProbe | None, *, was: bool) -> bool:
    if probe is None:
        return was
    if probe.consecutive_failed >= cluster.spec.health.unhealthy_threshold:
        return True
    if probe.consecutive_ok >= cluster.spec.health.healthy_threshold:
        return False
    return was


def _distrust(
    before: Mapping[str, ClusterHealth],
    readings: Mapping[str, _Reading],
    falling: set[str],
    previous: Decision | None,
    now: float,
) -> str:
    if len(before) < 2:
        return ""
    sticky = previous is not None and bool(previous.frozen)

    def counts(name: str) -> bool:
        if not readings[name].failing or readings[name].dead or readings[name].alive:
            return False
        recent = before[name].state is HealthState.DOWN and now - before[name].since <= _TOGETHER
        return name in falling or recent or sticky

    together = sorted(name for name in before if counts(name))
    if not falling or 2 * len(together) <= len(before):
        return ""
    return f"probes of {len(together)} of {len(before)} clusters failed together ({', '.join(together)})"


def _advance(
    cluster: Cluster, held: ClusterHealth, reading: _Reading, *, falls: bool, frozen: bool, now: float
) -> ClusterHealth:
    if frozen and not (falls and reading.dead):
        return held
    if falls:
        return ClusterHealth(HealthState.DOWN, now, 0.0, reading.unhealthy, reading.why)
    if reading.failing:
        # DOWN already, or kept up by the data plane, which then speaks for all its endpoints.
        return held if held.state is HealthState.DOWN else replace(held, unhealthy_endpoints=())
    reason = reading.why if reading.unhealthy else ""
    current = replace(held, unhealthy_endpoints=reading.unhealthy, reason=reason if reading.fresh else held.reason)
    if held.state is HealthState.DOWN:
        return replace(current, state=HealthState.PROBATION, since=now, ceiling=PROBATION_CEILING)
    clean = reading.fresh and not reading.erring
    if held.state is HealthState.UP or not clean or now - held.since < cluster.spec.health.ramp_interval:
        return current
    return _next_step(current, now)


def _next_step(held: ClusterHealth, now: float) -> ClusterHealth:
    ceiling = _RAMP_START if held.state is HealthState.PROBATION else held.ceiling * _RAMP_FACTOR
    if ceiling >= 1:
        return replace(held, state=HealthState.UP, since=now, ceiling=1.0)
    return replace(held, state=HealthState.RAMP, since=now, ceiling=ceiling)
