"""How often publications go out: the first at once, those of a storm less and less often, the last one always."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_xds import Debounce, Snapshot
from penstock_xds.core.debounce import Pace
from penstock_xds.types import CLUSTER
from tests.xds.fleet import GROUP, Fleet
from tests.xds.transcript import cluster

RULE = Debounce(floor=0.01, ceiling=1.0)


class Storm:
    """One watcher of a debounced cache."""

    def __init__(self, rule: Debounce = RULE) -> None:
        self.rule = rule
        self.fleet = Fleet(debounce=rule)
        self.sent: list[tuple[float, str]] = []
        self.fleet.cache.join(GROUP, "s", self._take)
        self.published = 0

    def _take(self, snapshot: Snapshot) -> None:
        body = snapshot.resources(CLUSTER)["c"].body.decode()
        self.sent.append((self.fleet.clock.now, body.rsplit(" ", 1)[1]))

    def publish(self, **options: bool) -> str:
        self.published += 1
        self.fleet.publish(cluster("c", str(self.published)), **options)
        return str(self.published)

    def passes(self, seconds: float) -> None:
        self.fleet.clock.advance(seconds)


def test_the_first_change_goes_out_at_once() -> None:
    storm = Storm()
    storm.publish()
    assert [content for _, content in storm.sent] == ["1"]


def test_the_next_waits_and_the_newest_of_those_waiting_goes_out() -> None:
    storm = Storm()
    for _ in range(4):
        storm.publish()
    assert [content for _, content in storm.sent] == ["1"]
    assert storm.fleet.served().resources(CLUSTER)["c"] == cluster("c", "1")
    storm.passes(0.011)
    assert [content for _, content in storm.sent] == ["1", "4"]


def test_an_urgent_change_goes_out_at_once_in_place_of_what_waits() -> None:
    storm = Storm()
    storm.publish()
    storm.publish()
    storm.publish(urgent=True)
    assert [content for _, content in storm.sent] == ["1", "3"]
    storm.passes(10)
    assert [content for _, content in storm.sent] == ["1", "3"]


def test_a_storm_goes_out_ever_less_often_and_quiet_makes_it_quick_again() -> None:
    storm = Storm()
    for _ in range(10_000):
        storm.publish()
        storm.passes(0.001)
    gaps = [after - before for (before, _), (after, _) in zip(storm.sent, storm.sent[1:], strict=False)]
    assert gaps[0] < 0.02
    assert max(gaps) <= RULE.ceiling + 0.002
    assert len(storm.sent) < 20
    storm.passes(5)
    assert storm.sent[-1][1] == "10000"
    storm.publish()
    assert storm.sent[-1][1] == "10001"
    storm.publish()
    storm.passes(0.011)
    assert storm.sent[-1][1] == "10002"


def test_a_change_that_is_taken_back_while_it_waits_never_goes_out() -> None:
    storm = Storm()
    storm.publish()
    storm.publish()
    storm.fleet.publish(cluster("c", "1"))
    storm.passes(5)
    assert [content for _, content in storm.sent] == ["1"]


def test_what_is_served_already_does_not_count_as_a_change() -> None:
    storm = Storm()
    storm.publish()
    storm.passes(5)
    storm.fleet.publish(cluster("c", "1"))
    storm.publish()
    assert [content for _, content in storm.sent] == ["1", "2"]


def test_groups_do_not_wait_for_each_other() -> None:
    storm = Storm()
    storm.publish()
    storm.fleet.cache.publish("other", Snapshot.of([cluster("c")]))
    assert storm.fleet.cache.get("other") is not None


def test_by_default_nothing_waits() -> None:
    fleet = Fleet()
    for content in "abc":
        fleet.publish(cluster("c", content))
        assert fleet.served().resources(CLUSTER)["c"] == cluster("c", content)
    assert fleet.clock.timers == []


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.0005, 0.004, 0.02, 0.3, 3.0]), st.booleans()), max_size=200),
    st.sampled_from([RULE, Debounce(floor=0.05, ceiling=0.05), Debounce(floor=0.001, ceiling=4.0, growth=3.0)]),
)
def test_whatever_happens_nothing_is_lost_and_nothing_is_overdone(
    storm_of: list[tuple[float, bool]], rule: Debounce
) -> None:
    storm = Storm(rule)
    changes: list[tuple[float, str]] = []
    urgent_ones = 0
    for pause, urgent in storm_of:
        storm.passes(pause)
        changes.append((storm.fleet.clock.now, storm.publish(urgent=urgent)))
        if urgent or len(changes) == 1:
            urgent_ones += 1
            assert storm.sent[-1] == changes[-1], "it had to wait"
    storm.passes(rule.ceiling)
    for at, content in changes:
        newer = [t for t, c in storm.sent if int(c) >= int(content)]
        assert newer, "it was lost"
        assert newer[0] <= at + rule.ceiling + 1e-9, "it waited too long"
    assert [int(c) for _, c in storm.sent] == sorted({int(c) for _, c in storm.sent})
    if changes:
        # No two but urgent ones are closer than the floor.
        span = storm.sent[-1][0] - storm.sent[0][0]
        assert len(storm.sent) <= urgent_ones + 1 + span / rule.floor + 1e-6


@given(st.lists(st.floats(0.0, 2.0), max_size=100))
def test_the_window_stays_between_floor_and_ceiling(pauses: list[float]) -> None:
    pace = Pace(RULE)
    now = 0.0
    for pause in pauses:
        now += pause
        wait = pace.wait(now)
        assert 0.0 <= wait <= RULE.ceiling
        if wait:
            now += wait
            pace.send(now)
        assert RULE.floor <= pace.window <= RULE.ceiling


@pytest.mark.parametrize(
    "numbers",
    [
        {"floor": 0.0},
        {"floor": 2.0, "ceiling": 1.0},
        {"ceiling": float("inf")},
        {"growth": 1.0},
        {"floor": float("nan")},
    ],
)
def test_numbers_out_of_range_are_refused(numbers: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"floor|growth"):
        Debounce(**numbers)
