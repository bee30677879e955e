"""Gauges of what engines and edges tell. Labels are names of the policy's clusters and endpoints, and nothing else."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from penstock.admin.ports import ControlPlane
from penstock.admin.signals import EngineShown
from penstock_policies.policyset import PolicySet

_SHARES = ("0.5", "0.95")


def signal_gauges(control: ControlPlane) -> Iterator[Metric]:
    """Everything of that kind, as it is now."""
    yield from _reporting(control)
    if control.policy_set is not None:
        yield from _endpoints(control, control.policy_set)
        yield from _engines(control, control.policy_set)


def _gauge(name: str, documentation: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"penstock_{name}", documentation, labels=labels)


def _reporting(control: ControlPlane) -> Iterator[Metric]:
    facts = control.signals.load_reporting()
    reporters = _gauge("load_reporters", "Streams of load reports, by how they count.", "state")
    counting = facts.streams - facts.silent - facts.unplaced
    for state, count in (("counting", counting), ("silent", facts.silent), ("unplaced", facts.unplaced)):
        reporters.add_metric([state], count)
    yield reporters
    doubted = len({each.node for each in facts.doubts})
    yield GaugeMetricFamily("penstock_load_reporters_doubted", "Reporters that are not believed.", value=doubted)
    for name, documentation, value in (
        ("load_reports", "Load reports taken in.", facts.reports),
        ("load_reports_refused", "Figures of single clusters, or whole reports, that were absurd.", facts.refused),
        ("load_reports_unknown", "Entries of load reports about clusters that are not in the policy.", facts.unknown),
    ):
        yield CounterMetricFamily(f"penstock_{name}", documentation, value=value)


def _endpoints(control: ControlPlane, policy: PolicySet) -> Iterator[Metric]:
    in_flight = _gauge(
        "endpoint_in_flight", "Requests in flight at an endpoint, as edges count.", "cluster", "endpoint"
    )
    failed = _gauge(
        "endpoint_error_share",
        "Of the requests that ended lately at an endpoint, the share that failed.",
        "cluster",
        "endpoint",
    )
    outcomes = control.signals.outcomes()
    for name, cluster in sorted(policy.clusters.items()):
        for each in cluster.spec.endpoints:
            outcome = outcomes.get((name, each.key))
            if outcome is not None:
                in_flight.add_metric([name, each.key], outcome.in_flight)
                failed.add_metric([name, each.key], outcome.error_share)
    drops = CounterMetricFamily("penstock_cluster_drops", "Requests turned away at edges.", labels=("cluster",))
    turned_away = dict.fromkeys(sorted(policy.clusters), 0)
    for (name, _), count in control.signals.drops().items():
        if name in turned_away:
            turned_away[name] += count
    for name, count in turned_away.items():
        drops.add_metric([name], count)
    yield from (in_flight, failed, drops)


def _engines(control: ControlPlane, policy: PolicySet) -> Iterator[Metric]:
    plain = {
        "waiting": _gauge("engine_waiting", "Requests queued in a cluster's engines.", "cluster"),
        "running": _gauge("engine_running", "Requests a cluster's engines work on.", "cluster"),
        "kv_used": _gauge("engine_kv_used", "Share of the KV cache in use, of the fullest endpoint.", "cluster"),
        "prefix_hit_share": _gauge("engine_prefix_hit_share", "Share of lookups the prefix cache had.", "cluster"),
        "ready": _gauge("engine_ready", "1 when all engines of a cluster that say so are ready.", "cluster"),
    }
    timed = {
        "ttft": _gauge("engine_ttft_seconds", "Time to the first token, over seconds.", "cluster", "quantile"),
        "inter_token": _gauge(
            "engine_inter_token_seconds", "Time between tokens, over seconds.", "cluster", "quantile"
        ),
    }
    age = _gauge("engine_figures_age_seconds", "Since a cluster's metrics pages were read.", "cluster")
    now = control.now()
    for name in sorted(policy.clusters):
        shown = control.signals.engine(name).shown
        if shown is None:
            continue
        age.add_metric([name], max(0.0, now - shown.at))
        for field, gauge in plain.items():
            value: float | None = getattr(shown, field)
            if value is not None:
                gauge.add_metric([name], float(value))
        for field, gauge in timed.items():
            _add_timing(gauge, name, field, shown)
    yield from (*plain.values(), *timed.values(), age)


def _add_timing(gauge: GaugeMetricFamily, cluster: str, field: str, shown: EngineShown) -> None:
    for share, suffix in zip(_SHARES, ("p50", "p95"), strict=True):
        value: float | None = getattr(shown, f"{field}_{suffix}")
        if value is not None:
            gauge.add_metric([cluster, share], value)
