"""Schedules where the clocks change: planning and the last check agree with a third reading of the rule, by the minute.

The rule: a minute of the wall's clock fires when it first comes, or at the change that skips it; when it comes again it
fires again only where the hour field begins with ``*``.
"""

import calendar
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from penstock_policies.decision import Decision
from penstock_policies.engine.schedule import in_force, next_change
from penstock_policies.engine.verify import VerifyError, verify
from penstock_policies.schema import TrafficPolicy
from penstock_policies.steering import Schedule
from tests.engine.engine_strategies import examples
from tests.engine.engine_world import World, fleet, row, traffic

DAY = 24 * 60
TICK = timedelta(minutes=1)
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    "America/Santiago",
    "America/Asuncion",
    "Atlantic/Azores",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Chatham",
)


@dataclass(frozen=True)
class Field:
    """A field of cron, and which of its numbers it names."""

    text: str
    names: frozenset[int]


@dataclass(frozen=True)
class Hours:
    """A policy of one schedule, and which readings of the clock on the wall its cron expression names."""

    policy: TrafficPolicy
    named: Callable[[datetime], bool]

    @property
    def schedule(self) -> Schedule:
        return self.policy.spec.schedules[0]


def fields(*some: tuple[str, Iterator[int] | range | set[int]]) -> st.SearchStrategy[Field]:
    return st.sampled_from([Field(text, frozenset(names)) for text, names in some])


MINUTES = fields(
    ("*", range(60)),
    ("*/15", range(0, 60, 15)),
    ("0", {0}),
    ("5", {5}),
    ("30", {30}),
    ("59", {59}),
    ("0,30", {0, 30}),
    ("1-10", range(1, 11)),
    ("10-50/20", {10, 30, 50}),
)
HOURS = fields(
    ("*", range(24)),
    ("*/2", range(0, 24, 2)),
    ("0", {0}),
    ("1", {1}),
    ("2", {2}),
    ("3", {3}),
    ("22", {22}),
    ("23", {23}),
    ("1-3", {1, 2, 3}),
    ("0,23", {0, 23}),
    ("0-23", range(24)),
)
DAYS = fields(("*", range(1, 32)), ("1", {1}), ("29", {29}), ("25-31", range(25, 32)), ("*/3", range(1, 32, 3)))
WEEKDAYS = fields(("*", range(7)), ("SUN", {0}), ("7", {0}), ("MON-FRI", range(1, 6)), ("5,6", {5, 6}))
DURATIONS = st.sampled_from(["60s", "61s", "90.1s", "5m", "600.7s", "30m", "1h", "90m", "4h", "8h", "1d", "2d", "7d"])


@st.composite
def hours(draw: st.DrawFn) -> Hours:
    minute, hour, day, weekday = draw(MINUTES), draw(HOURS), draw(DAYS), draw(WEEKDAYS)
    either = not day.text.startswith("*") and not weekday.text.startswith("*")

    def named(wall: datetime) -> bool:
        by_date = wall.day in day.names, (wall.weekday() + 1) % 7 in weekday.names
        return wall.minute in minute.names and wall.hour in hour.names and (any if either else all)(by_date)

    told = {
        "name": "hours",
        "cron": f"{minute.text} {hour.text} {day.text} * {weekday.text}",
        "duration": draw(DURATIONS),
        "timeZone": draw(st.sampled_from(ZONES)),
        "only": {"sites": ["on_prem"]},
    }
    return Hours(traffic(more={"schedules": [told]}), named)


@cache
def changes(zone: str) -> tuple[int, ...]:
    """The minutes at which a zone changes its clocks, in a few years to come, and some minute where it never does."""
    first, last = (calendar.timegm((year, 1, 1, 0, 0, 0)) // 60 for year in (2024, 2031))
    found: list[int] = []
    for day in range(first, last, DAY):
        if offset(zone, day) != offset(zone, day + DAY):
            found.extend(at for at in range(day + 1, day + DAY + 1) if offset(zone, at) != offset(zone, at - 1))
    return tuple(found) or (first,)


def offset(zone: str, minute: int) -> timedelta | None:
    return datetime.fromtimestamp(minute * 60, UTC).astimezone(ZoneInfo(zone)).utcoffset()


def wall(zone: str, minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def firings(hours: Hours, begin: int, end: int) -> Iterator[int]:
    """Watch the clock on the wall, minute by minute."""
    zone, named = hours.schedule.time_zone, hours.named
    reached = wall(zone, begin - DAY)
    again = hours.schedule.cron.split()[1].startswith("*")
    for minute in range(begin - DAY + 1, end + 1):
        shown = wall(zone, minute)
        fires = again and shown <= reached and named(shown)
        while reached < shown:
            reached += TICK
            fires = fires or named(reached)
        if fires and minute >= begin:
            yield minute


@cache
def unhurried() -> Decision:
    """A decision that uses every cluster at every hour: unlawful exactly while a schedule with ``only`` is in force."""
    return World(fleet(policies=(traffic(),)), rates={row(): 100.0}).tick()


def found_by_the_last_check(hours: Hours, now: float) -> bool:
    try:
        verify(fleet(policies=(hours.policy,)), replace(unhurried(), at=now))
    except VerifyError:
        return True
    return False


@st.composite
def moments(draw: st.DrawFn, schedule: Schedule) -> float:
    """Around a change, or as long after it as the schedule lasts."""
    minute = draw(st.sampled_from(changes(schedule.time_zone))) + draw(st.integers(-8 * 60, 8 * 60))
    later = draw(st.sampled_from([0.0, 0.0, DAY * 60, schedule.duration]))
    return minute * 60 + later + draw(st.sampled_from([0.0, 0.0, 0.5, 1.0, 59.9]))


@examples(400)
@given(hours(), st.data())
def test_a_schedule_is_in_force_from_what_the_wall_shows_first_and_the_last_check_agrees(
    drawn: Hours, data: st.DataObject
) -> None:
    duration = drawn.schedule.duration
    now = data.draw(moments(drawn.schedule))
    fired = firings(drawn, int((now - duration) // 60), int(now // 60))
    wanted = any(minute * 60 <= now < minute * 60 + duration for minute in fired)
    assert in_force(drawn.schedule, now) is wanted
    assert found_by_the_last_check(drawn, now) is wanted


@examples(200)
@given(hours(), st.data())
def test_nothing_begins_or_ends_before_the_next_change_that_is_told(drawn: Hours, data: st.DataObject) -> None:
    now = data.draw(moments(drawn.schedule))
    change = next_change(drawn.schedule, now)
    before = in_force(drawn.schedule, now)
    if change is not None:
        assert change > now
        assert in_force(drawn.schedule, change) is not before
    tomorrow = now + 86_400
    watched = firings(drawn, int(now // 60) + 1, int(min(change or tomorrow, tomorrow) // 60))
    assert before or all(minute * 60 == change for minute in watched)
