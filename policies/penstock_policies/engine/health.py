"""The health state machine of clusters seen from one place. Owns when a cluster is DOWN and how it comes back.

DOWN when every endpoint fails its probes, or when requests go on failing though the probes succeed; PROBATION (1 %) as
soon as one is well again; RAMP from 5 %, doubling with each clean ramp interval; then UP. A cluster that falls again
soon is held DOWN for longer each time. Whatever the probes say is weighed against the data plane, which outranks them:
requests that succeed prove life, and when most clusters seem to fail at once the prober is distrusted, not the fleet.
When nothing at all is heard any more, health is held and so are the weights.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from penstock_policies.decision import ClusterHealth, HealthState, Note, Stage
from penstock_policies.engine.flapping import held_down, hold_after_fall, hold_after_grey_fall, hold_after_late_fall
from penstock_policies.engine.lateness import is_late
from penstock_policies.engine.sanitise import LOAD_AGE, Facts, error_share, total_load
from penstock_policies.observations import EndpointProbe, Load
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
_GREY_SPAN = 3.0
"""Seconds for which most requests must fail before that is believed against probes that succeed."""
_GREY_REQUESTS = 10.0
"""Requests that must have had the chance to fail by then."""
_MEMORY = 30.0
"""Time constant in seconds of the counts by which thin traffic is judged, of which no second proves anything."""
_THIN = 2.0
"""Requests a second up to which that is done: where there are more, every second speaks for itself."""
UNHEARD = 30.0
"""Seconds after which a cluster that was probed and no more is, nor proven alive by its requests, gets no more than it
has: it may be well, and nobody would know if it were not."""
_LATE_SPAN = 30.0
"""Seconds for which first tokens must be far too late, which is measured over a minute, before that is believed."""
_FAILED_TOGETHER = "probes of"
_FAILING_GREEN = "requests fail though probes succeed"
_LATE_GREEN = "first tokens are far too late though probes succeed and it has little to do"
_NOTHING_HEARD = "every probe and load report is stale"


@dataclass(frozen=True, slots=True)
class Sight:
    """What is seen of some clusters from one place, and what was held of them there before."""

    clusters: Mapping[str, Cluster]
    facts: Facts
    """The probes made from there, and the load of those whose requests they speak for."""
    health: Mapping[str, ClusterHealth]
    outcomes: Mapping[str, tuple[float, float]]
    frozen: str
    elapsed: float
    """Seconds since."""
    late_from: Mapping[str, float]
    """Cluster that has little to do to the seconds from which its first tokens are far too late."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The health of clusters as seen from one place. ``frozen`` says why the prober is distrusted; empty if not."""

    clusters: Mapping[str, ClusterHealth]
    frozen: str
    notes: tuple[Note, ...]
    outcomes: Mapping[str, tuple[float, float]]
    """Cluster to (requests, failed ones) counted with fading memory."""
    unheard: frozenset[str]
    """Clusters of which nothing has been heard for too long to give them more."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the probes and the data plane say of one cluster at this moment."""

    unhealthy: tuple[str, ...]
    failing: bool
    fresh: bool
    why: str
    alive: bool
    dead: bool
    erring: bool
    rate: float
    """Requests a second, where that is enough to prove anything; 0 otherwise."""
    wearing: bool
    """Most requests fail, of those counted over a longer time."""
    late: bool
    """First tokens are far too late, though it has little to do."""
    heard: float
    """When its probes last said anything; infinite where nobody ever probed it."""

    @property
    def lost(self) -> bool:
        """Whether it fails, and no request proves the contrary."""
        return self.failing and not self.alive


@dataclass(frozen=True, slots=True)
class Look:
    """A sight, understood."""

    sight: Sight
    before: Mapping[str, ClusterHealth]
    outcomes: Mapping[str, tuple[float, float]]
    readings: Mapping[str, Reading]


