"""What no input may break: the invariants of the engine, over random fleets, histories and garbage."""

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import TypeVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock_policies.decision import TOTAL_WEIGHT, Decision, HealthState, Move, Row, Rung, Stage
from penstock_policies.engine import decide
from penstock_policies.engine.quantise import quantise
from penstock_policies.observations import EndpointProbe, Load, Observations, Price
from penstock_policies.overrides import Drain, Overrides
from penstock_policies.policyset import PolicySet
from penstock_policies.schema import Cluster, TrafficPolicy
from penstock_policies.serial import decision_id, from_json, material_digest, to_json
from penstock_policies.words import DataClass, Site
from tests.engine.engine_world import (
    EU,
    MODEL,
    ONPREM,
    START,
    US,
    World,
    cluster,
    feed,
    fleet,
    onprem,
    residency,
    row,
    traffic,
)

T = TypeVar("T")
NAMES = ("a", "b", "c", "d")
REGIONS = ("eu-west", "us-east")
generous = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])

sane = st.floats(0, 500)
times = st.one_of(st.just(0.0), st.floats(-5, 5))
garbage = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([math.nan, math.inf, -math.inf, -1.0, 0.0, 1e-300, 1e300, 5e-324]),
)


@st.composite
def clusters(draw: st.DrawFn) -> list[Cluster]:
    made = []
    for name in NAMES[: draw(st.integers(1, 4))]:
        site = draw(st.sampled_from(["on_prem", "cloud", "edge"]))
        declared = draw(st.one_of(st.none(), st.floats(0, 10)))
        made.append(
            cluster(
                name,
                site=site,
                region=draw(st.sampled_from(["eu-west", "eu-central", "us-east"])),
                concurrency=draw(st.integers(1, 200)),
                price=declared,
                feed=draw(st.sampled_from([None, "cloud-prices", "other-prices"])),
                endpoints=draw(st.integers(1, 3)),
                models=draw(st.sampled_from([(MODEL,), (MODEL, "m2"), ("m2",)])),
            )
        )
    return made


@st.composite
def fleets(draw: st.DrawFn) -> PolicySet:
    made = draw(clusters())
    names = [one.name for one in made]
    policies: list[TrafficPolicy] = [
        traffic(
            f"p{index}",
            clusters=draw(st.lists(st.sampled_from(names), min_size=1, unique=True)),
            data_class=draw(st.sampled_from(["public", "internal", "restricted"])),
            models=draw(st.sampled_from([None, (MODEL,), ("m2", MODEL)])),
            max_step=draw(st.sampled_from(["0%", "5%", "10%", "25%", "100%"])),
            min_dwell=draw(st.sampled_from(["0s", "1s", "30s"])),
        )
        for index in range(draw(st.integers(1, 3)))
    ]
    rules = [residency()]
    if draw(st.booleans()):
        rules.append(residency("internal", regions=["eu-west", "eu-central"]))
    return fleet(
        clusters=made,
        policies=policies,
        rules=rules,
        regions=REGIONS[: draw(st.integers(1, 2))],
        feeds=[feed(), feed("other-prices", max_age="20s")],
    )


def observations(policy: PolicySet, now: float, figure: st.SearchStrategy[float]) -> st.SearchStrategy[Observations]:
    names = st.sampled_from([*policy.clusters, "unknown"])
    at = times.map(lambda offset: now + offset) if figure is sane else st.one_of(garbage, st.just(now))
    endpoints = sorted({one.key for each in policy.clusters.values() for one in each.spec.endpoints})
    probe = st.builds(EndpointProbe, at, st.integers(0, 3), st.integers(0, 3))
    load = st.builds(Load, at, figure, figure, figure, st.integers(0, 3), st.one_of(st.none(), figure))
    price = st.builds(Price, at, figure)
    return st.builds(
        Observations,
        st.dictionaries(names, st.dictionaries(st.sampled_from([*endpoints, "unknown"]), probe, max_size=6)),
        st.dictionaries(st.sampled_from([*REGIONS, "unknown"]), st.dictionaries(names, load)),
        st.dictionaries(st.sampled_from(["cloud-prices", "other-prices", "unknown"]), st.dictionaries(names, price)),
    )


