"""What an operator should know now, worst first: the dashboard's banner, and why ``penstock status`` exits with 1.

Pure: everything is read from the control plane at the moment of asking.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from penstock.admin.feed_figures import FeedTrouble, feed_troubles
from penstock.admin.finding import ORDER, Finding
from penstock.admin.note_text import span
from penstock.admin.notices import NoticeEffect
from penstock.admin.ports import ControlPlane
from penstock.admin.probe_findings import probe_findings
from penstock.admin.signal_findings import signal_findings
from penstock.admin.wire import short_type
from penstock.admin.xds_state import CanaryRollout, ConnectedEnvoy, QuarantinedResource, SyncStatus
from penstock_policies.decision import HealthState, Row, Rung
from penstock_policies.policyset import PolicySet

EDGE_GRACE: Final = 60.0
"""Seconds after the start in which Envoys come back (with our bootstrap within seconds, by Envoy's own back-off within
30) and begin to probe: until then nobody is missing."""

MOST_QUARANTINED: Final = 5
"""How many quarantines are told one by one: a bad edit can spoil dozens of resources at once."""


def feed_ages(control: ControlPlane, policy: PolicySet) -> dict[str, float | None]:
    """Every feed of the policy to the seconds since its last good read; None when there was none."""
    now, refreshed = control.now(), {feed.name: feed.refreshed_at for feed in control.feeds()}
    ages: dict[str, float | None] = {}
    for name in policy.feeds:
        at = refreshed.get(name)
        ages[name] = None if at is None else max(0.0, now - at)
    return ages


def _counted(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def _policy(control: ControlPlane) -> Iterator[Finding]:
    readiness = control.ready()
    if not readiness.ready:
        reason = readiness.details.get("reason") or "no complete snapshot yet"
        yield Finding("error", "not-ready", f"Not ready: {reason}")
    withheld = readiness.details.get("decisionWithheld")
    if withheld:
        yield Finding("error", "withheld", f"The latest decision is withheld, the last good one serves: {withheld}")
    errors = [problem for problem in control.policy_problems if problem.severity == "error"]
    if control.policy_rejected_at is not None:
        kept = "the last good policy stays in force" if control.policy_set else "no policy is in force"
        first = f" First: {errors[0]}" if errors else ""
        yield Finding(
            "error", "policy-rejected", f"The policy files have {_counted(len(errors), 'error')}; {kept}.{first}"
        )
    warnings = [problem for problem in control.policy_problems if problem.severity == "warning"]
    if warnings:
        yield Finding(
            "warning", "policy-warnings", f"The policy has {_counted(len(warnings), 'warning')}. First: {warnings[0]}"
        )


def _where(row: Row) -> str:
    return f"{row.key.policy} in {row.key.region} for {row.key.model}"


def _engine(control: ControlPlane) -> Iterator[Finding]:
    decision = control.decision
    if decision is None:
        return
    if decision.frozen:
        yield Finding("error", "frozen", f"The engine is frozen: {decision.frozen}")
    for region, frozen in sorted(decision.frozen_regions.items()):
        yield Finding("error", "frozen-region", f"Rows of {region} are held, it seems cut off: {frozen}")
    rows = [row for _, row in sorted(decision.rows.items())]
    for row in rows:
        if not row.weights:
            nobody = "No sound plan was found for" if row.rung is Rung.REFUSED else "No cluster may serve"
            yield Finding("error", "row-refused", f"{nobody} {_where(row)}: its requests get 503")
    unplanned = [row for row in rows if row.weights and row.rung in {Rung.LAST_GOOD, Rung.STATIC}]
    if unplanned:
        first = unplanned[0]
        yield Finding(
            "warning",
            "row-unplanned",
            f"{_counted(len(unplanned), 'row has', 'rows have')} no sound plan. First: {_where(first)}, served by "
            f"{first.rung}; `penstock explain {first.key.policy}` says why",
        )
    for cluster, health in sorted(decision.health.items()):
        if health.state is HealthState.DOWN:
            because = f": {health.reason}" if health.reason else ""
            yield Finding("warning", "cluster-down", f"Cluster {cluster} is down{because}")
        elif health.unhealthy_endpoints:
            some = ", ".join(health.unhealthy_endpoints)
            yield Finding("warning", "endpoints-unhealthy", f"Cluster {cluster} has unhealthy endpoints: {some}")


def _edge(control: ControlPlane) -> Iterator[Finding]:
    """Tell of what single regions do not reach, and of regions in which nobody looks."""
    decision = control.decision
    seen = {} if decision is None else decision.edge_health
    gone = (
        set[str]() if decision is None else {n for n, one in decision.health.items() if one.state is HealthState.DOWN}
    )
    for region, by in sorted(seen.items()):
        for cluster, health in sorted(by.items()):
            if health.state is HealthState.DOWN and cluster not in gone:
                because = f": {health.reason}" if health.reason else ""
                yield Finding("warning", "cluster-down-from", f"Cluster {cluster} is down from {region}{because}")
    if control.now() - control.started_at < EDGE_GRACE:
        return
    for region, clusters in control.edge_probing().unchecked().items():
        first = f"{clusters[0]} and {len(clusters) - 1} more" if len(clusters) > 1 else clusters[0]
        yield Finding(
            "warning", "edge-unchecked", f"No Envoy of {region} probes {first}; they are taken to be as they last were"
        )


def _budgets(control: ControlPlane) -> Iterator[Finding]:
    policy, decision = control.policy_set, control.decision
    if policy is None or decision is None:
        return
    for name, view in sorted(decision.budgets.items()):
        if name not in policy.budgets:
            continue
        days = max(0.0, view.period_end - control.now()) / 86400
        left = f"{days * 24:.0f} h" if days < 2 else f"{days:.0f} days"
        of = f"${view.spent:,.2f} of ${view.amount:,.2f} spent, {left} of its {policy.budgets[name].spec.per} left"
        if view.exhausted and policy.budgets[name].spec.on_exhausted == "reject":
            yield Finding(
                "error",
                "budget-exhausted",
                f"Budget {name} is exhausted ({of}): what only its clusters could serve is refused",
            )
        elif view.exhausted:
            yield Finding(
                "warning", "budget-exhausted", f"Budget {name} is exhausted ({of}): nothing more goes there by choice"
            )
        elif view.limit is not None:
            yield Finding(
                "info",
                "budget-paced",
                f"Budget {name} is paced to ${view.limit:,.2f} an hour ({of}; as things go it would be "
                f"${view.forecast:,.2f})",
            )


def _feeds(control: ControlPlane) -> Iterator[Finding]:
    policy = control.policy_set
    if policy is None:
        return
    errors = {feed.name: feed.error for feed in control.feeds()}
    for name, age in sorted(feed_ages(control, policy).items()):
        because = f" ({errors[name]})" if errors.get(name) else ""
        if age is None:
            yield Finding("warning", "feed-silent", f"Cost feed {name} gave no price yet{because}")
        elif age > policy.feeds[name].spec.max_age:
            yield Finding(
                "warning",
                "feed-stale",
                f"Cost feed {name} is stale: last read {age:.0f} s ago{because}; it moves no traffic",
            )
        elif because:
            yield Finding("warning", "feed-failing", f"Cost feed {name} fails{because}; its last prices hold")


def _feed_figures(control: ControlPlane) -> Iterator[Finding]:
    """Tell of feeds that are read well, and whose figures are not gone by."""
    policy, decision = control.policy_set, control.decision
    if policy is None or decision is None:
        return
    ages = feed_ages(control, policy)
    by_feed: dict[str, list[FeedTrouble]] = {}
    for each in feed_troubles(policy, decision):
        age = ages[each.feed]
        if each.refused or (age is not None and age <= policy.feeds[each.feed].spec.max_age):
            by_feed.setdefault(each.feed, []).append(each)
    for _, found in sorted(by_feed.items()):
        first = min(found, key=lambda each: not each.refused)
        more = f" (and {_counted(len(found) - 1, 'more figure')})" if len(found) > 1 else ""
        yield Finding("warning", "feed-refused" if first.refused else "feed-outdated", f"{first.sentence}{more}")


def _quarantined(of: QuarantinedResource) -> Finding:
    others = f" and {len(of.nodes) - 1} more" if len(of.nodes) > 1 else ""
    if of.held:
        served = f"the whole group {of.group} stays as it was, since a mixture cannot be proven safe: {of.held}"
    elif of.served_instead:
        served = f"version {of.served_instead} goes on being served"
    else:
        served = "no earlier version is known, so Envoys keep what they hold"
    if of.held_back and not of.held:
        served += f" (and {_counted(len(of.held_back), 'resource')} that would name it held back)"
    refused = f"{short_type(of.type_url)} {of.name} version {of.version}"
    where = f" Policy: {', '.join(of.origins[:3])}." if of.origins else ""
    by = f"{of.nodes[0]}{others}" if of.nodes else "an Envoy"
    return Finding(
        "error", "quarantined", f"{by} in {of.group} refused {refused}; {served}.{where} Envoy said: {of.message}"
    )


def _quarantine(quarantine: Sequence[QuarantinedResource]) -> Iterator[Finding]:
    latest = sorted(quarantine, key=lambda each: -each.last_at)
    for each in latest[:MOST_QUARANTINED]:
        yield _quarantined(each)
    if len(latest) > MOST_QUARANTINED:
        more = _counted(len(latest) - MOST_QUARANTINED, "more resource is", "more resources are")
        yield Finding("error", "quarantined", f"{more} quarantined; see /api/v1/quarantine")


def _canaries(canaries: Sequence[CanaryRollout]) -> Iterator[Finding]:
    for each in canaries:
        if each.stuck:
            yield Finding(
                "error",
                "canary-stuck",
                f"New configuration of group {each.group} does not spread: none of the "
                f"{_counted(each.nodes, 'Envoy')} it was tried on accepted it",
            )


def _envoys(envoys: Sequence[ConnectedEnvoy], quarantine: Sequence[QuarantinedResource]) -> Iterator[Finding]:
    told = {(each.group, each.type_url) for each in quarantine}
    refusing = [
        (envoy.node, short_type(state.type_url), state.error)
        for envoy in envoys
        for state in envoy.types
        if state.status is SyncStatus.NACKED and (envoy.group, state.type_url) not in told
    ]
    if refusing:
        node, kind, error = refusing[0]
        nodes = len({name for name, _, _ in refusing})
        yield Finding(
            "error",
            "nack",
            f"{_counted(nodes, 'Envoy refuses', 'Envoys refuse')} configuration. {node}, {kind}: {error}",
        )


def _drains(control: ControlPlane) -> Iterator[Finding]:
    now = control.now()
    noticed = {f"notice {each.notice.id}" for each in control.notices()}
    for cluster, drain in sorted(control.overrides.drains.items()):
        if drain.active(now) and drain.owner not in noticed:
            left = span(drain.until - now)
            yield Finding("info", "drained", f"{cluster} is drained by {drain.owner} for {left} more: {drain.reason}")


def _notices(control: ControlPlane) -> Iterator[Finding]:
    for each in control.notices():
        notice, left = each.notice, each.notice.deadline - control.now()
        if each.effect is NoticeEffect.ENDED:
            continue
        where = f"{notice.endpoint} of {notice.cluster}" if notice.endpoint else f"Cluster {notice.cluster}"
        when = f"goes away in {span(left)}" if left > 0 else "was to go away by now"
        told = f"{where} {when}: {notice.reason} (notice {notice.id}, {each.effect})"
        if notice.overload:
            yield Finding("error", "notice-overload", f"{told}. {notice.overload}")
        else:
            yield Finding("warning" if left > 0 else "info", "notice", told)


def findings(control: ControlPlane, envoys: Sequence[ConnectedEnvoy]) -> list[Finding]:
    """Everything worth knowing now, worst first; ``envoys`` are the streams of this moment."""
    quarantine = control.quarantine()
    found = [
        *_policy(control),
        *_engine(control),
        *_edge(control),
        *_budgets(control),
        *_quarantine(quarantine),
        *_canaries(control.canaries()),
        *_envoys(envoys, quarantine),
        *probe_findings(control),
        *_feeds(control),
        *_feed_figures(control),
        *signal_findings(control),
        *_drains(control),
        *_notices(control),
    ]
    return sorted(found, key=lambda finding: ORDER.index(finding.severity))
