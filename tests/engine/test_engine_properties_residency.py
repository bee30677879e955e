"""Who may never get a request: the forbidden, however the rest fails; and the dead, while anybody else is alive."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_policies.decision import Decision, Row
from penstock_policies.engine import decide, waterfall
from penstock_policies.engine.plan import Outcome, Problem, RowPlan, Solution, SolverError
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import PolicySet
from penstock_policies.words import DataClass, Site
from tests.engine.engine_checks import check_lawful, may_serve
from tests.engine.engine_strategies import (
    PRICES,
    RATES,
    Moment,
    examples,
    fleets,
    garbage,
    journeys,
    observations,
    plain_fleets,
    sane,
)
from tests.engine.engine_world import START, World

CLASSES = ("restricted", "public")


def reachable(one: Row) -> set[str]:
    """Every cluster that requests of a row may get to: by weight, or as a stand-in."""
    return {*one.weights, *one.legs, *(member for leg in one.legs.values() for member in leg)}


def check_at_home(policy: PolicySet, decision: Decision) -> None:
    """Restricted requests stay on-prem or are refused with a reason."""
    for one in decision.rows.values():
        if one.data_class is DataClass.RESTRICTED:
            assert all(policy.clusters[name].spec.site is Site.ON_PREM for name in reachable(one))
            assert bool(one.refusal) is not bool(one.weights)


@examples(200)
@given(journeys())
def test_wherever_a_journey_leads_the_rules_are_kept(journey: list[Moment]) -> None:
    for moment in journey:
        check_lawful(moment.policy, moment.decision)
        check_at_home(moment.policy, moment.decision)


@st.composite
def stricken(draw: st.DrawFn) -> tuple[World, dict[str, str]]:
    """A world with restricted traffic under way, and what then happens to each of its on-prem clusters."""
    policy = draw(plain_fleets(classes=CLASSES))
    world = World(policy, prices={name: draw(PRICES) for name in policy.clusters})
    world.rates = {key: draw(RATES) for key in policy.rows()}
    world.run(draw(st.integers(1, 4)))
    fates = {
        name: draw(st.sampled_from(["drained", "down", "hung", "silent"]))
        for name, one in policy.clusters.items()
        if one.spec.site is Site.ON_PREM
    }
    return world, fates


def strike(world: World, fates: dict[str, str]) -> None:
    for name, fate in fates.items():
        if fate == "drained":
            world.drain(name)
        if fate in {"down", "hung"}:
            world.failing.add(name)
        if fate == "down":
            world.erring.add(name)


@examples(200)
@given(stricken(), st.integers(1, 4))
def test_with_nobody_left_on_prem_restricted_requests_are_refused_and_never_sent_to_a_cloud(
    struck: tuple[World, dict[str, str]], ticks: int
) -> None:
    world, fates = struck
    strike(world, fates)
    for _ in range(ticks):
        decision = world.tick()
        check_at_home(world.policy, decision)
        for one in decision.rows.values():
            if one.data_class is not DataClass.RESTRICTED:
                continue
            drained = {name for name, fate in fates.items() if fate == "drained"}
            assert reachable(one) == set(fates) - drained
            if drained == set(fates):
                assert one.refusal == "no_cluster_available"
                assert one.reason.startswith("Refused: ")


@examples(60)
@given(stricken(), st.data())
def test_not_even_garbage_gets_restricted_requests_out(
    struck: tuple[World, dict[str, str]], data: st.DataObject
) -> None:
    world, fates = struck
    strike(world, fates)
    overrides = Overrides(dict(world.drains))
    decision = world.previous
    for tick in range(2):
        now = world.now + 1 + tick
        decision = decide(world.policy, data.draw(observations(world.policy, now, garbage)), overrides, decision, now)
        check_at_home(world.policy, decision)


@examples(250)
@given(
    plain_fleets(classes=("public", "internal", "restricted")),
    st.lists(RATES, min_size=3, max_size=3),
    st.integers(0, 3),
    st.integers(1, 5),
)
def test_what_is_dead_gets_nothing_from_the_next_decision_on_while_another_may_serve(
    policy: PolicySet, rates: Sequence[float], whose: int, ticks: int
) -> None:
    world = World(policy, rates=dict(zip(policy.rows(), rates, strict=True)))
    world.run(ticks)
    names = sorted(policy.clusters)
    dead = names[whose % len(names)]
    world.failing.add(dead)
    world.erring.add(dead)
    for _ in range(3):
        decision = world.tick()
        assert not decision.frozen, "one of several is no reason to distrust the prober"
        for one in decision.rows.values():
            assert one.weights.get(dead, 0) == 0 or set(one.weights) == {dead}


def broken(policy: PolicySet, share: float) -> Solution:
    """A plan that sends everything everywhere, above all where it may not go."""
    plans = {key: RowPlan(dict.fromkeys(policy.clusters, share), Outcome.PLANNED) for key in policy.rows()}
    return Solution(plans)


@examples(60)
@given(fleets(), st.sampled_from([0.5, 1.0, -1.0, float("nan"), float("inf"), 1e300]), st.data())
def test_no_solver_however_broken_can_break_a_rule(policy: PolicySet, share: float, data: st.DataObject) -> None:
    def raising(problem: Problem) -> Solution:
        raise SolverError("none")

    worse = [lambda _: broken(policy, share), raising, lambda _: Solution({})]
    previous: Decision | None = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(waterfall, "solve", data.draw(st.sampled_from([*worse, waterfall.solve])))
        for tick in range(3):
            now = START + tick
            seen = data.draw(observations(policy, now, sane))
            previous = decide(policy, seen, Overrides(), previous, now, solver=data.draw(st.sampled_from(worse)))
            for key, one in previous.rows.items():
                check_may_serve(policy, one, key.model)
                assert sum(one.weights.values()) == (10_000 if one.weights else 0)
                assert bool(one.refusal) is not bool(one.weights)


def check_may_serve(policy: PolicySet, one: Row, model: str) -> None:
    for name in reachable(one):
        assert may_serve(policy, policy.policies[one.key.policy], name, model)
