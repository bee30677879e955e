"""How every budget stands: what is spent, where it is heading, and what it allows from here on.

A budget counts a calendar day or month of its time zone. As soon as the forecast comes near its amount it allows only
the rate that would last to the period's end. That limit eases in from what is being spent, so that traffic leaves the
dear clusters gradually, and it corrects itself: whatever was spent too much lowers what is left. A limit that is kept
holds the forecast at the amount, so it does not switch itself off and on, and never reaches the amount (see
:func:`_paced`).

Weights keep a limit late, since they follow it in steps (``maxStep`` every ``minDwell``). What these cost comes out of
a reserve, the last hundredth of the amount: once only that is left nothing is allowed, and what still is there leaves
in steps before 100 % would shut the door. Beyond the amount goes only what nobody else can serve, and what the steps
cost above the reserve: half of what was being spent, for as long as the steps take.

The spending itself is metered outside (it must survive restarts) and comes as an observation. While it is missing, old
or absurd, the burn known here is counted on, for silence is not thrift. What is spent never falls within a period, so
that an exhausted budget stays so unless its amount is raised. Owns what of the spending is believed.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from penstock_policies.decision import TOTAL_WEIGHT, BudgetView, Decision, Note, Stage
from penstock_policies.engine.sanitise import plausible_time, refusal
from penstock_policies.observations import Observations, Spend
from penstock_policies.policyset import PolicySet, RowKey
from penstock_policies.schema import Budget, BudgetSpec
from penstock_policies.words import DataClass

_HOUR = 3600.0
_NEAR = 0.9
"""Of the amount: a forecast from here on is limited. A limit that falls away at nine tenths of itself was not binding,
so that nothing swings."""
_BURN = {"day": 900.0, "month": 4 * _HOUR}
"""Time constant in seconds of the burn rate: long against a burst, short against the period."""
_SOON = _HOUR
"""Seconds: money that lasts less than that at the present rate, and less than the period, is limited whatever the
smoothed forecast says, which learns of a surge too late."""
_EASE_PART = 0.05
"""Of what is left of the period: the time constant in which a limit eases in."""
_EASE = (60.0, 1800.0)
"""Seconds between which it stays: a limit should show within the hour, and never jump."""
_EASE_LASTS = 0.25
"""Of the time that what is left would last at the present rate: easing is no slower, so that the money outlasts it."""
_RESERVE = 0.01
"""Of the amount: kept for the steps in which the last traffic leaves."""
_GREATEST_SPEND = 1e12
"""USD: beyond any budget there is."""
_SAME_START = 1.0
"""Seconds by which the starts of one period may differ: rounding."""
_STALE = 60.0
"""Seconds after which a figure is said to be old: it is metered with every decision."""
_LOST = 1e-3
"""Of the amount: a figure that is less lower than what is known may be right, for a crash loses the meter some seconds.
What is known is kept all the same."""

RowCost = Callable[[RowKey, str], float]
"""USD of a request of a row at a cluster."""


@dataclass(frozen=True, slots=True)
class Budgets:
    """How every budget stands, and the memory to go on from."""

    views: Mapping[str, BudgetView]
    burn: Mapping[str, float]
    """Budget to smoothed USD a second."""
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """What is spent of a budget in the running period."""

    start: float
    end: float
    spent: float
    exhausted: bool


def period(spec: BudgetSpec, now: float) -> tuple[float, float]:
    """Give when the calendar day or month that ``now`` is in began and ends, Unix seconds."""
    return _calendar(spec.time_zone, spec.per, datetime.fromtimestamp(now, ZoneInfo(spec.time_zone)).date())


@lru_cache(maxsize=256)
def _calendar(zone: str, per: str, today: date) -> tuple[float, float]:
    if per == "day":
        return _midnight(zone, today), _midnight(zone, today + timedelta(days=1))
    first = today.replace(day=1)
    # No month has 32 days, so that day 1 plus 31 days is always in the next one.
    return _midnight(zone, first), _midnight(zone, (first + timedelta(days=31)).replace(day=1))


def _midnight(zone: str, day: date) -> float:
    return datetime.combine(day, time(), ZoneInfo(zone)).timestamp()


def in_scope(policy_set: PolicySet, budget: Budget, policy: str, cluster: str) -> bool:
    """Tell whether a budget counts what a policy's traffic costs at a cluster."""
    scope = budget.spec.scope
    return (
        scope.policy in {None, policy}
        and scope.cluster in {None, cluster}
        and scope.site in {None, policy_set.clusters[cluster].spec.site}
    )