def overrides(policy: PolicySet, now: float) -> st.SearchStrategy[Overrides]:
    def build(name: str, since: float, ramp: float) -> Drain:
        return Drain(name, now - since, now + 100, "test", "alice", ramp)

    drain = st.builds(build, st.sampled_from(sorted(policy.clusters)), st.floats(0, 50), st.sampled_from([0.0, 20.0]))
    return st.lists(drain, max_size=2).map(lambda drains: Overrides({one.cluster: one for one in drains}))


@st.composite
def histories(draw: st.DrawFn, figure: st.SearchStrategy[float] = sane) -> list[tuple[PolicySet, Decision]]:
    """Some decisions in a row over changing inputs; sometimes the policies change too."""
    policy = draw(fleets())
    now = START
    previous: Decision | None = None
    history = []
    for _ in range(draw(st.integers(1, 6))):
        now += draw(st.sampled_from([0.0, 0.2, 1.0, 6.0, 40.0]))
        if draw(st.integers(0, 5)) == 0:
            policy = draw(fleets())
        previous = decide(policy, draw(observations(policy, now, figure)), draw(overrides(policy, now)), previous, now)
        history.append((policy, previous))
    return history


def may_serve(policy: PolicySet, traffic_policy: TrafficPolicy, name: str, model: str) -> bool:
    """The rules, said a third time: restricted data stays on-prem, internal data in the EU where a rule says so."""
    one = policy.clusters[name].spec
    klass = traffic_policy.spec.data_class
    if name not in traffic_policy.spec.clusters or (model != "*" and model not in one.models):
        return False
    if klass is DataClass.RESTRICTED and one.site is not Site.ON_PREM:
        return False
    return not ("rule-internal" in policy.residency and klass is DataClass.INTERNAL and one.region == "us-east")


def check_lawful(policy: PolicySet, decision: Decision) -> None:
    assert decision.rung is Rung.WATERFALL
    assert set(decision.rows) == set(policy.rows())
    for key, one in decision.rows.items():
        named = {*one.weights, *one.legs, *(member for leg in one.legs.values() for member in leg)}
        for name in named:
            assert may_serve(policy, policy.policies[key.policy], name, key.model)
            assert decision.draining.get(name, 1.0) > 0
        assert set(one.weights) == set(one.legs)
        assert all(type(weight) is int and weight >= 0 for weight in one.weights.values())
        assert sum(one.weights.values()) == (TOTAL_WEIGHT if one.weights else 0)
        check_nothing_on_the_dead(decision, one)


def check_nothing_on_the_dead(decision: Decision, one: Row) -> None:
    down = {name for name in one.weights if decision.health[name].state is HealthState.DOWN}
    if down != set(one.weights):
        assert all(one.weights[name] == 0 for name in down)


@generous
@given(histories())
def test_weights_are_whole_complete_and_lawful(history: list[tuple[PolicySet, Decision]]) -> None:
    for policy, decision in history:
        check_lawful(policy, decision)


@generous
@given(histories(garbage))
def test_garbage_neither_raises_nor_breaks_a_rule(history: list[tuple[PolicySet, Decision]]) -> None:
    for policy, decision in history:
        check_lawful(policy, decision)
        assert from_json(to_json(decision)) == decision


@generous
@given(histories())
def test_every_weight_has_a_reason(history: list[tuple[PolicySet, Decision]]) -> None:
    for policy, decision in history:
        for key, one in decision.rows.items():
            assert one.reason.endswith(".")
            assert any(note.stage is Stage.SOLVE for note in one.notes)
            for name, weight in one.weights.items():
                assert weight == 0 or f"{name} {weight / TOTAL_WEIGHT:.1%}" in one.reason
            unused = set(policy.policies[key.policy].spec.clusters) - set(one.weights)
            assert unused <= set(one.excluded)


