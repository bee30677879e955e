"""What notices come to: how a deadline becomes a ramp, which clusters are drained and which endpoints taken out. Pure.

A cluster is drained as by an operator, to nothing before the deadline. An endpoint has no share of its own to sink:
it is held to be unhealthy from the moment draining begins, so that Envoy sends it nothing new and the cluster counts
for less. Were that done to every endpoint of a cluster it would be an outage; so the last ones to go stay in, and the
cluster is drained by their deadline.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from penstock.admin.notices import Notice
from penstock_policies.observations import EndpointProbe, Observations
from penstock_policies.overrides import Drain

MARGIN: Final = 10.0
"""Seconds before the deadline at which nothing is sent there any more; half of what is left where that is less. A
decision is a second old at most and reaches Envoys in milliseconds: the rest is for requests to come to their end."""
LONGEST_RAMP: Final = 600.0
"""Seconds: for a deadline further ahead draining begins so long before it, as idle machines are paid for as well."""
_FAILED: Final = 1000
"""Failed probes in a row that any threshold takes for unhealthy: ten times the greatest there may be."""


@dataclass(frozen=True, slots=True)
class Ramp:
    """When a share begins to sink, and when nothing is left."""

    since: float
    gone_at: float


def ramp(deadline: float, now: float, begun: float | None = None) -> Ramp:
    """Return the way down to nothing before a deadline; ``begun`` is when a share that sinks already began to."""
    left = deadline - now
    if left <= 0:
        return Ramp(now if begun is None else min(begun, now), now)
    gone_at = deadline - min(MARGIN, left / 2)
    since = max(now, gone_at - LONGEST_RAMP)
    return Ramp(begun if begun is not None and begun <= now and since <= now else since, gone_at)


@dataclass(frozen=True, slots=True)
class Effects:
    """What notices ask for, all together."""

    drains: Mapping[str, Drain]
    """Cluster to the drain."""
    out: Mapping[str, Mapping[str, Notice]]
    """Cluster, endpoint to the notice that takes it out."""


def effects(notices: Iterable[Notice], endpoints: Mapping[str, Sequence[str]], now: float) -> Effects:
    """Work out what notices ask for of clusters with these endpoints."""
    whole: dict[str, list[Notice]] = {}
    single: dict[str, dict[str, Notice]] = {}
    lasting: dict[tuple[str, str], float] = {}
    for notice in notices:
        if not notice.standing(now):
            continue
        if not notice.endpoint:
            whole.setdefault(notice.cluster, []).append(notice)
        elif notice.endpoint in endpoints.get(notice.cluster, ()):
            key = (notice.cluster, notice.endpoint)
            lasting[key] = max(notice.until, lasting.get(key, 0.0))
            of = single.setdefault(notice.cluster, {})
            of[notice.endpoint] = min(of.get(notice.endpoint, notice), notice, key=_first)
    out: dict[str, dict[str, Notice]] = {}
    for cluster, of in single.items():
        kept: set[str] = set()
        if len(of) == len(set(endpoints[cluster])):
            last = max(of.values(), key=_first)
            ends = min(lasting[cluster, endpoint] for endpoint in of)
            whole.setdefault(cluster, []).append(replace(last, until=ends))
            kept = {endpoint for endpoint, notice in of.items() if notice.gone_at >= last.gone_at}
        out[cluster] = {name: notice for name, notice in of.items() if name not in kept and notice.active(now)}
    drains = {cluster: _drain(min(found, key=lambda one: _urgency(one, now))) for cluster, found in whole.items()}
    return Effects(drains, {cluster: of for cluster, of in out.items() if of})


def _first(notice: Notice) -> tuple[float, float, str]:
    return notice.gone_at, notice.since, notice.id


def _urgency(notice: Notice, now: float) -> tuple[float, float, float, str]:
    """Order notices of one cluster: what leaves least comes first, and of equals the longest."""
    return _drain(notice).remaining(now), notice.gone_at if now < notice.gone_at else 0.0, -notice.until, notice.id


def _drain(notice: Notice) -> Drain:
    return Drain(
        cluster=notice.cluster,
        since=notice.since,
        until=notice.until,
        reason=f"{notice.reason} ({notice.kind})",
        owner=f"notice {notice.id}",
        ramp=notice.gone_at - notice.since,
    )


def seen(observations: Observations, out: Mapping[str, Mapping[str, Notice]], now: float) -> Observations:
    """Return the observations with endpoints that are taken out as failing."""
    if not out:
        return observations
    probes = dict(observations.probes)
    for cluster, endpoints in out.items():
        known = probes.get(cluster, {})
        told = {endpoint: _failing(known.get(endpoint), notice, now) for endpoint, notice in endpoints.items()}
        probes[cluster] = MappingProxyType({**known, **told})
    return replace(observations, probes=MappingProxyType(probes))


def _failing(probe: EndpointProbe | None, notice: Notice, now: float) -> EndpointProbe:
    """Say that an endpoint fails. A notice is news once: silence of the prober must not pass for being heard."""
    heard = now if probe is None else max(probe.at, notice.since)
    return EndpointProbe(
        at=heard,
        consecutive_ok=0,
        consecutive_failed=_FAILED,
        latency=None if probe is None else probe.latency,
        detail=f"notice {notice.id}: {notice.reason}",
    )
