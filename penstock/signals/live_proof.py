"""Which endpoints users' requests prove to generate, so that no probe need spend tokens on it. Pure.

Each by its own requests, where edges tell of endpoints one by one (IP addresses); where they do not, all or none by the
sum of the cluster.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from penstock.signals.load_endpoints import EndpointLoad
from penstock_policies.engine.health import proves_generation
from penstock_policies.observations import Load

FRESH: Final = 10.0
"""Seconds since an edge last told of an endpoint: ten of the edges' intervals."""
ENOUGH: Final = 10.0
"""Requests ended lately (about twenty seconds): as many as take a cluster out when they fail."""
FAILED: Final = 0.1
"""Share of them that may have failed."""
ANSWERED: Final = 0.5
"""Share of those issued that must have been answered: an endpoint that holds all that it gets falls below it within
the half-life of these counts, fifteen seconds."""


def proven_endpoints(
    told: Mapping[str, Mapping[str, EndpointLoad]], loads: Iterable[Load], keys: frozenset[str], now: float
) -> frozenset[str]:
    """Name the endpoints of a cluster whose requests prove that they generate.

    Args:
        told: edge region, ``address:port`` to what is reported of that endpoint.
        loads: what every region reports of the cluster.
        keys: the cluster's endpoints.
        now: Unix seconds.

    """
    by_endpoint: dict[str, list[EndpointLoad]] = {}
    for by in told.values():
        for key in keys & by.keys():
            if now - by[key].at <= FRESH:
                by_endpoint.setdefault(key, []).append(by[key])
    if by_endpoint:
        return frozenset(key for key, reports in by_endpoint.items() if _proven(reports))
    return keys if proves_generation(loads, len(keys), now) else frozenset()


def _proven(reports: Iterable[EndpointLoad]) -> bool:
    ended = issued = failed = succeeded = 0.0
    for one in reports:
        ended += one.ended
        issued += one.request_rate
        failed += one.error_rate
        succeeded += one.success_rate
    return ended >= ENOUGH and failed <= FAILED * (failed + succeeded) and succeeded >= ANSWERED * issued