def look(sight: Sight, now: float) -> Look:
    """Read what the probes and the data plane say of every cluster."""
    before = {name: _before(sight, name, now) for name in sorted(sight.clusters)}
    outcomes = _outcomes(sight, now)
    readings = {
        name: _read(sight, sight.clusters[name], held, outcomes[name], now=now) for name, held in before.items()
    }
    return Look(sight, before, outcomes, readings)


def judge(seen: Look, now: float, confirmed: frozenset[str] = frozenset()) -> Judgement:
    """Advance every cluster's state machine to ``now``.

    ``confirmed`` names clusters that fail from every other place as well: their failing is no fault of this one.
    """
    sight, before, readings = seen.sight, seen.before, seen.readings
    notes: list[Note] = []
    for name, reading in readings.items():
        if reading.failing and reading.alive and before[name].state is not HealthState.DOWN:
            notes.append(Note(Stage.HEALTH, "probes fail but requests succeed, kept", {"cluster": name}))
    silent = _nothing_heard(sight.facts, readings, now)
    falling = {
        name for name, reading in readings.items() if reading.lost and before[name].state is not HealthState.DOWN
    }
    frozen = _NOTHING_HEARD if silent else _distrust(seen, falling, confirmed, now)
    if frozen:
        notes.append(Note(Stage.HEALTH, "inputs distrusted, health held", {"why": frozen}))
    grey = {**_late(before, readings, notes, now), **_grey(before, readings, notes, now)}
    after = {
        name: _advance(
            sight.clusters[name],
            held,
            readings[name],
            falls=name in falling,
            grey=grey.get(name, ""),
            frozen=bool(frozen),
            now=now,
        )
        for name, held in before.items()
    }
    notes.extend(
        Note(Stage.HEALTH, "state changed", {"cluster": name, "from": before[name].state, "to": after[name].state})
        for name in after
        if after[name].state is not before[name].state
    )
    unheard = frozenset(
        name for name, reading in readings.items() if now - reading.heard > UNHEARD and not reading.alive
    )
    notes.extend(
        Note(Stage.HEALTH, "not heard of, gets no more", {"cluster": name, "age": now - readings[name].heard})
        for name in sorted(unheard)
    )
    return Judgement(after, frozen, tuple(notes), seen.outcomes, unheard)


def _outcomes(sight: Sight, now: float) -> dict[str, tuple[float, float]]:
    fading = math.exp(-sight.elapsed / _MEMORY)
    counted: dict[str, tuple[float, float]] = {}
    for name in sorted(sight.clusters):
        requests, failed = sight.outcomes.get(name, (0.0, 0.0))
        load = total_load(sight.facts, name, now, _EVIDENCE_AGE)
        # A second of reports, however long ago the last decision was: what lies between was not looked at.
        span = min(1.0, sight.elapsed)
        counted[name] = (
            requests * fading + span * load.request_rate,
            failed * fading + span * load.request_rate * error_share(load),
        )
    return counted


def _nothing_heard(facts: Facts, readings: Mapping[str, Reading], now: float) -> bool:
    """Tell whether everything ever heard is stale; a fleet nobody has heard of yet is not."""
    if not any(facts.probes.values()) or any(reading.fresh for reading in readings.values()):
        return False
    return not any(now - load.at <= LOAD_AGE for by in facts.load.values() for load in by.values())


def _grey(
    before: Mapping[str, ClusterHealth], readings: Mapping[str, Reading], notes: list[Note], now: float
) -> dict[str, str]:
    """Name the clusters whose requests have long enough failed, unless that is so of all, and so their own fault."""
    grey = {
        name
        for name, reading in readings.items()
        if not reading.failing
        and before[name].state is not HealthState.DOWN
        and (reading.wearing or (reading.dead and _long_enough(before[name], reading, now)))
    }
    proving = [name for name, reading in readings.items() if reading.rate > 0 or reading.wearing]
    if len(proving) > 1 and all(readings[name].dead or readings[name].wearing for name in proving):
        if grey:
            facts: dict[str, str | float | int] = {"clusters": ", ".join(sorted(grey))}
            notes.append(Note(Stage.HEALTH, "requests fail at every cluster though probes succeed, kept", facts))
        return {}
    return dict.fromkeys(grey, _FAILING_GREEN)


