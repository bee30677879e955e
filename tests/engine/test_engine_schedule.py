"""When schedules are in force, and what they set."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from penstock_policies.decision import Rung
from penstock_policies.engine.schedule import in_force, next_change, selects, tier_of, wishes
from penstock_policies.schema import TrafficPolicySpec
from penstock_policies.steering import Schedule, Selection, Tier
from penstock_policies.words import Measure, Site
from tests.engine.engine_world import EU, ONPREM, US, World, cluster, fleet, onprem, records, row, traffic

BERLIN = ZoneInfo("Europe/Berlin")
NIGHTS: dict[str, Any] = {
    "name": "nights",
    "cron": "0 22 * * *",
    "duration": "8h",
    "timeZone": "Europe/Berlin",
    "only": {"sites": ["on_prem"]},
}


def berlin(year: int, month: int, day: int, hour: int = 0, minute: int = 0, *, fold: int = 0) -> float:
    return datetime(year, month, day, hour, minute, tzinfo=BERLIN, fold=fold).timestamp()


def schedule(**changes: Any) -> Schedule:
    return Schedule.model_validate({**NIGHTS, **changes})


@pytest.mark.parametrize("when", [(10, 22, 0), (10, 23, 30), (11, 5, 59)])
def test_a_night_is_in_force_from_its_firing_on(when: tuple[int, int, int]) -> None:
    assert in_force(schedule(), berlin(2026, 6, *when))


@pytest.mark.parametrize("when", [(10, 21, 59), (11, 6, 0), (11, 12, 0)])
def test_a_night_is_over_after_its_duration(when: tuple[int, int, int]) -> None:
    assert not in_force(schedule(), berlin(2026, 6, *when))


def test_a_schedule_follows_the_wall_clock_through_the_year() -> None:
    assert in_force(schedule(), berlin(2026, 1, 10, 22))
    assert in_force(schedule(), berlin(2026, 7, 10, 22))
    assert not in_force(schedule(timeZone="UTC"), berlin(2026, 7, 10, 22)), "20:00 UTC in summer"


def test_its_duration_is_time_that_really_passes_when_the_clocks_change() -> None:
    # The night before 29 March 2026 lacks an hour: eight hours from 22:00 end at 07:00.
    assert in_force(schedule(), berlin(2026, 3, 29, 6, 59))
    assert not in_force(schedule(), berlin(2026, 3, 29, 7, 0))
    # The night before 25 October 2026 has one more: they end at 05:00.
    assert in_force(schedule(), berlin(2026, 10, 25, 4, 59))
    assert not in_force(schedule(), berlin(2026, 10, 25, 5, 0))


def test_a_firing_in_the_skipped_hour_is_not_lost() -> None:
    early = schedule(cron="30 2 * * *", duration="10m")
    assert in_force(early, berlin(2026, 3, 29, 3, 5))


def test_a_firing_in_the_hour_that_comes_twice_happens_once() -> None:
    early = schedule(cron="30 2 * * *", duration="10m")
    assert in_force(early, berlin(2026, 10, 25, 2, 35))
    assert not in_force(early, berlin(2026, 10, 25, 2, 35, fold=1))


Span = tuple[str, str]


def spans(one: Schedule, date: str) -> list[Span]:
    """From when to when a schedule is in force, as its wall and its distance from UTC tell, begun at noon before."""
    zone = ZoneInfo(one.time_zone)
    noon = datetime.fromisoformat(date).replace(hour=12, tzinfo=zone).timestamp() - 86_400
    told: list[Span] = []
    begun = ""
    for minute in range(48 * 60):
        now = noon + 60 * minute
        if in_force(one, now) is not bool(begun):
            at = f"{datetime.fromtimestamp(now, zone):%a %H:%M %z}"
            if begun:
                told.append((begun, at))
            begun = "" if begun else at
    return told


@pytest.mark.parametrize(
    ("zone", "date", "cron", "duration", "wanted"),
    [
        # A minute that is skipped fires at the change.
        ("Europe/Berlin", "2026-03-29", "30 2 * * SUN", "4h", [("Sun 03:00 +0200", "Sun 07:00 +0200")]),
        ("Atlantic/Azores", "2026-03-29", "30 0 29 * *", "8h", [("Sun 01:00 +0000", "Sun 09:00 +0000")]),
        ("America/Santiago", "2026-09-06", "0 0 * * SUN", "6h", [("Sun 01:00 -0300", "Sun 07:00 -0300")]),
        ("Australia/Lord_Howe", "2026-10-04", "15 2 * * SUN", "1h", [("Sun 02:30 +1100", "Sun 03:30 +1100")]),
        # A minute that comes twice fires at its first coming.
        ("Europe/Berlin", "2026-10-25", "30 2 * * SUN", "4h", [("Sun 02:30 +0200", "Sun 05:30 +0100")]),
        ("America/New_York", "2026-11-01", "30 1 1 * *", "6h", [("Sun 01:30 -0400", "Sun 06:30 -0500")]),
        ("Atlantic/Azores", "2026-10-25", "15 0 * * SUN", "10m", [("Sun 00:15 +0000", "Sun 00:25 +0000")]),
        ("America/Santiago", "2026-04-05", "30 23 4 * *", "10m", [("Sat 23:30 -0300", "Sat 23:40 -0300")]),
        ("Australia/Lord_Howe", "2026-04-05", "45 1 * * SUN", "10m", [("Sun 01:45 +1100", "Sun 01:55 +1100")]),
        (
            "Europe/Berlin",
            "2026-10-25",
            "*/30 2 * * SUN",
            "5m",
            [
                ("Sun 02:00 +0200", "Sun 02:05 +0200"),
                ("Sun 02:30 +0200", "Sun 02:35 +0200"),
            ],
        ),
        # What is said of every hour is of those that pass.
        ("Europe/Berlin", "2026-10-25", "0 * * * *", "1h", []),
        ("Europe/Berlin", "2026-03-29", "0 */2 * * *", "2h", []),
        ("Australia/Lord_Howe", "2026-10-04", "0 * * * *", "1h", []),
        (
            "Europe/Berlin",
            "2026-10-25",
            "30 */2 25 10 *",
            "5m",
            [
                ("Sun 00:30 +0200", "Sun 00:35 +0200"),
                ("Sun 02:30 +0200", "Sun 02:35 +0200"),
                ("Sun 02:30 +0100", "Sun 02:35 +0100"),
                *((f"Sun {hour:02}:30 +0100", f"Sun {hour:02}:35 +0100") for hour in range(4, 24, 2)),
            ],
        ),
    ],
)
def test_what_a_firing_means_where_the_clocks_change(
    zone: str, date: str, cron: str, duration: str, wanted: list[Span]
) -> None:
    assert spans(schedule(cron=cron, duration=duration, timeZone=zone), date) == wanted


@pytest.mark.parametrize(
    ("date", "begins", "ends"),
    [("2026-03-29", "03:00+02:00", "07:00+02:00"), ("2026-10-25", "02:30+02:00", "05:30+01:00")],
)
def test_no_request_is_refused_in_the_night_of_a_change_and_the_last_check_is_content(
    date: str, begins: str, ends: str
) -> None:
    early = {**NIGHTS, "cron": "30 2 * * *", "duration": "4h"}
    world = World(fleet(policies=(traffic(more={"schedules": [early]}),)), rates={row(): 100.0})
    begin, end = (datetime.fromisoformat(f"{date}T{at}").timestamp() for at in (begins, ends))
    world.now = begin - 3600
    while world.now < end + 3600:
        decision = world.tick(600)
        assert decision.rung is Rung.OPTIMUM
        assert set(world.weights()) == ({ONPREM} if begin <= world.now < end else {ONPREM, EU, US})


def test_the_next_change_is_told() -> None:
    assert next_change(schedule(), berlin(2026, 6, 10, 12)) == berlin(2026, 6, 10, 22)
    assert next_change(schedule(), berlin(2026, 6, 10, 23)) == berlin(2026, 6, 11, 6)


def test_a_schedule_that_prolongs_itself_ends_where_no_firing_comes_in_time() -> None:
    office = schedule(cron="0 9-16 * * *", duration="1h")
    assert next_change(office, berlin(2026, 6, 10, 10, 30)) == berlin(2026, 6, 10, 17)
    always = schedule(cron="0 * * * *", duration="1h")
    assert next_change(always, berlin(2026, 6, 10, 10, 30)) is None


def test_of_several_schedules_at_once_the_first_decides_what_it_sets() -> None:
    spec = TrafficPolicySpec.model_validate(
        {
            "dataClass": "public",
            "clusters": [ONPREM, EU],
            "schedules": [
                NIGHTS,
                {"name": "green", "cron": "0 20 * * *", "duration": "12h", "objective": {"minimize": "carbon"}}
                | {"timeZone": "Europe/Berlin", "only": {"sites": ["cloud"]}},
            ],
        }
    )
    both = wishes(spec, berlin(2026, 6, 10, 23))
    assert both.in_force == ("nights", "green")
    assert both.only == Selection(sites=(Site.ON_PREM,))
    assert both.only_by == "nights"
    assert both.objective.minimize is Measure.CARBON
    assert both.changes_at == berlin(2026, 6, 11, 6)
    none = wishes(spec, berlin(2026, 6, 10, 12))
    assert none.in_force == ()
    assert none.objective.minimize is Measure.COST


def test_a_selection_wants_every_field_and_a_tier_its_one() -> None:
    assert selects(Selection(sites=(Site.CLOUD,), regions=("eu-west",)), cluster(EU))
    assert not selects(Selection(sites=(Site.CLOUD,), regions=("us-east",)), cluster(EU))
    tiers = (Tier(clusters=(US,)), Tier(sites=(Site.ON_PREM,)))
    assert [tier_of(tiers, one) for one in (cluster(US), onprem(), cluster(EU))] == [0, 1, 2]


def test_at_night_only_the_clusters_of_the_schedule_serve_and_the_others_say_why() -> None:
    policy = fleet(policies=(traffic(more={"schedules": [NIGHTS]}), records()))
    world = World(policy, now=berlin(2026, 6, 10, 21, 0), rates={row(): 280.0})
    world.run(30)
    assert world.weights()[EU] > 0
    world.now = berlin(2026, 6, 10, 22, 0)
    decision = world.tick()
    assert world.weights() == {ONPREM: 10_000}
    assert decision.rows[row()].excluded[EU] == "outside schedule nights"
    world.now = berlin(2026, 6, 11, 6, 0)
    world.run(60)
    assert world.weights()[EU] > 0


def test_a_schedule_that_would_leave_nobody_yields() -> None:
    clouds = traffic(clusters=(EU, US), more={"schedules": [NIGHTS]})
    world = World(fleet(policies=(clouds, records())), now=berlin(2026, 6, 10, 23), rates={row(): 100.0})
    decision = world.tick()
    assert sum(decision.rows[row()].weights.values()) == 10_000
    assert decision.rows[row()].excluded == {}
