"""Which decisions are recorded: a moment's figures are never more than a minute off, and every id leads to a record."""

from dataclasses import replace

from penstock.control.recorder import Recorder
from penstock.control.standing import Standing
from penstock.state import Store
from penstock_policies.decision import Decision, Rung
from penstock_policies.inputs import DecisionInputs
from penstock_policies.observations import Observations
from penstock_policies.overrides import Overrides
from tests.control.test_recorder import written_by

NOW = 1_000_000.0
DECISION = Decision("id", NOW, "digest", Rung.OPTIMUM, "", {}, {}, {}, {})


def _take(standing: Standing, second: float, *, material: bool = False) -> None:
    at = NOW + second
    inputs = DecisionInputs("digest", Observations(), Overrides(), None, at)
    standing.take(replace(DECISION, id=f"at{second:g}", at=at), inputs, material=material)


async def test_at_any_moment_a_decision_is_recorded_that_is_at_most_a_minute_older() -> None:
    async with await Store.open("sqlite://", lambda: NOW) as store:
        recorder = Recorder(store)
        standing = Standing(recorder)
        for second in range(300):
            _take(standing, second, material=second in {0, 130})
        await written_by(recorder)
        ages = []
        for second in range(300):
            found = await store.decision_at(NOW + second)
            assert found is not None
            ages.append(NOW + second - found.at)
        assert max(ages) <= 60
        assert [one.id for one in await store.decisions(10)] == ["at130", "at0"]
        assert len(await store.audit(10, kind="decision.recorded")) == 2


async def test_every_decision_leads_to_the_recorded_one_that_says_the_same() -> None:
    async with await Store.open("sqlite://", lambda: NOW) as store:
        standing = Standing(Recorder(store))
        for second in range(100):
            _take(standing, second, material=second in {0, 70})
        assert [standing.stands_for(f"at{second}") for second in (0, 1, 69, 70, 99)] == [
            "at0",
            "at0",
            "at0",
            "at70",
            "at70",
        ]
        assert standing.stands_for("never") is None


async def test_a_clock_that_is_set_back_keeps_no_figures_from_being_recorded() -> None:
    async with await Store.open("sqlite://", lambda: NOW) as store:
        recorder = Recorder(store)
        standing = Standing(recorder)
        _take(standing, 7200, material=True)
        _take(standing, 0)
        await written_by(recorder)
        found = await store.decision_at(NOW + 1)
        assert found is not None
        assert found.id == "at0"
