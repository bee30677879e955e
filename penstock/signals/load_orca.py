"""What engines say of themselves in their answers (ORCA), made a cluster's. Pure.

An engine that was asked to (``endpoint-load-metrics-format``) puts its queue and KV-cache use into the headers of its
answers; Envoys add these up by endpoint and report the sums, so that a mean is what is known. It is a mean over the
answers of the last seconds, each as of the moment the engine wrote its headers.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from penstock.signals.load_endpoints import EndpointLoad
from penstock_policies.observations import EngineLoad

WAITING: Final = "num_requests_waiting"
KV_USED: Final = ("kv_cache_usage_perc", "kv_cache_utilization")
FRESH: Final = 15.0
"""Seconds for which an endpoint's last word stands."""
_BUSY: Final = 0.1
"""Requests a second below which an endpoint without requests in flight carries nothing."""


def engine_load(regions: Iterable[Mapping[str, EndpointLoad]], now: float) -> EngineLoad | None:
    """Sum what the endpoints of a cluster say, as the edges of all regions heard it; None where nothing is known.

    An endpoint that carries nothing waits for nothing. One that carries and does not say makes the sum unknown: the
    sum of some of them, taken for that of all, would be a lie. As old as the oldest of its parts.
    """
    heard: dict[str, list[EndpointLoad]] = {}
    for region in regions:
        for endpoint, load in region.items():
            # Those told as one sum are the same endpoints, seen by clients that do not tell them apart.
            if endpoint:
                heard.setdefault(endpoint, []).append(load)
    total, oldest = 0.0, now
    told = False
    for loads in heard.values():
        at = max((each.metrics_at for each in loads if each.metrics_at is not None), default=None)
        if at is not None and now - at <= FRESH:
            means = [(each.metrics[WAITING], each.ended) for each in loads if WAITING in each.metrics]
            if not means:
                return None
            weights = sum(ended for _, ended in means)
            total += sum(mean * ended for mean, ended in means) / weights if weights > 0 else means[0][0]
            oldest, told = min(oldest, at), True
        elif any(each.in_flight > 0 or each.request_rate > _BUSY for each in loads):
            return None
    return EngineLoad(at=oldest, waiting=total) if told else None