@generous
@given(histories())
def test_weights_are_the_nearest_whole_numbers_of_what_was_meant(history: list[tuple[PolicySet, Decision]]) -> None:
    for _, decision in history:
        for one in decision.rows.values():
            if one.move is Move.NONE and one.changed_at == decision.at == one.moved_at:
                assert all(abs(weight - TOTAL_WEIGHT * one.target[name]) < 1 for name, weight in one.weights.items())


@given(
    st.dictionaries(st.text(min_size=1), st.floats(0, 1), min_size=1).filter(lambda parts: sum(parts.values()) > 1e-6)
)
def test_rounding_is_off_by_less_than_one_and_ignores_order(parts: dict[str, float]) -> None:
    whole = sum(parts.values())
    shares = {name: part / whole for name, part in parts.items()}
    weights = quantise(shares)
    assert sum(weights.values()) == TOTAL_WEIGHT
    assert all(abs(weight - TOTAL_WEIGHT * shares[name]) < 1 for name, weight in weights.items())
    assert weights == quantise(dict(reversed(shares.items())))


def variation(one: Mapping[str, int], other: Mapping[str, int]) -> float:
    return sum(abs(one.get(name, 0) - other.get(name, 0)) for name in {*one, *other}) / 2 / TOTAL_WEIGHT


@generous
@given(histories())
def test_nothing_moves_further_than_a_step_unless_it_must(history: list[tuple[PolicySet, Decision]]) -> None:
    for (before_policy, before), (policy, after) in pairwise(history):
        for key, one in after.rows.items():
            if before_policy is not policy or not before.rows[key].weights:
                continue
            if any(note.stage is Stage.PROJECT for note in one.notes) or set(one.weights) != set(
                before.rows[key].weights
            ):
                continue
            limits = policy.policies[key.policy].spec.limits
            assert variation(before.rows[key].weights, one.weights) <= limits.max_step + len(one.weights) / TOTAL_WEIGHT


def reversed_policy(policy: PolicySet) -> PolicySet:
    return replace(
        policy,
        clusters=backwards(policy.clusters),
        feeds=backwards(policy.feeds),
        groups=backwards(policy.groups),
        residency=backwards(policy.residency),
        policies=backwards(policy.policies),
    )


def reversed_observations(seen: Observations) -> Observations:
    return Observations(
        backwards({name: backwards(by) for name, by in seen.probes.items()}),
        backwards({name: backwards(by) for name, by in seen.load.items()}),
        backwards({name: backwards(by) for name, by in seen.prices.items()}),
    )


def backwards(mapping: Mapping[str, T]) -> dict[str, T]:
    return dict(reversed(list(mapping.items())))


@generous
@given(histories(), st.data())
def test_the_order_in_which_things_are_listed_does_not_matter(
    history: list[tuple[PolicySet, Decision]], data: st.DataObject
) -> None:
    policy, previous = history[-1]
    now = previous.at + 1
    seen = data.draw(observations(policy, now, sane))
    one = decide(policy, seen, Overrides(), previous, now)
    restored = from_json(to_json(previous))
    other = decide(reversed_policy(policy), reversed_observations(seen), Overrides(), restored, now)
    assert to_json(one) == to_json(other)


@generous
@given(histories())
def test_a_decision_survives_json_and_is_named_by_its_content(history: list[tuple[PolicySet, Decision]]) -> None:
    for _, decision in history:
        text = to_json(decision)
        assert from_json(text) == decision
        assert to_json(from_json(text)) == text
        assert decision.id == decision_id(decision)
        assert decision.id != decision_id(replace(decision, at=decision.at + 1))


