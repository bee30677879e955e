"""What Envoy's load reports say, as plain numbers. Pure: bytes in, figures out.

Envoy counts, for each cluster and locality, requests issued, succeeded and failed since its last report, and how many
are in progress now (``envoy.config.endpoint.v3.ClusterStats``). Requests through a composite cluster are counted under
the member that was tried, each attempt for itself.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from envoy.service.load_stats.v3 import lrs_pb2

from penstock_policies.observations import Load

LEG_PREFIX: Final = "leg/"
"""How composite legs are named in the generated configuration. What they carry is reported under their members."""

MOST_IN_FLIGHT: Final = 1_000_000
MOST_PER_SECOND: Final = 1_000_000.0
"""No Envoy has so many requests; a gauge that was decremented once too often reads 2**64 - 1."""

LEAST_INTERVAL: Final = 0.05
"""Seconds. A report about less than this (the first after a reconnect) would turn one request into a huge rate."""


@dataclass(frozen=True, slots=True)
class ClusterLoad:
    """One cluster's figures from one Envoy: requests in flight, and per second issued, failed and succeeded."""

    in_flight: int
    request_rate: float
    error_rate: float
    success_rate: float


@dataclass(frozen=True, slots=True)
class Report:
    """One message of one Envoy."""

    node_id: str
    """Empty in all but the first message of a stream, as ``node_cluster``."""
    node_cluster: str
    clusters: Mapping[str, ClusterLoad]
    refused: tuple[str, ...]
    """Clusters whose figures were absurd."""


def parse(message: bytes, interval: float) -> Report:
    """Read a ``LoadStatsRequest``. ``interval`` (seconds) stands in where a cluster's own is missing.

    Raises:
        google.protobuf.message.DecodeError: these are not the bytes of one.

    """
    request = lrs_pb2.LoadStatsRequest.FromString(message)
    clusters: dict[str, ClusterLoad] = {}
    refused: list[str] = []
    for stats in request.cluster_stats:
        name = stats.cluster_name
        if name.startswith(LEG_PREFIX):
            continue
        load = _cluster_load(stats, interval)
        if load is None:
            refused.append(name)
        else:
            clusters[name] = load
    return Report(request.node.id, request.node.cluster, clusters, tuple(refused))


def _cluster_load(stats: Any, interval: float) -> ClusterLoad | None:  # noqa: ANN401 - the message has no stubs
    in_flight = issued = errors = successes = 0
    for locality in stats.upstream_locality_stats:
        in_flight += locality.total_requests_in_progress
        issued += locality.total_issued_requests
        errors += locality.total_error_requests
        successes += locality.total_successful_requests
    covered = stats.load_report_interval.seconds + stats.load_report_interval.nanos / 1e9
    seconds = max(covered, LEAST_INTERVAL) if covered > 0 else interval
    load = ClusterLoad(in_flight, issued / seconds, errors / seconds, successes / seconds)
    fastest = max(load.request_rate, load.error_rate, load.success_rate)
    return load if in_flight <= MOST_IN_FLIGHT and fastest <= MOST_PER_SECOND else None


def total(reports: Iterable[tuple[float, Mapping[str, ClusterLoad]]]) -> dict[str, Load]:
    """Sum what several Envoys say, given with the times they said it, by cluster.

    A sum is as old as the newest of its parts.
    """
    parts: dict[str, list[tuple[float, ClusterLoad]]] = {}
    for at, clusters in reports:
        for name, load in clusters.items():
            parts.setdefault(name, []).append((at, load))
    return {
        name: Load(
            at=max(at for at, _ in loads),
            in_flight=float(sum(load.in_flight for _, load in loads)),
            # fsum: the same reports in another order are the same load, to the last bit.
            request_rate=math.fsum(load.request_rate for _, load in loads),
            error_rate=math.fsum(load.error_rate for _, load in loads),
            reporters=len(loads),
            success_rate=math.fsum(load.success_rate for _, load in loads),
        )
        for name, loads in parts.items()
    }
