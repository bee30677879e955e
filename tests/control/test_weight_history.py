"""What the history of weights remembers, and what it costs."""

from dataclasses import replace

from penstock.control.history import WeightHistory
from penstock_policies.decision import Decision
from tests.admin.fake_control import CHAT_EU, RECORDS_EU, example_decision


def decision(at: float, on_prem: int) -> Decision:
    return replace(example_decision({"onprem-fra": on_prem, "cloud-eu-west": 10_000 - on_prem}), at=at)


def test_only_changes_of_weights_are_points() -> None:
    history = WeightHistory()
    assert [history.add(decision(at, 6000)) for at in (1.0, 2.0)] == [True, False]
    assert history.add(decision(3.0, 7000))
    assert [(point.at, point.weights[CHAT_EU]["onprem-fra"]) for point in history.points()] == [
        (1.0, 6000),
        (3.0, 7000),
    ]


def test_the_oldest_points_are_forgotten() -> None:
    history = WeightHistory(capacity=2)
    for at in (1.0, 2.0, 3.0):
        history.add(decision(at, int(at) * 1000))
    assert [point.at for point in history.points()] == [2.0, 3.0]


def test_a_large_fleet_has_a_shorter_history_and_never_none() -> None:
    history = WeightHistory(rows=9)
    for at in (1.0, 2.0, 3.0, 4.0):
        history.add(decision(at, int(at) * 1000))
    assert [point.at for point in history.points()] == [3.0, 4.0]
    tiny = WeightHistory(rows=1)
    tiny.add(decision(1.0, 1000))
    assert len(tiny.points()) == 1


def test_rows_that_did_not_change_are_kept_once() -> None:
    history = WeightHistory()
    history.add(decision(1.0, 1000))
    history.add(decision(2.0, 2000))
    first, second = history.points()
    assert first.weights[RECORDS_EU] is second.weights[RECORDS_EU]
