"""The gauges: what the control plane holds at the moment of a scrape."""

from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from penstock.admin.feed_figures import accepted_ages, feed_troubles
from penstock.admin.findings import feed_ages
from penstock.admin.ports import ControlPlane
from penstock.admin.probe_view import is_limited
from penstock.admin.signal_gauges import signal_gauges
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
    yield from _regional(decision)
    in_flight = _gauge("cluster_in_flight", "Requests in flight at a cluster.", "cluster")
    capacity = _gauge("cluster_capacity", "Requests in flight the engine plans up to.", "cluster")
    price = _gauge("cluster_price_usd_per_mtok", "US dollars per million tokens.", "cluster")
    for cluster, view in sorted(decision.clusters.items()):
        in_flight.add_metric([cluster], view.in_flight)
        capacity.add_metric([cluster], view.capacity)
        price.add_metric([cluster], view.price)
    yield from (state, in_flight, capacity, price)
    yield from _plan(decision)


def _regional(decision: Decision) -> Iterator[Metric]:
    """Give the health by region of the clusters probed from the edge."""
    ceiling = _gauge(
        "cluster_region_ceiling",
        "Greatest share of a region's traffic that a cluster probed from the edge may get: 0 down, 1 up.",
        "cluster",
        "region",
    )
    frozen = _gauge("region_frozen", "1 when a region seems cut off and its rows are held.", "region")
    for region, by in sorted(decision.edge_health.items()):
        frozen.add_metric([region], float(region in decision.frozen_regions))
        for cluster, health in sorted(by.items()):
            ceiling.add_metric([cluster, region], health.ceiling)
    yield from (ceiling, frozen)


def _plan(decision: Decision) -> Iterator[Metric]:
    planned = _gauge("cluster_planned_in_flight", "Requests in flight by the solver's plan.", "cluster")
    trim = _gauge("cluster_capacity_trim", "Learnt part of the declared capacity, 0 to 1.", "cluster")
    slot = _gauge(
        "cluster_slot_price_usd_per_hour",
        "What room for one more request would save, USD an hour.",
        "cluster",
    )
    carbon = _gauge("cluster_carbon_grams_per_mtok", "Grams of CO2 equivalent per million tokens.", "cluster")
    for cluster, view in sorted(decision.clusters.items()):
        planned.add_metric([cluster], view.planned)
        trim.add_metric([cluster], view.trim)
        slot.add_metric([cluster], view.slot_price)
        carbon.add_metric([cluster], view.carbon)
    yield from (planned, trim, slot, carbon)


def _budgets(decision: Decision) -> Iterator[Metric]:
    spent = _gauge("budget_spent_usd", "USD spent under a budget in its period.", "budget")
    remaining = _gauge("budget_remaining_usd", "USD left of a budget in its period.", "budget")
    forecast = _gauge("budget_forecast_usd", "USD spent by the end of the period at the present rate.", "budget")
    burn = _gauge("budget_burn_usd_per_hour", "USD an hour being spent under a budget, smoothed.", "budget")
    limit = _gauge("budget_limit_usd_per_hour", "USD an hour a budget allows; +Inf when unpaced.", "budget")
    exhausted = _gauge("budget_exhausted", "1 when a budget is spent.", "budget")
    for name, view in sorted(decision.budgets.items()):
        spent.add_metric([name], view.spent)
        remaining.add_metric([name], max(0.0, view.amount - view.spent))
        forecast.add_metric([name], view.forecast)
        burn.add_metric([name], view.burn)
        limit.add_metric([name], float("inf") if view.limit is None else view.limit)
        exhausted.add_metric([name], float(view.exhausted))
    yield from (spent, remaining, forecast, burn, limit, exhausted)


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
    yield from _feed_figures(control)


def _feed_figures(control: ControlPlane) -> Iterator[Metric]:
    policy, decision = control.policy_set, control.decision
    refused = _gauge("cost_feed_refused_figures", "Figures of a cost feed that the engine refuses now.", "feed")
    stale = _gauge("cost_feed_stale_figures", "Figures of a cost feed that are older than its maxAge.", "feed")
    oldest = _gauge("cost_feed_figure_age_seconds", "Age of a cost feed's oldest accepted figure.", "feed")
    if policy is not None and decision is not None:
        troubles = feed_troubles(policy, decision)
        ages = accepted_ages(policy, decision)
        for feed in sorted(policy.feeds):
            own = [each for each in troubles if each.feed == feed]
            refused.add_metric([feed], sum(1 for each in own if each.refused))
            limit = policy.feeds[feed].spec.max_age
            aged = [age for (name, _), age in ages.items() if name == feed]
            stale.add_metric([feed], sum(1 for age in aged if age > limit))
            if aged:
                oldest.add_metric([feed], max(aged))
    yield from (refused, stale, oldest)


