"""What the optimum owes to prices and capacity, seen on decisions: no unit, no order, never more for the dearer.

Plans are compared by what they are worth under the problem that was solved, as told by :mod:`tests.engine.plan_worth`:
two plans of the same worth are as good.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from penstock_policies.decision import Decision, Stage
from penstock_policies.engine import decide, optimum
from penstock_policies.engine.plan import Outcome, Problem, RowPlan, Solution
from penstock_policies.observations import Load, Observations, Price
from penstock_policies.overrides import Drain, Overrides
from penstock_policies.policyset import PolicySet, RowKey
from penstock_policies.schema import Cluster
from tests.engine.engine_strategies import NAMES, PRICES, Moment, examples, journeys, plain_fleets
from tests.engine.engine_world import START
from tests.engine.plan_worth import load_of, worth

RATE = st.sampled_from([0.5, 20.0, 90.0, 400.0])


@dataclass(frozen=True)
class Solved:
    """A first decision, where nothing moves yet and weights are what is wanted; and the problem behind it."""

    decision: Decision
    problem: Problem

    @property
    def plans(self) -> Mapping[RowKey, RowPlan]:
        return {key: RowPlan(one.target, Outcome.PLANNED) for key, one in self.decision.rows.items()}

    @property
    def overload(self) -> float:
        load = load_of(self.problem, self.plans)
        return sum(max(0.0, filled - self.problem.capacity[name]) for name, filled in load.items())


def solved(policy: PolicySet, rate: float, prices: Mapping[str, float], *, without: str | None = None) -> Solved:
    """Decide with nothing remembered, ``rate`` arriving, and perhaps a cluster drained."""
    asked: list[Problem] = []

    def solver(problem: Problem) -> Solution:
        asked.append(problem)
        return optimum.solve(problem)

    # Where it arrived says nothing of where it should go.
    arrived = {
        name: Load(START, rate / len(policy.clusters), rate / len(policy.clusters), 0.0) for name in policy.clusters
    }
    seen = Observations(
        load=dict.fromkeys(policy.regions(), arrived),
        prices={"cloud-prices": {name: Price(START, price) for name, price in prices.items()}},
    )
    drains = {without: Drain(without, START, START + 60, "test", "alice")} if without is not None else {}
    decision = decide(policy, seen, Overrides(drains), None, START, solver=solver)
    return Solved(decision, asked[-1])


def priced(draw: st.DrawFn, policy: PolicySet) -> dict[str, float]:
    return {name: draw(PRICES) for name in policy.clusters}


@st.composite
def markets(draw: st.DrawFn) -> tuple[PolicySet, dict[str, float]]:
    policy = draw(plain_fleets(classes=draw(st.sampled_from([("public",), ("public", "internal")]))))
    return policy, priced(draw, policy)


@examples(300)
@given(markets(), RATE, st.floats(-2, 2).map(lambda power: 10**power))
def test_the_unit_of_money_does_not_matter(
    market: tuple[PolicySet, dict[str, float]], rate: float, unit: float
) -> None:
    policy, prices = market
    one = solved(policy, rate, prices)
    other = solved(policy, rate, {name: price * unit for name, price in prices.items()})
    same = all(
        dict(row.target) == pytest.approx(dict(other.decision.rows[key].target), abs=1e-6)
        for key, row in one.decision.rows.items()
    )
    # Where two plans are as good, rounding may tell them apart.
    assert same or worth(one.problem, other.plans) == pytest.approx(worth(one.problem, one.plans), rel=1e-6, abs=1e-6)


@examples(300)
@given(plain_fleets(), st.lists(PRICES, min_size=4, max_size=4), RATE, st.sampled_from(NAMES), st.floats(1.001, 20))
def test_raising_the_price_of_a_cluster_never_raises_its_share(
    policy: PolicySet, prices: list[float], rate: float, name: str, factor: float
) -> None:
    assume(name in policy.clusters)
    market = dict(zip(policy.clusters, prices, strict=False))
    (before,) = solved(policy, rate, market).decision.rows.values()
    (after,) = solved(policy, rate, {**market, name: market[name] * factor}).decision.rows.values()
    assert after.target.get(name, 0.0) <= before.target.get(name, 0.0) + 1e-6


def shrunk(policy: PolicySet, name: str, part: float) -> PolicySet:
    one = policy.clusters[name]
    capacity = one.spec.capacity.model_copy(update={"concurrency": max(1, round(one.spec.capacity.concurrency * part))})
    smaller: Cluster = one.model_copy(update={"spec": one.spec.model_copy(update={"capacity": capacity})})
    return replace(policy, clusters={**policy.clusters, name: smaller})


@examples(200)
@given(markets(), RATE, st.sampled_from(NAMES), st.floats(0.01, 1))
def test_less_capacity_never_serves_more(
    market: tuple[PolicySet, dict[str, float]], rate: float, name: str, part: float
) -> None:
    policy, prices = market
    assume(name in policy.clusters)
    before, after = solved(policy, rate, prices), solved(shrunk(policy, name, part), rate, prices)
    assert served(after.decision) <= served(before.decision) + 1e-6 * rate


def served(decision: Decision) -> float:
    """Requests in flight that have room by plan; a request takes a second everywhere here, so also those a second."""
    return sum(min(view.planned, view.capacity) for view in decision.clusters.values())


@examples(300)
@given(markets(), RATE, st.sampled_from(NAMES))
def test_one_more_cluster_never_makes_the_plan_worse(
    market: tuple[PolicySet, dict[str, float]], rate: float, name: str
) -> None:
    policy, prices = market
    assume(name in policy.clusters)
    more, fewer = solved(policy, rate, prices), solved(policy, rate, prices, without=name)
    assume(all(one.weights for one in fewer.decision.rows.values()))
    # Both under the problem of all clusters: it may do as the other did, and so must be as good.
    without = replace(more, decision=fewer.decision)
    assert more.overload <= without.overload + 1e-6 * rate
    if without.overload <= 1e-6 * rate:
        assert worth(more.problem, more.plans) <= worth(more.problem, without.plans) + 1e-5 * rate


def problem_of(moment: Moment) -> Problem:
    """The problem behind a decision: the last one that the solver was asked."""
    asked: list[Problem] = []

    def solver(problem: Problem) -> Solution:
        asked.append(problem)
        return optimum.solve(problem)

    decide(moment.policy, moment.seen, moment.overrides, moment.previous, moment.decision.at, solver=solver)
    return asked[-1]


@examples(200)
@given(journeys())
def test_no_plan_fills_a_cluster_beyond_its_capacity_without_saying_so(journey: list[Moment]) -> None:
    for moment in journey:
        load = dict.fromkeys(moment.policy.clusters, 0.0)
        work = {row.key: row.work for row in problem_of(moment).rows}
        told: set[str] = set()
        for key, one in moment.decision.rows.items():
            outcomes = {note.message for note in one.notes if note.stage is Stage.SOLVE}
            if Outcome.HELD_ALL_DOWN in outcomes:
                continue
            for name, share in one.target.items():
                load[name] += one.demand * share * work[key][name] if share > 0 else 0.0
                if share > 0 and Outcome.OVERLOADED in outcomes:
                    told.add(name)
        for name, view in moment.decision.clusters.items():
            assert view.planned == pytest.approx(load[name], rel=1e-6, abs=1e-6), "what is shown is what is planned"
            assert load[name] <= view.capacity * (1 + 1e-6) + 1e-6 or name in told, (name, load[name], view.capacity)