def _late(
    before: Mapping[str, ClusterHealth], readings: Mapping[str, Reading], notes: list[Note], now: float
) -> dict[str, str]:
    """Name the clusters whose first tokens have long been far too late, unless that is so of all."""
    late = sorted(
        name
        for name, reading in readings.items()
        if reading.late
        and not reading.failing
        and before[name].state is not HealthState.DOWN
        and 0 < before[name].late_since <= now - _LATE_SPAN
    )
    proving = [reading.late for reading in readings.values() if reading.rate > 0]
    if late and len(proving) > 1 and all(proving):
        fields: dict[str, str | float | int] = {"clusters": ", ".join(late)}
        notes.append(Note(Stage.HEALTH, "first tokens are late at every cluster, kept", fields))
        return {}
    return dict.fromkeys(late, _LATE_GREEN)


def _long_enough(health: ClusterHealth, reading: Reading, now: float) -> bool:
    if health.erring_since <= 0:
        return False
    return now - health.erring_since >= max(_GREY_SPAN, _GREY_REQUESTS / reading.rate)


def _before(sight: Sight, name: str, now: float) -> ClusterHealth:
    held = sight.health.get(name)
    # Optimistic: a cluster nobody has probed yet is served; Envoy's own ejection guards the first seconds.
    return held if held is not None else ClusterHealth(HealthState.UP, now, reason="not probed yet")


def _read(sight: Sight, cluster: Cluster, held: ClusterHealth, outcomes: tuple[float, float], *, now: float) -> Reading:
    facts, limit = sight.facts, sight.late_from.get(cluster.name)
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
            if probe is not None and not detail:
                detail = _told(probe)
    total = total_load(facts, cluster.name, now, _EVIDENCE_AGE)
    proves = total.request_rate >= _EVIDENCE_RATE
    return Reading(
        unhealthy=tuple(unhealthy),
        failing=len(unhealthy) == len(cluster.spec.endpoints),
        fresh=fresh,
        why=f"{len(unhealthy)} of {len(cluster.spec.endpoints)} endpoints fail their probes{detail}",
        alive=proves and error_share(total) < _ALIVE_ERRORS and (total.success_rate or 0.0) >= _EVIDENCE_RATE,
        dead=proves and error_share(total) >= _DEAD_ERRORS,
        erring=proves and error_share(total) >= _ALIVE_ERRORS,
        rate=total.request_rate if proves else 0.0,
        wearing=_wearing(outcomes, total),
        late=limit is not None
        and is_late(facts, cluster.name, limit, now, age=_EVIDENCE_AGE, least_rate=_EVIDENCE_RATE),
        heard=max((probe.at for probe in probes.values()), default=math.inf),
    )


def _wearing(outcomes: tuple[float, float], load: Load) -> bool:
    requests, failed = outcomes
    enough = max(_GREY_REQUESTS, _GREY_SPAN * load.request_rate) <= requests <= _THIN * _MEMORY
    still = load.request_rate > 0 and error_share(load) >= _DEAD_ERRORS
    return enough and failed >= _DEAD_ERRORS * requests and still


def _told(probe: EndpointProbe) -> str:
    if probe.generation_failed > 0 and probe.consecutive_failed == 0:
        return f": {probe.generation_failed} generations in a row failed though shallower probes succeed"
    return f": {probe.detail}" if probe.detail else ""


def _unhealthy(cluster: Cluster, probe: EndpointProbe | None, *, was: bool) -> bool:
    if probe is None:
        return was
    if max(probe.consecutive_failed, probe.generation_failed) >= cluster.spec.health.unhealthy_threshold:
        return True
    if probe.consecutive_ok >= cluster.spec.health.healthy_threshold:
        return False
    return was