def standings(
    policy: PolicySet, observations: Observations, previous: Decision | None, now: float
) -> tuple[dict[str, Standing], tuple[Note, ...]]:
    """Tell what is spent of every budget: as observed, as last known of the same period and counted on, or nothing."""
    notes: list[Note] = []
    stand: dict[str, Standing] = {}
    for name, budget in sorted(policy.budgets.items()):
        start, end = period(budget.spec, now)
        spent, told = _spent(name, budget.spec, observations.spend.get(name), _known(name, previous, start, now), now)
        notes.extend(told)
        stand[name] = Standing(start, end, spent, exhausted=spent >= budget.spec.amount)
        if stand[name].exhausted:
            facts = _facts(budget=name, spent=spent, amount=budget.spec.amount)
            notes.append(Note(Stage.SANITISE, "budget exhausted", facts))
    notes.extend(
        refusal("spend", "unknown budget", budget=name)
        for name in sorted(observations.spend)
        if name not in policy.budgets
    )
    return stand, tuple(notes)


@dataclass(frozen=True, slots=True)
class _Known:
    """What the last decision knew of a budget's running period."""

    start: float
    spent: float
    burn: float
    """USD a second."""
    since: float
    """Seconds of the period that have passed since."""


def _known(name: str, previous: Decision | None, start: float, now: float) -> _Known:
    if previous is None:
        return _Known(start, 0.0, 0.0, 0.0)
    view = previous.budgets.get(name)
    spent = view.spent if view is not None and abs(view.period_start - start) < _SAME_START else 0.0
    since = max(0.0, now - max(previous.at, start))
    return _Known(start, spent, previous.memory.burn.get(name, 0.0), since)


def _spent(
    name: str, spec: BudgetSpec, seen: Spend | None, known: _Known, now: float
) -> tuple[float, tuple[Note, ...]]:
    """Believe a figure unless it cannot be true, count on from an old one, and never go back."""
    counted_on = known.spent + known.burn * known.since
    if seen is None:
        return counted_on, ()
    why = _fault(seen, known.start, now)
    if why:
        return counted_on, (refusal("spend", why, budget=name),)
    age = max(0.0, now - max(seen.at, known.start))
    usd = seen.usd + known.burn * age
    if usd < known.spent - known.burn * _STALE - _LOST * spec.amount:
        return counted_on, (refusal("spend", "fell within its period", budget=name, usd=seen.usd, spent=known.spent),)
    if age <= _STALE:
        return max(usd, known.spent), ()
    spent = max(usd, counted_on)
    return spent, (Note(Stage.SANITISE, "spend is old, counted on", _facts(budget=name, age=age, spent=spent)),)


def _facts(**facts: str | float) -> dict[str, str | float]:
    return facts


def _fault(seen: Spend, start: float, now: float) -> str:
    if not plausible_time(seen.at, now):
        return "time not plausible"
    if not math.isfinite(seen.usd) or not math.isfinite(seen.period_start):
        return "not a finite number"
    if abs(seen.period_start - start) >= _SAME_START:
        return "of another period"
    if seen.usd < 0:
        return "negative"
    return "larger than any budget" if seen.usd > _GREATEST_SPEND else ""


def rejecting(policy: PolicySet, stand: Mapping[str, Standing], key: RowKey, cluster: str) -> str | None:
    """Name the exhausted budget that lets a row send nothing to a cluster; None when no budget forbids it."""
    if policy.policies[key.policy].spec.data_class is DataClass.RESTRICTED:
        return None
    for name, standing in sorted(stand.items()):
        budget = policy.budgets[name]
        if (
            standing.exhausted
            and budget.spec.on_exhausted == "reject"
            and in_scope(policy, budget, key.policy, cluster)
        ):
            return name
    return None


def unaffordable(policy: PolicySet, views: Mapping[str, BudgetView], traffic: str) -> frozenset[str]:
    """Name the clusters for which a policy has no money left but the reserve, so that no wish of it counts there."""
    if policy.policies[traffic].spec.data_class is DataClass.RESTRICTED:
        return frozenset()
    return frozenset(
        cluster
        for name, view in views.items()
        if view.limit == 0
        for cluster in policy.policies[traffic].spec.clusters
        if in_scope(policy, policy.budgets[name], traffic, cluster)
    )


