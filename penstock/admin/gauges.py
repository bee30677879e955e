"""The gauges: what the control plane holds at the moment of a scrape."""

from collections.abc import Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from penstock.admin.findings import feed_ages
from penstock.admin.ports import ControlPlane
from penstock.admin.xds_metrics import SERVED_TYPES, type_label
from penstock_policies.decision import Decision, HealthState


def _gauge(name: str, documentation: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"penstock_{name}", documentation, labels=labels)


def _single(name: str, documentation: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"penstock_{name}", documentation, value=value)


def _policy(control: ControlPlane) -> Iterator[Metric]:
    yield _single("ready", "1 when Envoys are given a complete configuration.", float(control.ready().ready))
    yield _single(
        "policy_reload_success",
        "1 when the latest load of the policy files was accepted.",
        float(control.policy_set is not None and control.policy_rejected_at is None),
    )
    yield _single(
        "policy_reload_last_success_timestamp_seconds",
        "When the policy in force was loaded, Unix time; 0 when there is none.",
        control.policy_loaded_at or 0.0,
    )
    problems = _gauge("policy_problems", "Problems of the latest load of the policy files.", "severity")
    for severity in ("error", "warning"):
        problems.add_metric([severity], sum(problem.severity == severity for problem in control.policy_problems))
    yield problems


def _envoys(control: ControlPlane) -> Iterator[Metric]:
    policy = control.policy_set
    # A group nobody is connected to says so: an alert on an absent series is easily forgotten.
    groups = dict.fromkeys(() if policy is None else policy.groups, 0)
    for envoy in control.streams():
        groups[envoy.group] = groups.get(envoy.group, 0) + 1
    clients = _gauge("xds_connected_clients", "Envoys connected over xDS.", "group")
    for group, count in sorted(groups.items()):
        clients.add_metric([group], count)
    yield clients
    yield from _quarantine(control, groups)
    canaries = _gauge("xds_canary_rollouts", "1 while some Envoys of a group try what the others get later.", "group")
    for canary in control.canaries():
        canaries.add_metric([canary.group], 1.0)
    yield canaries
    queue = control.first_answers()
    yield _single(
        "xds_concurrent_builds", "Streams that are being sent their first, whole configuration.", queue.building
    )
    yield _single("xds_builds_waiting", "Streams that wait for their turn to be sent it.", queue.waiting)


def _quarantine(control: ControlPlane, groups: Iterable[str]) -> Iterator[Metric]:
    # Zeros for the types Penstock serves, so that an alert never waits for a series to appear.
    counts = {(group, kind): 0 for group in groups for kind in SERVED_TYPES}
    for each in control.quarantine():
        key = (each.group, type_label(each.type_url))
        counts[key] = counts.get(key, 0) + 1
    quarantined = _gauge("xds_quarantined", "Resource versions an Envoy refused and nobody is sent.", "group", "type")
    for labels, count in sorted(counts.items()):
        quarantined.add_metric(labels, count)
    yield quarantined


def _clusters(decision: Decision) -> Iterator[Metric]:
    state = _gauge("cluster_state", "1 for the state a cluster's health is in, 0 for the others.", "cluster", "state")
    for cluster, health in sorted(decision.health.items()):
        for each in HealthState:
            state.add_metric([cluster, each.value], float(health.state is each))
    in_flight = _gauge("cluster_in_flight", "Requests in flight at a cluster.", "cluster")
    capacity = _gauge("cluster_capacity", "Requests in flight the engine plans up to.", "cluster")
    price = _gauge("cluster_price_usd_per_mtok", "US dollars per million tokens.", "cluster")
    for cluster, view in sorted(decision.clusters.items()):
        in_flight.add_metric([cluster], view.in_flight)
        capacity.add_metric([cluster], view.capacity)
        price.add_metric([cluster], view.price)
    yield from (state, in_flight, capacity, price)


def _engine(decision: Decision) -> Iterator[Metric]:
    weight = _gauge(
        "route_weight", "Weight of a cluster in a row; a row sums to 10000.", "policy", "region", "model", "cluster"
    )
    for key, row in sorted(decision.rows.items()):
        for cluster, value in sorted(row.weights.items()):
            weight.add_metric([key.policy, key.region, key.model, cluster], value)
    yield weight
    yield _single(
        "engine_frozen", "1 when the engine distrusts its inputs and holds the weights.", float(bool(decision.frozen))
    )
    yield _single("decision_timestamp_seconds", "When the decision in force was made, Unix time.", decision.at)


def _feeds(control: ControlPlane) -> Iterator[Metric]:
    policy = control.policy_set
    age = _gauge("cost_feed_age_seconds", "Time since a cost feed was last read well; +Inf when never.", "feed")
    for feed, seconds in sorted(({} if policy is None else feed_ages(control, policy)).items()):
        age.add_metric([feed], float("inf") if seconds is None else seconds)
    yield age


def _drains(control: ControlPlane) -> Iterator[Metric]:
    now, policy = control.now(), control.policy_set
    active = _gauge("drain_active", "1 when an operator drains the cluster.", "cluster")
    for cluster in sorted(() if policy is None else policy.clusters):
        drain = control.overrides.drains.get(cluster)
        active.add_metric([cluster], float(drain is not None and drain.active(now)))
    yield active


class ControlPlaneGauges(Collector):
    """Reads the control plane at scrape time, on the event loop's thread like every other reader."""

    def __init__(self, control: ControlPlane) -> None:
        self._control = control

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not read a control plane that is still being built."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Every gauge."""
        yield from _policy(self._control)
        yield from _envoys(self._control)
        if self._control.decision is not None:
            yield from _clusters(self._control.decision)
            yield from _engine(self._control.decision)
        yield from _feeds(self._control)
        yield from _drains(self._control)