def _distrust(seen: Look, falling: set[str], confirmed: frozenset[str], now: float) -> str:
    before, readings = seen.before, seen.readings
    if len(before) < 2:
        return ""
    sticky = seen.sight.frozen.startswith(_FAILED_TOGETHER)

    def counts(name: str) -> bool:
        if not readings[name].lost or readings[name].dead or name in confirmed:
            return False
        recent = before[name].state is HealthState.DOWN and now - before[name].since <= _TOGETHER
        return name in falling or recent or sticky

    together = sorted(name for name in before if counts(name))
    if not falling or 2 * len(together) <= len(before):
        return ""
    return f"{_FAILED_TOGETHER} {len(together)} of {len(before)} clusters failed together ({', '.join(together)})"


def _advance(
    cluster: Cluster, before: ClusterHealth, reading: Reading, *, falls: bool, grey: str, frozen: bool, now: float
) -> ClusterHealth:
    if frozen and not (falls and reading.dead):
        return before
    erring = (before.erring_since or now) if reading.dead else 0.0
    late = (before.late_since or now) if reading.late else 0.0
    same = before.erring_since == erring and before.late_since == late
    held = before if same else replace(before, erring_since=erring, late_since=late)
    if falls or grey:
        return _fallen(held, reading, grey="" if falls else grey, now=now)
    if reading.failing:
        # DOWN already, or kept up by the data plane, which then speaks for all its endpoints.
        return held if held.state is HealthState.DOWN else replace(held, unhealthy_endpoints=())
    reason = reading.why if reading.unhealthy else ""
    current = replace(held, unhealthy_endpoints=reading.unhealthy, reason=reason if reading.fresh else held.reason)
    return _on_the_way_up(cluster, current, reading, before.reason, now)


def _fallen(held: ClusterHealth, reading: Reading, *, grey: str, now: float) -> ClusterHealth:
    holding = hold_after_late_fall if grey == _LATE_GREEN else hold_after_grey_fall if grey else hold_after_fall
    hold = holding(held, now)
    why = grey or reading.why
    reason = f"{why}; held down for {hold:.0f} s" if hold > 0 else why
    return ClusterHealth(HealthState.DOWN, now, 0.0, reading.unhealthy, reason, hold=hold, fell_at=now)


def _on_the_way_up(cluster: Cluster, held: ClusterHealth, reading: Reading, why: str, now: float) -> ClusterHealth:
    if held.state is HealthState.DOWN:
        if held_down(held, now):
            return replace(held, reason=why)
        return replace(held, state=HealthState.PROBATION, since=now, ceiling=PROBATION_CEILING)
    clean = reading.fresh and not reading.erring and not reading.late
    if held.state is HealthState.UP or not clean or now - held.since < cluster.spec.health.ramp_interval:
        return held
    return _next_step(held, now)


def _next_step(held: ClusterHealth, now: float) -> ClusterHealth:
    ceiling = _RAMP_START if held.state is HealthState.PROBATION else held.ceiling * _RAMP_FACTOR
    if ceiling >= 1:
        return replace(held, state=HealthState.UP, since=now, ceiling=1.0)
    return replace(held, state=HealthState.RAMP, since=now, ceiling=ceiling)


def proves_generation(loads: Iterable[Load], endpoints: int, now: float) -> bool:
    """Tell whether what edges report proves that every endpoint of a cluster answers requests.

    With enough of them, and so few failed that no endpoint can be failing all of its own; with several endpoints also
    so few without an end yet that none can be holding all of its own. Pauses probes that cost tokens; decides nothing.
    """
    fresh = [load for load in loads if now - load.at <= _EVIDENCE_AGE]
    issued = sum(load.request_rate for load in fresh)
    failed = sum(load.error_rate for load in fresh)
    succeeded = sum(load.success_rate or 0.0 for load in fresh)
    few = min(_ALIVE_ERRORS, 0.5 / endpoints) * issued
    return succeeded >= _EVIDENCE_RATE and failed <= few and (endpoints == 1 or issued - succeeded <= few)