@generous
@given(fleets(), st.data())
def test_unchanging_inputs_settle_and_then_nothing_is_published(policy: PolicySet, data: st.DataObject) -> None:
    world = World(policy)
    world.rates = {key: data.draw(st.floats(0, 200)) for key in policy.rows()}
    world.prices = {name: data.draw(st.floats(0.01, 5)) for name in policy.clusters}
    # Reports that do not follow the weights: the same inputs, whatever is decided.
    fixed = replace(world.observations(), load=data.draw(observations(policy, 0.0, sane)).load)
    decision = decide(policy, _at(fixed, START), Overrides(), None, START)
    for tick in range(1, 40):
        decision = decide(policy, _at(fixed, START + 30 * tick), Overrides(), decision, START + 30 * tick)
    settled = material_digest(decision)
    for tick in range(40, 50):
        decision = decide(policy, _at(fixed, START + 30 * tick), Overrides(), decision, START + 30 * tick)
        assert material_digest(decision) == settled


def _at(seen: Observations, now: float) -> Observations:
    return Observations(
        {name: {key: replace(one, at=now) for key, one in by.items()} for name, by in seen.probes.items()},
        {name: {key: replace(one, at=now) for key, one in by.items()} for name, by in seen.load.items()},
        {name: {key: replace(one, at=now) for key, one in by.items()} for name, by in seen.prices.items()},
    )


@generous
@given(garbage, st.sampled_from(["price", "time"]))
def test_garbage_in_a_feed_changes_nothing_but_what_uses_it(figure: float, where: str) -> None:
    def world() -> World:
        made = World(
            fleet(
                clusters=(onprem(), cluster(EU, feed="other-prices"), cluster(US, region="us-east")),
                policies=(traffic("mixed"), traffic("apart", clusters=(ONPREM, US))),
                feeds=(feed(), feed("other-prices")),
            ),
            rates={row("mixed"): 200.0, row("apart"): 200.0},
        )
        made.run(120)
        return made

    well, ill = world(), world()
    seen = ill.observations()
    price = Price(ill.now, figure) if where == "price" else Price(figure, 0.5)
    broken = replace(seen, prices={**seen.prices, "other-prices": {EU: price}})
    one = decide(well.policy, seen, Overrides(), well.previous, well.now + 1)
    other = decide(ill.policy, broken, Overrides(), ill.previous, ill.now + 1)
    assert other.rows[row("apart")] == one.rows[row("apart")]
    assert {name: view for name, view in other.clusters.items() if name != EU} == {
        name: view for name, view in one.clusters.items() if name != EU
    }


@generous
@given(histories(), st.data())
def test_a_distrusted_prober_changes_no_weight(history: list[tuple[PolicySet, Decision]], data: st.DataObject) -> None:
    policy, previous = history[-1]
    now = previous.at + 1
    seen = data.draw(observations(policy, now, sane))
    failing = {
        name: {one.key: EndpointProbe(now, 0, 9) for one in each.spec.endpoints}
        for name, each in policy.clusters.items()
    }
    decision = decide(policy, replace(seen, probes=failing, load={}), Overrides(), previous, now)
    if not decision.frozen:
        return
    for key, one in decision.rows.items():
        if key in previous.rows and set(previous.rows[key].weights) == set(one.weights):
            assert one.weights == previous.rows[key].weights


@generous
@given(st.floats(0.01, 100), st.floats(0.1, 5), st.floats(0.1, 5))
def test_the_unit_of_money_does_not_matter(factor: float, eu: float, us: float) -> None:
    def weights(unit: float) -> Mapping[str, int]:
        world = World(fleet(), rates={row(): 300.0})
        world.prices = {EU: eu * unit, US: us * unit}
        return world.run(3).rows[row()].weights

    # Powers of two scale floats exactly, so ties stay ties.
    assert weights(1.0) == weights(2.0 ** round(math.log2(factor)))


@generous
@given(st.floats(0.1, 2), st.floats(0.1, 2), st.floats(1.0, 4))
def test_a_dearer_cluster_is_never_wanted_more(eu: float, us: float, factor: float) -> None:
    def target(price: float) -> float:
        world = World(fleet(), rates={row(): 300.0})
        world.prices = {EU: price, US: us}
        return world.run(3).rows[row()].target[EU]

    assert target(eu * factor) <= target(eu) + 1e-9
