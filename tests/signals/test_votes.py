"""Votes: most of those that live decide, and nobody's word lives for ever."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.signals.votes import Tally, Vote, as_probe, tally
from penstock_policies.probing import Health

HEALTH = Health(unhealthy_threshold=4, healthy_threshold=2)


def votes(*told: tuple[bool, float]) -> dict[str, Vote]:
    return {f"edge-{index}": Vote(healthy, at, at + 3) for index, (healthy, at) in enumerate(told)}


@pytest.mark.parametrize(
    ("well", "ill", "healthy"),
    [(3, 0, True), (2, 1, True), (1, 2, False), (0, 3, False), (1, 1, None), (0, 0, None), (1, 0, True), (0, 1, False)],
)
def test_most_decide_and_even_votes_decide_nothing(well: int, ill: int, healthy: bool | None) -> None:  # noqa: FBT001
    told = votes(*[(True, 10.0)] * well, *[(False, 10.0)] * ill)
    assert tally(told, 11.0).healthy is healthy


def test_a_vote_that_nobody_renews_ends() -> None:
    told = votes((False, 10.0), (False, 10.0), (True, 12.0))
    assert tally(told, 13.0) == Tally(1, 2, 12.0)
    assert tally(told, 13.5) == Tally(1, 0, 12.0)
    assert tally(told, 15.5) == Tally()


def test_a_verdict_is_a_probe_past_its_threshold() -> None:
    ill = as_probe(Tally(1, 2, 12.0), HEALTH)
    assert ill is not None
    assert (ill.at, ill.consecutive_ok, ill.consecutive_failed) == (12.0, 0, 4)
    assert ill.detail == "2 of 3 checkers do not reach it"
    well = as_probe(Tally(3, 0, 12.0), HEALTH)
    assert well is not None
    assert (well.consecutive_ok, well.consecutive_failed, well.detail) == (2, 0, "")
    even = as_probe(Tally(1, 1, 12.0), HEALTH)
    assert even is not None
    assert (even.consecutive_ok, even.consecutive_failed) == (0, 0)
    assert as_probe(Tally(), HEALTH) is None


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 100)), max_size=15), st.floats(0, 110))
def test_a_minority_of_liars_changes_nothing(told: list[tuple[bool, float]], now: float) -> None:
    honest = tally(votes(*told), now)
    liars = {f"liar-{index}": Vote(not honest.healthy, now, now) for index in range(abs(honest.well - honest.ill) - 1)}
    if honest.healthy is not None:
        assert tally({**votes(*told), **liars}, now).healthy is honest.healthy
