"""Garbage of every kind in any feed: it breaks no rule, is shown to nobody as a figure, and stays where it came in.

Each kind of garbage is known by name, so that none of them goes untried.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_policies.decision import Decision
from penstock_policies.engine import decide
from penstock_policies.observations import EngineLoad, Intensity, Load, Observations, Price
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import PolicySet
from penstock_policies.schema import Cluster
from penstock_policies.serial import from_json, to_json
from tests.engine.engine_checks import PLANNED, check_lawful
from tests.engine.engine_strategies import (
    NAMES,
    PRICES,
    REGIONS,
    Moment,
    examples,
    fleets,
    garbage,
    histories,
    journeys,
    plain_fleets,
)
from tests.engine.engine_world import START, World, carbon_feed, cluster, feed, fleet, traffic

FIGURES: dict[str, Callable[[float], float]] = {
    "not a number": lambda _: math.nan,
    "infinite": lambda _: math.inf,
    "minus infinite": lambda _: -math.inf,
    "negative": lambda figure: -figure - 1.0,
    "thousandfold": lambda figure: figure * 1000,
    "astronomic": lambda _: 1e300,
}
"""Kinds of garbage, by what they make of a figure."""
FUTURE, MISSING = "of the future", "missing"
KINDS = (*FIGURES, FUTURE, MISSING)
_TIMES = {"at", "period_start"}


def spoilt(report: Any, kind: str) -> Any:
    """A report with every figure in it spoilt, or its time; figures of the future are other ones."""
    if kind == FUTURE:
        report = spoilt(report, "thousandfold")
        return replace(report, at=report.at + 86_400)
    change = FIGURES[kind]
    figures = {
        name: change(figure)
        for name, figure in ((name, getattr(report, name)) for name in report.__slots__)
        if isinstance(figure, float) and name not in _TIMES
    }
    return replace(report, **figures)


def all_spoilt(by: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return {} if kind == MISSING else {key: spoilt(report, kind) for key, report in by.items()}


def check_finite(decision: Decision) -> None:
    """No figure that people are shown is infinite or none at all."""
    for one in decision.rows.values():
        assert all(map(math.isfinite, (one.demand, *one.target.values(), *one.gaps.values(), *one.tokens)))
        assert "nan" not in one.reason.split()
    for view in decision.clusters.values():
        shown = (view.price, view.price_age or 0.0, view.in_flight, view.capacity, view.planned, view.slot_price)
        assert all(math.isfinite(figure) and figure >= 0 for figure in (*shown, view.carbon, view.trim, *view.tokens))
    for budget in decision.budgets.values():
        assert all(map(math.isfinite, (budget.spent, budget.burn, budget.forecast, budget.limit or 0.0, budget.price)))


@examples(100)
@given(histories(garbage))
def test_garbage_neither_raises_nor_breaks_a_rule(history: list[tuple[PolicySet, Decision]]) -> None:
    for policy, decision in history:
        check_lawful(policy, decision, PLANNED)
        check_finite(decision)
        assert from_json(to_json(decision)) == decision


@pytest.mark.parametrize("kind", KINDS)
@examples(30)
@given(journey=journeys(most=6), seed=st.integers(0, 2**32))
def test_a_kind_of_garbage_anywhere_breaks_no_rule(kind: str, journey: list[Moment], seed: int) -> None:
    previous: Decision | None = None
    random = Random(seed)  # noqa: S311 # which reports are spoilt
    for moment in journey:
        seen = somewhere_spoilt(moment.seen, kind, random)
        previous = decide(moment.policy, seen, moment.overrides, previous, moment.decision.at)
        check_lawful(moment.policy, previous, PLANNED)
        check_finite(previous)


def somewhere_spoilt(seen: Observations, kind: str, random: Random) -> Observations:
    """Each report has an even chance."""

    def some(by: Mapping[str, Any]) -> dict[str, Any]:
        found = {}
        for key, report in by.items():
            if random.random() < 0.5:
                found[key] = report
            elif kind != MISSING:
                found[key] = spoilt(report, kind)
        return found

    return Observations(
        {name: some(by) if kind in {FUTURE, MISSING} else by for name, by in seen.probes.items()},
        {name: some(by) for name, by in seen.load.items()},
        {name: some(by) for name, by in seen.prices.items()},
        some(seen.engines),
        {name: some(by) for name, by in seen.carbon.items()},
        some(seen.spend),
    )


@examples(40)
@given(fleets(), fleets(), st.data())
def test_a_fleet_may_be_empty_become_so_and_be_filled_again(
    one: PolicySet, other: PolicySet, data: st.DataObject
) -> None:
    bare = replace(one, clusters={}, policies={}, budgets={}, groups=data.draw(st.sampled_from([{}, one.groups])))
    idle = replace(other, policies={}, budgets={})
    previous: Decision | None = None
    now = START
    for policy in data.draw(st.permutations([one, bare, idle, other])):
        now += 1
        seen = data.draw(st.sampled_from([Observations(), World(policy).observations()]))
        previous = decide(policy, seen, Overrides(), previous, now)
        check_lawful(policy, previous, PLANNED)
        if not policy.policies:
            assert previous.rows == {}


@st.composite
def fed_fleets(draw: st.DrawFn) -> PolicySet:
    """Clusters on two price feeds, some on one of carbon too, seen from two regions by policies of several tastes."""
    names = NAMES[: draw(st.integers(3, 4))]
    made: list[Cluster] = []
    for name in names:
        carbon = {"gramsPerMillionTokens": 40.0} if draw(st.booleans()) else {"feed": "grid", "key": name}
        price = draw(st.one_of(st.none(), PRICES))
        source = draw(st.sampled_from(["cloud-prices", "other-prices"]))
        concurrency = draw(st.sampled_from([20, 150, 600]))
        made.append(cluster(name, price=price, feed=source, concurrency=concurrency, more={"carbon": carbon}))
    tastes = st.sampled_from([{"minimize": "cost"}, {"minimize": "carbon"}, {"mix": {"cost": "50%", "carbon": "50%"}}])
    policies = [
        traffic("all", clusters=names, more={"objective": draw(tastes)}),
        traffic("some", clusters=names[:2], path="/some/", more={"objective": draw(tastes)}),
    ]
    feeds = [feed(), feed("other-prices"), carbon_feed("grid")]
    return fleet(clusters=made, policies=policies, regions=REGIONS, feeds=feeds)


@st.composite
def fed_worlds(draw: st.DrawFn) -> tuple[PolicySet, Observations, Decision]:
    """A fleet that has been told the same for a minute, by every feed: the last decision, and what is said again."""
    policy = draw(fed_fleets())
    figures = {name: (draw(PRICES), draw(st.floats(5, 50)), draw(st.floats(1, 60))) for name in policy.clusters}

    def said(now: float) -> Observations:
        prices = {name: Price(now, price) for name, (price, _, _) in figures.items()}
        return replace(
            World(policy, now).observations(),
            load={
                region: {
                    name: Load(now, rate, rate, 0.0, 1, rate, 300.0 * rate, 100.0 * rate)
                    for name, (_, _, rate) in figures.items()
                }
                for region in REGIONS
            },
            prices={"cloud-prices": prices, "other-prices": prices},
            carbon={"grid": {name: Intensity(now, grams) for name, (_, grams, _) in figures.items()}},
            engines={
                name: EngineLoad(now, 0.0, 2 * rate, 600.0 * rate, 200.0 * rate)
                for name, (_, _, rate) in figures.items()
            },
        )

    decision: Decision | None = None
    for tick in range(6):
        decision = decide(policy, said(START + 10 * tick), Overrides(), decision, START + 10 * tick)
    assert decision is not None
    return policy, said(START + 60), decision


def decided(world: tuple[PolicySet, Observations, Decision], **feeds: Mapping[str, Any]) -> Decision:
    policy, seen, previous = world
    return decide(policy, replace(seen, **feeds), Overrides(), previous, START + 60)


@pytest.mark.parametrize("kind", [*KINDS, "zero"])
@examples(20)
@given(world=fed_worlds(), which=st.sampled_from(["cloud-prices", "other-prices"]))
def test_garbage_in_a_feed_of_prices_changes_nothing_but_their_age(
    kind: str, world: tuple[PolicySet, Observations, Decision], which: str
) -> None:
    policy, seen, _ = world
    said = seen.prices[which]
    wrong = {name: replace(one, usd_per_million_tokens=0.0) for name, one in said.items()}
    spoilt_prices = wrong if kind == "zero" else all_spoilt(said, kind)
    sane_one, other = decided(world), decided(world, prices={**seen.prices, which: spoilt_prices})
    assert other.rows == sane_one.rows
    for name, view in other.clusters.items():
        if policy.clusters[name].spec.cost.feed == which:
            assert view == replace(sane_one.clusters[name], price_age=10.0)
        else:
            assert view == sane_one.clusters[name]


@pytest.mark.parametrize("kind", KINDS)
@examples(20)
@given(world=fed_worlds())
def test_garbage_in_a_feed_of_carbon_changes_nothing(
    kind: str, world: tuple[PolicySet, Observations, Decision]
) -> None:
    _, seen, _ = world
    sane_one, other = decided(world), decided(world, carbon={"grid": all_spoilt(seen.carbon["grid"], kind)})
    assert other.rows == sane_one.rows
    assert other.clusters == sane_one.clusters


@pytest.mark.parametrize("kind", KINDS)
@examples(20)
@given(world=fed_worlds())
def test_garbage_from_the_edges_of_one_region_says_nothing_of_another(
    kind: str, world: tuple[PolicySet, Observations, Decision]
) -> None:
    _, seen, previous = world
    here, there = REGIONS
    sane_one, other = decided(world), decided(world, load={**seen.load, there: all_spoilt(seen.load[there], kind)})
    for key, one in other.rows.items():
        if key.region == here:
            assert one.demand == sane_one.rows[key].demand
        elif kind != "thousandfold":  # which can be true
            assert one.demand == previous.rows[key].demand
    if kind != "thousandfold":
        unheard = decided(world, load={here: seen.load[here]})
        assert other.rows == unheard.rows
        assert other.clusters == unheard.clusters


def learnt(decision: Decision, name: str) -> tuple[float | tuple[float, float], ...]:
    view = decision.clusters[name]
    return view.capacity, view.trim, view.tokens, view.price


@pytest.mark.parametrize("kind", KINDS)
@examples(20)
@given(world=fed_worlds(), whose=st.integers(0, 3))
def test_garbage_from_the_engines_of_one_cluster_says_nothing_of_another(
    kind: str, world: tuple[PolicySet, Observations, Decision], whose: int
) -> None:
    policy, seen, _ = world
    liar = sorted(policy.clusters)[whose % len(policy.clusters)]
    others = {name: engine for name, engine in seen.engines.items() if name != liar}
    other = decided(world, engines={**others, **all_spoilt({liar: seen.engines[liar]}, kind)})
    sane_one = decided(world)
    for name in others:
        assert learnt(other, name) == learnt(sane_one, name)
        assert other.memory.service_time[name] == sane_one.memory.service_time[name]
    if kind != "thousandfold":  # which can be true
        unheard = decided(world, engines=others)
        assert other.rows == unheard.rows
        assert other.clusters == unheard.clusters


@examples(30)
@given(fed_worlds(), st.sampled_from([0.001, 0.01, 11.0, 1000.0]), st.sampled_from(NAMES[:3]))
def test_a_jump_of_a_price_moves_nothing_before_it_has_lasted(
    world: tuple[PolicySet, Observations, Decision], factor: float, name: str
) -> None:
    policy, seen, previous = world
    which = policy.clusters[name].spec.cost.feed
    assert which is not None
    patience = policy.feeds[which].spec.max_age
    jumped = decision = previous
    for elapsed in (0.0, patience / 2, patience - 20.0):
        now = START + 60 + elapsed
        said = replace(World(policy, now).observations(), prices=_again(seen.prices, now))
        price = said.prices[which][name]
        wrong = {
            **said.prices[which],
            name: replace(price, usd_per_million_tokens=price.usd_per_million_tokens * factor),
        }
        decision = decide(policy, said, Overrides(), decision, now)
        jumped = decide(policy, replace(said, prices={**said.prices, which: wrong}), Overrides(), jumped, now)
        assert {key: one.weights for key, one in jumped.rows.items()} == {
            key: one.weights for key, one in decision.rows.items()
        }


def _again(prices: Mapping[str, Mapping[str, Price]], now: float) -> dict[str, dict[str, Price]]:
    return {name: {key: replace(one, at=now) for key, one in by.items()} for name, by in prices.items()}


@examples(60)
@given(plain_fleets(classes=("public", "restricted")), st.data())
def test_what_is_listed_twice_is_counted_once_or_for_whom_it_is(policy: PolicySet, data: st.DataObject) -> None:
    """Two clusters on the same endpoints, prices of one key in two feeds, a cluster reported by two regions."""
    one, other = sorted(policy.clusters)[:2]
    shared = policy.clusters[one].spec.endpoints
    spec = policy.clusters[other].spec.model_copy(update={"endpoints": shared})
    twice = replace(
        policy,
        clusters={**policy.clusters, other: policy.clusters[other].model_copy(update={"spec": spec})},
        feeds={**policy.feeds, "other-prices": feed("other-prices")},
        groups=fleet(regions=REGIONS).groups,
    )
    world = World(twice, prices={name: data.draw(PRICES) for name in twice.clusters})
    world.rates = {key: data.draw(st.sampled_from([1.0, 50.0, 300.0])) for key in twice.rows()}
    for _ in range(4):
        world.now += 1
        seen = world.observations()
        wrong = {name: Price(world.now, 9.9) for name in twice.clusters}
        seen = replace(seen, prices={**seen.prices, "other-prices": wrong})
        world.previous = decision = decide(twice, seen, Overrides(), world.previous, world.now)
        check_lawful(twice, decision)
        check_finite(decision)
        for name, view in decision.clusters.items():
            assert view.price == world.prices[name], "of the feed that the cluster names"
            assert view.in_flight == pytest.approx(sum(by[name].in_flight for by in seen.load.values() if name in by))
