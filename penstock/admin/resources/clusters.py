"""``GET /api/v1/clusters``: every cluster with health, load, price and drain, as the engine sees them."""

from collections.abc import Mapping

from aiohttp import web

from penstock.admin.edge_votes import EdgeProbing, regions_view
from penstock.admin.engine_view import engine_view
from penstock.admin.keys import CONTROL
from penstock.admin.ports import ControlPlane
from penstock.admin.probe_view import cluster_probing, endpoint_probing
from penstock.admin.wire import json_response, timestamp
from penstock.signals.probe_book import ProbeFacts
from penstock_policies.observations import EndpointProbe, Observations
from penstock_policies.overrides import Drain
from penstock_policies.schema import Cluster

LOAD_MAX_AGE = 10.0
"""Seconds after which a load report says nothing about now: the engine stops believing it then as well."""


def utilisation(in_flight: float, capacity: float) -> float | None:
    """In-flight requests over what the engine plans up to; None when there is no capacity to divide by."""
    return in_flight / capacity if capacity > 0 else None


def drain_view(drain: Drain, now: float) -> dict[str, object]:
    """Return a drain for people: who, why, until when, and how much of the share is left by its ramp."""
    return {
        "cluster": drain.cluster,
        "reason": drain.reason,
        "owner": drain.owner,
        "since": timestamp(drain.since),
        "until": timestamp(drain.until),
        "endsInSeconds": max(0.0, drain.until - now),
        "rampSeconds": drain.ramp,
        "shareLeft": drain.remaining(now),
        "active": drain.active(now),
    }


def _rates(observations: Observations, cluster: str, now: float) -> tuple[float | None, float | None]:
    fresh = [
        load[cluster]
        for load in observations.load.values()
        if cluster in load and now - load[cluster].at <= LOAD_MAX_AGE
    ]
    if not fresh:
        return None, None
    return sum(load.request_rate for load in fresh), sum(load.error_rate for load in fresh)


def _endpoint(
    key: str, probe: EndpointProbe | None, facts: ProbeFacts | None, now: float, *, unhealthy: bool
) -> dict[str, object]:
    return {
        "endpoint": key,
        "healthy": not unhealthy,
        "probedSecondsAgo": None if probe is None else max(0.0, now - probe.at),
        "latencySeconds": None if probe is None else probe.latency,
        "consecutiveOk": 0 if probe is None else probe.consecutive_ok,
        "consecutiveFailed": 0 if probe is None else probe.consecutive_failed,
        "detail": "" if probe is None else probe.detail,
        "probing": endpoint_probing(facts, now),
    }


def _health(cluster: Cluster, control: ControlPlane, observations: Observations) -> dict[str, object]:
    now, decision, probed = control.now(), control.decision, control.probed(cluster)
    health = None if decision is None else decision.health.get(cluster.name)
    unhealthy = () if health is None else health.unhealthy_endpoints
    probes: Mapping[str, EndpointProbe] = observations.probes.get(cluster.name, {})
    return {
        "state": None if health is None else health.state,
        "since": None if health is None else timestamp(health.since),
        "ceiling": None if health is None else health.ceiling,
        "reason": "" if health is None else health.reason,
        "endpoints": [
            _endpoint(
                endpoint.key,
                probes.get(endpoint.key),
                probed.endpoints.get(endpoint.key),
                now,
                unhealthy=endpoint.key in unhealthy,
            )
            for endpoint in cluster.spec.endpoints
        ],
        "probing": cluster_probing(cluster, probed, control),
    }


def cluster_view(cluster: Cluster, control: ControlPlane, probing: EdgeProbing) -> dict[str, object]:
    """One cluster."""
    now, decision, observations = control.now(), control.decision, control.observations()
    view = None if decision is None else decision.clusters.get(cluster.name)
    drain = control.overrides.drains.get(cluster.name)
    request_rate, error_rate = _rates(observations, cluster.name, now)
    return {
        "name": cluster.name,
        "site": cluster.spec.site,
        "region": cluster.spec.region,
        "engine": cluster.spec.engine,
        "models": cluster.spec.models,
        "health": {
            **_health(cluster, control, observations),
            "from": cluster.spec.health.vantage,
            "regions": list(regions_view(cluster, decision, probing, now)),
        },
        "load": {
            "inFlight": None if view is None else view.in_flight,
            "capacity": None if view is None else view.capacity,
            "declaredConcurrency": cluster.spec.capacity.concurrency,
            "limitedBy": "" if view is None else view.limited_by,
            "trim": None if view is None else view.trim,
            "planned": None if view is None else view.planned,
            "slotPriceUsdPerHour": None if view is None else view.slot_price,
            "utilisation": None if view is None else utilisation(view.in_flight, view.capacity),
            "requestRate": request_rate,
            "errorRate": error_rate,
        },
        "engineFigures": engine_view(cluster, control, observations.engines.get(cluster.name)),
        "price": None
        if view is None
        else {
            "usdPerMillionTokens": view.price,
            "source": view.price_source,
            "ageSeconds": view.price_age,
            "stale": "(stale)" in view.price_source,
        },
        "carbon": None if view is None else {"gramsPerMillionTokens": view.carbon, "source": view.carbon_source},
        "spot": cluster.spec.spot is not None,
        "drain": None if drain is None or now >= drain.until else drain_view(drain, now),
    }


def clusters_view(control: ControlPlane) -> dict[str, object]:
    """Every cluster of the policy in force, by name."""
    policy = control.policy_set
    names = () if policy is None else sorted(policy.clusters)
    probing = control.edge_probing()
    return {
        "now": timestamp(control.now()),
        "items": [] if policy is None else [cluster_view(policy.clusters[name], control, probing) for name in names],
    }


async def get_clusters(request: web.Request) -> web.Response:
    """``GET /api/v1/clusters``."""
    return json_response(clusters_view(request.app[CONTROL]))


ROUTES = (web.get("/api/v1/clusters", get_clusters),)
