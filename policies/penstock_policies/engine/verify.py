"""Last stage: nothing leaves the engine that breaks a rule. Independent of the stages that made the decision.

Reads only the policy files and the decision, and says the rules again in its own words: it shares no code with
eligibility, schedules, budgets, solver, projection or rounding, so that an error there cannot also hide here.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim

from penstock_policies.decision import TOTAL_WEIGHT, Decision, HealthState, Row, Rung
from penstock_policies.policyset import ANY_MODEL, PolicySet, RowKey
from penstock_policies.schema import Budget, Cluster, TrafficPolicy
from penstock_policies.words import DataClass

_MINUTE = 60.0
_TICK = timedelta(minutes=1)
_DAY = 24 * 60
"""Minutes."""


class VerifyError(Exception):
    """A decision breaks rules: ``breaches`` says which, by row, one sentence each."""

    def __init__(self, breaches: Mapping[RowKey, tuple[str, ...]]) -> None:
        super().__init__(
            "; ".join(
                f"{key.policy}/{key.region}/{key.model}: {breach}" for key, all_ in breaches.items() for breach in all_
            )
        )
        self.breaches = breaches

    @property
    def rows(self) -> frozenset[RowKey]:
        """The rows that break a rule."""
        return frozenset(self.breaches)


def verify(policy: PolicySet, decision: Decision) -> None:
    """Check every rule a decision must keep.

    Raises:
        VerifyError: at least one is broken.

    """
    expected = set(policy.rows())
    down = {region: _down(decision, region) for region in {key.region for key in expected}}
    laws: dict[tuple[str, str], frozenset[str]] = {}
    breaches: dict[RowKey, tuple[str, ...]] = {}
    for key in sorted(expected | set(decision.rows)):
        if key not in decision.rows:
            breaches[key] = ("row missing",)
        elif key not in expected:
            breaches[key] = ("row of no policy",)
        else:
            about = (key.policy, key.model)
            law = laws.get(about)
            if law is None:
                law = laws[about] = _lawful(policy, decision, key)
            broken = _row_breaches(policy.policies[key.policy], decision.rows[key], law, down[key.region])
            if broken:
                breaches[key] = tuple(broken)
    if breaches:
        raise VerifyError(breaches)


def _down(decision: Decision, region: str) -> frozenset[str]:
    """Name the clusters that are down for a region: as seen from there, where they are looked at from there."""
    seen = decision.edge_health.get(region, {})
    return frozenset(
        name for name, health in decision.health.items() if seen.get(name, health).state is HealthState.DOWN
    )


def _lawful(policy: PolicySet, decision: Decision, key: RowKey) -> frozenset[str]:
    """Name the clusters that must be in a row: the same for every region of a policy and a model."""
    traffic = policy.policies[key.policy]
    able = {
        name
        for name, cluster in policy.clusters.items()
        if _may_serve(policy, traffic, key, cluster) and decision.draining.get(name, 1.0) > 0
    }
    within = {name for name in able if _within_hours(traffic, policy.clusters[name], decision.at)}
    spent = [
        budget
        for name, budget in policy.budgets.items()
        if budget.spec.on_exhausted == "reject" and name in decision.budgets and decision.budgets[name].exhausted
    ]
    return frozenset(
        name for name in within or able if not any(_unpaid(budget, traffic, policy.clusters[name]) for budget in spent)
    )


def _may_serve(policy: PolicySet, traffic: TrafficPolicy, key: RowKey, cluster: Cluster) -> bool:
    if cluster.name not in traffic.spec.clusters:
        return False
    if key.model not in (ANY_MODEL, *cluster.spec.models):
        return False
    version = traffic.spec.versions.get(key.model)
    if version is not None:
        served = cluster.spec.model_versions.get(key.model)
        if served is None or served not in (version.stable, version.canary):
            return False
    for rule in policy.residency.values():
        if rule.spec.data_class != traffic.spec.data_class:
            continue
        allow = rule.spec.allow
        facts = ((allow.sites, cluster.spec.site), (allow.regions, cluster.spec.region), (allow.clusters, cluster.name))
        if any(allowed is not None and fact not in allowed for allowed, fact in facts):
            return False
    return True


def _unpaid(budget: Budget, traffic: TrafficPolicy, cluster: Cluster) -> bool:
    if traffic.spec.data_class is DataClass.RESTRICTED:
        return False
    scope = budget.spec.scope
    facts = ((scope.policy, traffic.name), (scope.cluster, cluster.name), (scope.site, cluster.spec.site))
    return all(wanted is None or wanted == fact for wanted, fact in facts)


def _within_hours(traffic: TrafficPolicy, cluster: Cluster, now: float) -> bool:
    """Tell whether the first schedule in force that says ``only`` names the cluster, or none says it."""
    for schedule in traffic.spec.schedules:
        only = schedule.only
        if only is None or not _fired(schedule.cron, schedule.time_zone, now - schedule.duration, now):
            continue
        facts = ((only.clusters, cluster.name), (only.sites, cluster.spec.site), (only.regions, cluster.spec.region))
        return all(allowed is None or fact in allowed for allowed, fact in facts)
    return True


def _fired(cron: str, zone: str, after: float, now: float) -> bool:
    """Tell whether a cron expression fired after a moment and not after ``now``."""
    return _fired_between(cron, zone, int(after // _MINUTE), int(now // _MINUTE))


@lru_cache(maxsize=1024)
def _fired_between(cron: str, zone: str, after: int, now: int) -> bool:
    """Follow the clock on the wall through the minutes of real time, from one change of it to the next.

    What it reaches fires, and what it jumps over does so as it lands. Set back, it shows what it has reached before,
    and that fires again only for an expression of every hour.
    """
    where = ZoneInfo(zone)
    every_hour = cron.split()[1].startswith("*")
    # From a day before, as the clock may have been set back shortly before the time that is asked about.
    begin = after - _DAY
    starts = sorted({begin, after + 1, *_changes(where, begin, now)})
    reached = _reading(where, begin) - _TICK
    for start, following in zip(starts, [*starts[1:], now + 1], strict=True):
        shown = reached
        if every_hour:
            shown = min(reached, _reading(where, start) - _TICK)
        end = _reading(where, following - 1)
        if start > after and _names(cron, shown, end):
            return True
        reached = max(reached, end)
    return False


def _names(cron: str, shown: datetime, end: datetime) -> bool:
    """Tell whether a cron expression names a minute that the wall shows after ``shown`` and up to ``end``."""
    if end <= shown:
        return False
    named: datetime | None = next(CronSim(cron, shown), None)
    return named is not None and named <= end


def _changes(where: ZoneInfo, begin: int, end: int) -> list[int]:
    """Find the minutes at which the clocks of a zone are changed, looking day by day: no zone does it twice in one."""
    changes: list[int] = []
    for day in range(begin, end, _DAY):
        before, after = day, min(day + _DAY, end)
        if _ahead(where, before) == _ahead(where, after):
            continue
        while after - before > 1:
            middle = (before + after) // 2
            if _ahead(where, middle) == _ahead(where, day):
                before = middle
            else:
                after = middle
        changes.append(after)
    return changes


def _ahead(where: ZoneInfo, minute: int) -> timedelta | None:
    return datetime.fromtimestamp(minute * _MINUTE, where).utcoffset()


def _reading(where: ZoneInfo, minute: int) -> datetime:
    return datetime.fromtimestamp(minute * _MINUTE, where).replace(tzinfo=None)


def _row_breaches(traffic: TrafficPolicy, row: Row, lawful: frozenset[str], down: frozenset[str]) -> list[str]:
    breaches = [] if row.data_class is traffic.spec.data_class else [f"data class {row.data_class}"]
    if row.rung is Rung.REFUSED:
        # Whoever might have served: to refuse what could not be served soundly breaks no rule.
        if row.weights or row.legs or not row.refusal:
            breaches.append("refused, and yet with weights or legs, or without a code")
        return breaches
    if set(row.weights) != lawful:
        breaches.append(f"weights name {sorted(row.weights)}, lawful are {sorted(lawful)}")
    if bool(row.weights) == bool(row.refusal):
        breaches.append("weights and a refusal" if row.weights else "neither weights nor a refusal")
    breaches.extend(_weight_breaches(row))
    breaches.extend(_leg_breaches(row, lawful))
    serving = {name for name, weight in row.weights.items() if weight > 0}
    if not down.issuperset(row.weights):
        breaches.extend(f"{name} is down and has weight" for name in sorted(serving & down))
    return breaches


def _weight_breaches(row: Row) -> list[str]:
    if any(type(weight) is not int or weight < 0 for weight in row.weights.values()):
        return [f"weights are not whole and positive: {dict(row.weights)}"]
    if row.weights and sum(row.weights.values()) != TOTAL_WEIGHT:
        return [f"weights sum to {sum(row.weights.values())}"]
    return []


_named = lru_cache(maxsize=4096)(frozenset[str])
"""Clusters of a leg. The same few lists come by in every row of every decision."""


def _leg_breaches(row: Row, lawful: frozenset[str]) -> list[str]:
    breaches: list[str] = []
    if set(row.legs) != set(row.weights):
        breaches.append("legs and weights name different clusters")
    for chosen, leg in sorted(row.legs.items()):
        named = _named(leg)
        if not leg or leg[0] != chosen:
            breaches.append(f"leg {chosen} does not begin with itself")
        if len(named) != len(leg):
            breaches.append(f"leg {chosen} names a cluster twice")
        if not named <= lawful:
            breaches.append(f"leg {chosen} reaches {sorted(named - lawful)}")
    return breaches
