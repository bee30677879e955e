"""Which schedules are in force: from each firing of their cron expression for their duration.

Cron names minutes of the clock on the wall of the schedule's time zone, and each of them fires when the clock first
shows it. Where the clocks are changed:

- a minute that is skipped fires at the change, so that no night is lost;
- a minute that comes twice fires at its first coming alone, so that ``30 2 * * *`` is once a day all year; unless the
  hour field begins with ``*``, since every hour (or every second one) means hours that pass: then it fires both times.

Durations are time that really passes. :mod:`penstock_policies.engine.verify` says the same in its own way.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim

from penstock_policies.schema import Cluster, TrafficPolicySpec
from penstock_policies.steering import Objective, Schedule, Selection, ShareRule, Tier

_MINUTE = 60.0
"""Seconds: cron knows nothing finer."""
_PROLONGED = 100
"""Firings after which a schedule that prolongs itself counts as always in force: each costs a look at the calendar."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a policy wants at a moment, its schedules applied."""

    objective: Objective
    prefer: tuple[Tier, ...]
    shares: tuple[ShareRule, ...]
    only: Selection | None = None
    only_by: str = ""
    """The schedule that ``only`` comes from."""
    in_force: tuple[str, ...] = ()
    """Names of the schedules in force."""
    changes_at: float | None = None
    """When a schedule next begins or ends; None where there is none."""


def wishes(spec: TrafficPolicySpec, now: float) -> Wishes:
    """Apply the schedules in force: of several the first in order decides what it sets."""
    if not spec.schedules:
        return Wishes(spec.objective, spec.prefer, spec.shares)
    current = tuple(one for one in spec.schedules if in_force(one, now))
    only = next((one for one in current if one.only is not None), None)
    changes = [at for one in spec.schedules if (at := next_change(one, now)) is not None]
    return Wishes(
        objective=next((one.objective for one in current if one.objective is not None), spec.objective),
        prefer=next((one.prefer for one in current if one.prefer is not None), spec.prefer),
        shares=next((one.shares for one in current if one.shares is not None), spec.shares),
        only=only.only if only is not None else None,
        only_by=only.name if only is not None else "",
        in_force=tuple(one.name for one in current),
        changes_at=min(changes, default=None),
    )


def in_force(schedule: Schedule, now: float) -> bool:
    """Tell whether the schedule's last firing is within its duration."""
    last = last_firing(schedule, now)
    return last is not None and now < last + schedule.duration


def last_firing(schedule: Schedule, now: float) -> float | None:
    """Give when the schedule last fired, at ``now`` included; None when it never did."""
    return _last(schedule.cron, schedule.time_zone, int(now // _MINUTE))


def next_change(schedule: Schedule, now: float) -> float | None:
    """Give when the schedule next begins or ends; None when it never does."""
    last = last_firing(schedule, now)
    ends = last + schedule.duration if last is not None and now < last + schedule.duration else None
    begins = _next(schedule.cron, schedule.time_zone, int(now // _MINUTE))
    if ends is None:
        return begins
    # A firing before the end prolongs it: then it ends where no further firing comes in time.
    for _ in range(_PROLONGED):
        if begins is None or begins > ends:
            return ends
        ends = begins + schedule.duration
        begins = _next(schedule.cron, schedule.time_zone, int(begins // _MINUTE))
    return None


@lru_cache(maxsize=1024)
def _last(cron: str, zone: str, minute: int) -> float | None:
    local = _local(minute, zone)
    # One second on, since the search begins strictly before the moment it is given.
    begin = _on_the_wall(local) + _repeated(local) + timedelta(seconds=1)
    firings = (
        next((at for at in _firings(cron, local, begin, coming, reverse=True) if at <= local.timestamp()), None)
        for coming in _comings(cron)
    )
    return max((at for at in firings if at is not None), default=None)


@lru_cache(maxsize=1024)
def _next(cron: str, zone: str, minute: int) -> float | None:
    local = _local(minute, zone)
    begin = _on_the_wall(local) - _repeated(local)
    firings = (
        next((at for at in _firings(cron, local, begin, coming, reverse=False) if at > local.timestamp()), None)
        for coming in _comings(cron)
    )
    return min((at for at in firings if at is not None), default=None)


def _local(minute: int, zone: str) -> datetime:
    return datetime.fromtimestamp(minute * _MINUTE, UTC).astimezone(ZoneInfo(zone))


def _on_the_wall(local: datetime) -> datetime:
    # Without a zone, as the search for what cron names must know nothing of changes: it would skip or double some.
    return local.replace(tzinfo=None)


def _comings(cron: str) -> tuple[int, ...]:
    """Tell at which of its comings a minute that comes twice fires: 0 is the first, as ``fold`` of datetime."""
    return (0, 1) if cron.split()[1].startswith("*") else (0,)


def _firings(cron: str, local: datetime, begin: datetime, coming: int, *, reverse: bool) -> Iterator[float]:
    """Give the moments at which the minutes that cron names come, in the order of the minutes.

    Looked at one coming at a time, later minutes never come earlier, which is what lets a search stop at the first fit.
    """
    for named in CronSim(cron, begin, reverse=reverse):
        at: datetime = named.replace(tzinfo=local.tzinfo, fold=coming)
        while _shift(at) > timedelta(0):
            at += timedelta(minutes=1)
        yield at.timestamp()


def _repeated(local: datetime) -> timedelta:
    """Give how long a stretch comes twice around a moment: minutes up to so far ahead may have come already."""
    return max(timedelta(0), -_shift(local))


def _shift(local: datetime) -> timedelta:
    """Give by how much the clocks are changed at a minute: forward where they skip it, back where it comes twice."""
    first, second = local.replace(fold=0).utcoffset(), local.replace(fold=1).utcoffset()
    return second - first if first is not None and second is not None else timedelta(0)


def selects(selection: Selection, cluster: Cluster) -> bool:
    """Tell whether a cluster fits every field of a selection."""
    return (
        (selection.clusters is None or cluster.name in selection.clusters)
        and (selection.sites is None or cluster.spec.site in selection.sites)
        and (selection.regions is None or cluster.spec.region in selection.regions)
    )


def tier_of(tiers: Sequence[Tier], cluster: Cluster) -> int:
    """Give the first tier a cluster is in, or the one after all where it is in none."""
    for index, tier in enumerate(tiers):
        if cluster.name in (tier.clusters or ()) or cluster.spec.site in (tier.sites or ()):
            return index
    return len(tiers)
