"""When schedules are in force, and what they set."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

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
