"""How the figures of engines and endpoints look on the wire; ages in seconds, null for what is unknown."""

from collections.abc import Mapping
from typing import Final

from envoy.config.core.v3.base_pb2 import Locality
from google.protobuf.message import DecodeError

from penstock.admin.ports import ControlPlane
from penstock.admin.signals import ClusterReport, EndpointLoad, EngineShown, Source, by_endpoint
from penstock_policies.observations import EngineLoad
from penstock_policies.schema import Cluster

_MILLIONTHS: Final = 1e6
_KV: Final = ("kv_cache_usage_perc", "kv_cache_utilization")
_PAGE: Final[Source] = "metrics page"
_ANSWERS: Final[Source] = "answers"
_EDGES: Final[Source] = "edges"


def engine_view(cluster: Cluster, control: ControlPlane, known: EngineLoad | None) -> dict[str, object]:
    """Return what a cluster's engines say of themselves; ``known`` is what decisions go by."""
    summary, now = control.signals.engine(cluster.name), control.now()
    if summary.shown is not None:
        return {"source": _PAGE, "readsPage": True, **_shown(summary.shown, now)}
    if known is not None:
        report = control.signals.cluster_report(cluster.name)
        return {"source": _ANSWERS, "readsPage": summary.has_page, **_spoken(known, report, now)}
    return {"source": _EDGES, "readsPage": summary.has_page, **_shown(None, now)}


def _shown(told: EngineShown | None, now: float) -> dict[str, object]:
    return {
        "ageSeconds": None if told is None else max(0.0, now - told.at),
        "waiting": None if told is None else told.waiting,
        "running": None if told is None else told.running,
        "kvUsed": None if told is None else told.kv_used,
        "prefixHitShare": None if told is None else told.prefix_hit_share,
        "ttftSeconds": None if told is None else _percentiles(told.ttft_p50, told.ttft_p95),
        "interTokenSeconds": None if told is None else _percentiles(told.inter_token_p50, told.inter_token_p95),
        "ready": None if told is None else told.ready,
        "revisions": [] if told is None else told.revisions,
        "models": [] if told is None else told.models,
    }


def _percentiles(p50: float | None, p95: float | None) -> dict[str, float | None] | None:
    return None if p50 is None and p95 is None else {"p50": p50, "p95": p95}


def _spoken(known: EngineLoad, report: ClusterReport, now: float) -> dict[str, object]:
    used = [
        load.metrics[name]
        for endpoints in report.endpoints.values()
        for load in endpoints.values()
        for name in _KV
        if name in load.metrics
    ]
    return {
        **_shown(None, now),
        "ageSeconds": max(0.0, now - known.at),
        "waiting": known.waiting,
        "kvUsed": max(used, default=None),
    }


def endpoint_views(cluster: Cluster, control: ControlPlane, report: ClusterReport) -> list[dict[str, object]]:
    """Return every endpoint of the policy, and those that edges or pages tell of besides, in that order."""
    now, pages, edges = control.now(), control.signals.engine_pages(cluster.name), by_endpoint(report)
    keys = dict.fromkeys((*(each.key for each in cluster.spec.endpoints), *pages, *sorted(edges)))
    return [
        {
            "endpoint": key,
            "engine": _shown(pages[key], now) if key in pages else None,
            "edges": _edges(edges[key], now) if key in edges else None,
        }
        for key in keys
    ]


def _edges(loads: Mapping[str, EndpointLoad], now: float) -> dict[str, object]:
    errors = sum(load.error_rate for load in loads.values())
    ended = errors + sum(load.success_rate for load in loads.values())
    return {
        "ageSeconds": max(0.0, now - max(load.at for load in loads.values())),
        "inFlight": sum(load.in_flight for load in loads.values()),
        "requestRate": sum(load.request_rate for load in loads.values()),
        "errorRate": errors,
        "errorShare": errors / ended if ended > 0 else None,
        "regions": {
            region: {
                "inFlight": load.in_flight,
                "requestRate": load.request_rate,
                "errorRate": load.error_rate,
                "successRate": load.success_rate,
                "engineSays": dict(sorted(load.metrics.items())),
            }
            for region, load in sorted(loads.items())
        },
    }


def locality_views(report: ClusterReport) -> list[dict[str, object]]:
    """Return what each edge region carries at each of a cluster's localities."""
    return [
        {
            "edgeRegion": region,
            **_locality(locality),
            "inFlight": figures.in_flight,
            "requestRate": figures.issued / _MILLIONTHS,
            "errorRate": figures.errors / _MILLIONTHS,
            "successRate": figures.successes / _MILLIONTHS,
        }
        for region, localities in sorted(report.localities.items())
        for locality, figures in sorted(localities.items())
    ]


def _locality(serialized: bytes) -> dict[str, str]:
    try:
        named = Locality.FromString(serialized)
    except DecodeError:
        return {"region": "?", "zone": "", "subZone": ""}
    return {"region": named.region, "zone": named.zone, "subZone": named.sub_zone}