def _drains(control: ControlPlane) -> Iterator[Metric]:
    now, policy = control.now(), control.policy_set
    active = _gauge("drain_active", "1 when an operator drains the cluster.", "cluster")
    for cluster in sorted(() if policy is None else policy.clusters):
        drain = control.overrides.drains.get(cluster)
        active.add_metric([cluster], float(drain is not None and drain.active(now)))
    yield active


def _notices(control: ControlPlane) -> Iterator[Metric]:
    now, policy = control.now(), control.policy_set
    standing = dict.fromkeys(() if policy is None else sorted(policy.clusters), 0)
    deadlines: dict[str, float] = {}
    for each in control.notices():
        name = each.notice.cluster
        if name in standing and each.notice.standing(now):
            standing[name] += 1
            deadlines[name] = min(deadlines.get(name, float("inf")), each.notice.deadline - now)
    count = _gauge("notices", "Standing notices that a cluster or endpoints of it will go away.", "cluster")
    left = _gauge(
        "notice_deadline_seconds", "Time to the next deadline of a cluster's notices; negative after.", "cluster"
    )
    for name, number in standing.items():
        count.add_metric([name], number)
        if name in deadlines:
            left.add_metric([name], deadlines[name])
    yield from (count, left)


def _edge(control: ControlPlane) -> Iterator[Metric]:
    probing = control.edge_probing()
    checkers = _gauge("edge_checkers", "Envoys that have something to probe.", "region")
    votes = _gauge("edge_votes", "Live votes of Envoys on endpoints they probe.", "region", "verdict")
    unchecked = _gauge("edge_unchecked_clusters", "Clusters that no Envoy of the region probes.", "region")
    lacking = probing.unchecked()
    for region, by in sorted(probing.votes.items()):
        told = [one for each in by.values() for one in each.endpoints.values()]
        checkers.add_metric([region], probing.checkers.get(region, 0))
        votes.add_metric([region, "well"], sum(one.well for one in told))
        votes.add_metric([region, "ill"], sum(one.ill for one in told))
        unchecked.add_metric([region], len(lacking.get(region, ())))
    yield from (checkers, votes, unchecked)
    yield _single("edge_streams", "Envoys that offer to probe.", probing.streams)
    yield _single("edge_silent_checkers", "Envoys that fell silent and are not asked for a while.", probing.silent)
    for name, documentation, count in (
        ("edge_reports", "Health reports of Envoys that were read.", probing.reports),
        ("edge_reports_refused", "Health reports, and parts of them, that were refused.", probing.refused),
        ("edge_votes_expired", "Votes that nobody renewed.", probing.expired),
    ):
        yield CounterMetricFamily(f"penstock_{name}", documentation, value=count)


def _probes(control: ControlPlane) -> Iterator[Metric]:
    policy, now = control.policy_set, control.now()
    refused = _gauge("probe_credential_refused", "1 when an endpoint refuses the key of probes.", "cluster")
    limited = _gauge("probe_limited", "1 when a probe was lately told that too much is asked for.", "cluster")
    missing = _gauge("probe_missing_models", "Models of a cluster that an endpoint does not list.", "cluster")
    failing = _gauge("probe_generation_failing", "Endpoints whose last generations failed.", "cluster")
    paused = _gauge("probe_generation_paused", "Endpoints whose requests prove what a generation would.", "cluster")
    for name, cluster in sorted(() if policy is None else policy.clusters.items()):
        of = list(control.probed(cluster).endpoints.values())
        refused.add_metric([name], float(any(facts.credential for facts in of)))
        limited.add_metric([name], float(any(is_limited(facts, now) for facts in of)))
        missing.add_metric([name], len({model for facts in of for model in facts.missing or ()}))
        failing.add_metric([name], sum(facts.generation.failed_in_a_row > 0 for facts in of))
        paused.add_metric([name], sum(facts.generation.paused for facts in of))
    yield from (refused, limited, missing, failing, paused)


def live_gauges(control: ControlPlane) -> list[Metric]:
    """Read what changes under one's hands, and so on the event loop's thread only: all but the decision."""
    return [
        *_policy(control),
        *_envoys(control),
        *_feeds(control),
        *_drains(control),
        *_notices(control),
        *_edge(control),
        *_probes(control),
        *signal_gauges(control),
    ]


def decision_gauges(decision: Decision | None) -> Iterator[Metric]:
    """Give the gauges of a decision: for a large fleet many, and in any thread."""
    if decision is not None:
        yield from _clusters(decision)
        yield from _engine(decision)
        yield from _budgets(decision)