def judge_budgets(
    policy: PolicySet,
    stand: Mapping[str, Standing],
    rates: Mapping[RowKey, float],
    cost: RowCost,
    *,
    previous: Decision | None,
    now: float,
) -> Budgets:
    """Forecast every budget from what the weights in force cost, and pace what is heading beyond its amount.

    Args:
        policy: the rules.
        stand: what is spent.
        rates: requests a second by row.
        cost: USD of a request.
        previous: the decision whose weights are in force.
        now: Unix seconds.

    """
    views: dict[str, BudgetView] = {}
    burn: dict[str, float] = {}
    notes: list[Note] = []
    memory = previous.memory.burn if previous is not None else {}
    elapsed = max(0.0, now - previous.at) if previous is not None else math.inf
    for name, budget in sorted(policy.budgets.items()):
        spending = _burning(policy, budget, rates, cost, previous)
        held = memory.get(name, 0.0)
        # From nothing at once: the first figure after a start is better than an average with no figure.
        gain = -math.expm1(-elapsed / _BURN[budget.spec.per]) if held > 0 else 1.0
        burn[name] = held + gain * (spending - held)
        known = previous.budgets.get(name) if previous is not None else None
        judged = _Spending(burn[name] * _HOUR, spending * _HOUR)
        views[name] = _view(budget.spec, stand[name], judged, known, elapsed=elapsed, now=now)
        limit = views[name].limit
        if limit is not None:
            facts = _facts(budget=name, forecast=views[name].forecast, limit=limit)
            notes.append(Note(Stage.SOLVE, "budget paced", facts))
    return Budgets(views, burn, tuple(notes))


def _burning(
    policy: PolicySet, budget: Budget, rates: Mapping[RowKey, float], cost: RowCost, previous: Decision | None
) -> float:
    """Give the USD a second that demand costs under the weights in force."""
    total = 0.0
    for key, row in sorted(previous.rows.items()) if previous is not None else ():
        rate = rates.get(key, 0.0)
        if rate <= 0 or budget.spec.scope.policy not in {None, key.policy}:
            continue
        for name, weight in sorted(row.weights.items()):
            if weight > 0 and name in policy.clusters and in_scope(policy, budget, key.policy, name):
                total += rate * weight / TOTAL_WEIGHT * cost(key, name)
    return total


@dataclass(frozen=True, slots=True)
class _Spending:
    """USD an hour."""

    smoothed: float
    current: float


def _view(
    spec: BudgetSpec, standing: Standing, burn: _Spending, known: BudgetView | None, *, elapsed: float, now: float
) -> BudgetView:
    rest = max(1.0, standing.end - now) / _HOUR
    left = max(0.0, spec.amount * (1 - _RESERVE) - standing.spent)
    forecast = standing.spent + burn.smoothed * rest
    limit: float | None = None
    if forecast > _NEAR * spec.amount or burn.current * min(rest, _SOON / _HOUR) > left:
        same = known is not None and abs(known.period_start - standing.start) < _SAME_START
        before = known.limit if known is not None and same and known.limit is not None else burn.current
        limit = _paced(left, rest, before, burn.current, elapsed=elapsed)
    return BudgetView(
        amount=spec.amount,
        spent=standing.spent,
        period_start=standing.start,
        period_end=standing.end,
        burn=burn.smoothed,
        forecast=forecast,
        limit=limit,
        exhausted=standing.exhausted,
    )


def _paced(left: float, rest: float, before: float, current: float, *, elapsed: float) -> float:
    """Give the rate (USD an hour) allowed from here on: the one that lasts, eased in from the one so far.

    The easing is shorter than the money, so a limit that is kept leaves some of it whatever the tick is. Of what is
    left a tick of ``h`` takes ``h/rest`` at the rate that lasts, and on top ``x exp(-h/easing)`` where ``x`` is the
    part it would have taken at the old rate. As ``easing`` is at most a quarter of the time that lasts, that is no more
    than ``x exp(-4 x)``, which is below a tenth for any ``x``.
    """
    even = left / rest
    if before <= even or left <= 0:
        return even
    least, most = _EASE
    lasts = left / max(before, current) * _HOUR
    easing = min(most, max(least, _EASE_PART * rest * _HOUR), _EASE_LASTS * lasts)
    return even + (before - even) * math.exp(-elapsed / easing)
