"""What no input may break: the invariants of the engine, over random fleets, histories and garbage.

Small counts run in CI, the same examples each time; ``make test-deep`` runs thirty times as many, other ones each time.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st

from penstock_policies.decision import TOTAL_WEIGHT, Decision, HealthState, Move, Row, Rung, Stage
from penstock_policies.engine import decide
from penstock_policies.engine.quantise import quantise
from penstock_policies.observations import EndpointProbe, Observations, Price
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import PolicySet
from penstock_policies.schema import TrafficPolicy
from penstock_policies.serial import decision_id, from_json, material_digest, to_json
from penstock_policies.words import DataClass, Site
from tests.engine.engine_strategies import examples, fleets, garbage, histories, observations, sane
from tests.engine.engine_world import EU, ONPREM, START, US, World, cluster, feed, fleet, onprem, row, traffic

T = TypeVar("T")


def may_serve(policy: PolicySet, traffic_policy: TrafficPolicy, name: str, model: str) -> bool:
    """The rules, said a third time: restricted data stays on-prem, internal data in the EU where a rule says so."""
    rule = traffic_policy.spec.versions.get(model)
    if rule is not None and policy.clusters[name].spec.model_versions.get(model) not in {rule.stable, rule.canary} - {
        None
    }:
        return False
    one = policy.clusters[name].spec
    klass = traffic_policy.spec.data_class
    if name not in traffic_policy.spec.clusters or (model != "*" and model not in one.models):
        return False
    if klass is DataClass.RESTRICTED and one.site is not Site.ON_PREM:
        return False
    return not ("rule-internal" in policy.residency and klass is DataClass.INTERNAL and one.region == "us-east")


def check_lawful(policy: PolicySet, decision: Decision) -> None:
    assert decision.rung is Rung.OPTIMUM
    assert set(decision.rows) == set(policy.rows())
    for key, one in decision.rows.items():
        named = {*one.weights, *one.legs, *(member for leg in one.legs.values() for member in leg)}
        for name in named:
            assert may_serve(policy, policy.policies[key.policy], name, key.model)
            assert decision.draining.get(name, 1.0) > 0
        assert set(one.weights) == set(one.legs)
        assert bool(one.refusal) is not bool(one.weights)
        assert all(type(weight) is int and weight >= 0 for weight in one.weights.values())
        assert sum(one.weights.values()) == (TOTAL_WEIGHT if one.weights else 0)
        check_nothing_on_the_dead(decision, one)


def check_nothing_on_the_dead(decision: Decision, one: Row) -> None:
    down = {name for name in one.weights if decision.health[name].state is HealthState.DOWN}
    if down != set(one.weights):
        assert all(one.weights[name] == 0 for name in down)


def check_explained(policy: PolicySet, decision: Decision) -> None:
    for key, one in decision.rows.items():
        assert one.reason.endswith(".")
        assert any(note.stage is Stage.SOLVE for note in one.notes)
        for name, weight in one.weights.items():
            assert weight == 0 or f"{name} {weight / TOTAL_WEIGHT:.1%}" in one.reason
        unused = set(policy.policies[key.policy].spec.clusters) - set(one.weights)
        assert unused <= set(one.excluded)


def check_rounded(decision: Decision) -> None:
    for one in decision.rows.values():
        if one.move is Move.NONE and one.changed_at == decision.at == one.moved_at:
            assert all(abs(weight - TOTAL_WEIGHT * one.target[name]) < 1 for name, weight in one.weights.items())


@examples(300)
@given(histories())
def test_weights_are_whole_complete_lawful_explained_and_nearest_to_what_was_meant(
    history: list[tuple[PolicySet, Decision]],
) -> None:
    for policy, decision in history:
        check_lawful(policy, decision)
        check_explained(policy, decision)
        check_rounded(decision)


@examples(300)
@given(histories(garbage))
def test_garbage_neither_raises_nor_breaks_a_rule(history: list[tuple[PolicySet, Decision]]) -> None:
    for policy, decision in history:
        check_lawful(policy, decision)
        assert from_json(to_json(decision)) == decision


@examples(50)
@given(fleets(), st.data())
def test_an_empty_world_is_decided_as_well_as_any(policy: PolicySet, data: st.DataObject) -> None:
    nothing = Observations()
    decision = decide(policy, nothing, Overrides(), None, START)
    check_lawful(policy, decision)
    bare = replace(policy, policies={}, groups=data.draw(st.sampled_from([{}, policy.groups])))
    assert decide(bare, nothing, Overrides(), decision, START + 1).rows == {}


@examples(1000)
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


@examples(60)
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
            step = limits.max_step + limits.load_step
            assert variation(before.rows[key].weights, one.weights) <= step + len(one.weights) / TOTAL_WEIGHT
            if one.moved_at != after.at:
                assert one.weights == before.rows[key].weights, "between two steps nothing moves"


def reversed_policy(policy: PolicySet) -> PolicySet:
    return replace(
        policy,
        clusters=backwards(policy.clusters),
        feeds=backwards(policy.feeds),
        groups=backwards(policy.groups),
        residency=backwards(policy.residency),
        policies=backwards(policy.policies),
        budgets=backwards(policy.budgets),
    )


def reversed_observations(seen: Observations) -> Observations:
    return Observations(
        backwards({name: backwards(by) for name, by in seen.probes.items()}),
        backwards({name: backwards(by) for name, by in seen.load.items()}),
        backwards({name: backwards(by) for name, by in seen.prices.items()}),
        backwards(seen.engines),
        backwards({name: backwards(by) for name, by in seen.carbon.items()}),
        backwards(seen.spend),
    )


def backwards(mapping: Mapping[str, T]) -> dict[str, T]:
    return dict(reversed(list(mapping.items())))


@examples(60)
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


@examples(60)
@given(histories())
def test_a_decision_survives_json_and_is_named_by_its_content(history: list[tuple[PolicySet, Decision]]) -> None:
    for _, decision in history:
        text = to_json(decision)
        assert from_json(text) == decision
        assert to_json(from_json(text)) == text
        assert decision.id == decision_id(decision)
        assert decision.id != decision_id(replace(decision, at=decision.at + 1))


@examples(25)
@given(fleets(), st.data())
def test_unchanging_inputs_settle_and_then_nothing_is_published(policy: PolicySet, data: st.DataObject) -> None:
    world = World(policy)
    world.rates = {key: data.draw(st.floats(0, 200)) for key in policy.rows()}
    world.prices = {name: data.draw(st.floats(0.01, 5)) for name in policy.clusters}
    # Reports that do not follow the weights: the same inputs, whatever is decided. Without failures, as a cluster that
    # fails is tried again and again, ever more seldom.
    loads = {
        region: {name: replace(load, error_rate=0.0, success_rate=None) for name, load in by.items()}
        for region, by in data.draw(observations(policy, 0.0, sane)).load.items()
    }
    fixed = replace(world.observations(), load=loads)
    decision = decide(policy, _at(fixed, START), Overrides(), None, START)
    # Two minutes apart, the period of the schedules that fleets are drawn with: the hour is an input, too.
    for now in (START + 120 * tick for tick in range(1, 40)):
        decision = decide(policy, _at(fixed, now), Overrides(), decision, now)
    settled = material_digest(decision)
    for now in (START + 120 * tick for tick in range(40, 50)):
        decision = decide(policy, _at(fixed, now), Overrides(), decision, now)
        assert material_digest(decision) == settled


def _at(seen: Observations, now: float) -> Observations:
    return Observations(
        {name: {key: replace(one, at=now) for key, one in by.items()} for name, by in seen.probes.items()},
        {name: {key: replace(one, at=now) for key, one in by.items()} for name, by in seen.load.items()},
        {name: {key: replace(one, at=now) for key, one in by.items()} for name, by in seen.prices.items()},
    )


REFUSED = st.sampled_from([math.nan, math.inf, -math.inf, -1.0, 1e300, 0.0])


@examples(40)
@given(REFUSED, st.sampled_from(["price", "time"]))
def test_garbage_in_a_feed_is_as_if_it_had_not_been_read(figure: float, where: str) -> None:
    world = World(
        fleet(
            clusters=(onprem(), cluster(EU, feed="other-prices"), cluster(US, region="us-east")),
            policies=(traffic("mixed"), traffic("apart", clusters=(ONPREM, US))),
            feeds=(feed(), feed("other-prices")),
        ),
        rates={row("mixed"): 200.0, row("apart"): 200.0},
    )
    before = world.run(20)
    seen = world.observations()
    price = Price(world.now, figure) if where == "price" else Price(abs(figure) or math.nan, 0.5)
    unread = decide(world.policy, seen, Overrides(), before, world.now + 1)
    broken = replace(seen, prices={**seen.prices, "other-prices": {EU: price}})
    read = decide(world.policy, broken, Overrides(), before, world.now + 1)
    if where == "price" or not math.isfinite(price.at) or price.at > world.now + 60:
        assert read.rows == unread.rows
        assert read.clusters == unread.clusters


@examples(60)
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


@examples(40)
@given(st.integers(-6, 6), st.floats(0.1, 5), st.floats(0.1, 5))
def test_the_unit_of_money_does_not_matter(power: int, eu: float, us: float) -> None:
    def weights(unit: float) -> Mapping[str, int]:
        clusters = (onprem(price=0.02 * unit), cluster(EU), cluster(US, region="us-east"))
        world = World(fleet(clusters=clusters), rates={row(): 300.0})
        world.prices = {EU: eu * unit, US: us * unit}
        return world.run(3).rows[row()].weights

    # Powers of two scale floats exactly, so ties stay ties.
    assert weights(1.0) == weights(2.0**power)


@examples(40)
@given(st.floats(0.1, 2), st.floats(0.1, 2), st.floats(1.0, 4))
def test_a_dearer_cluster_is_never_wanted_more(eu: float, us: float, factor: float) -> None:
    def target(price: float) -> float:
        world = World(fleet(), rates={row(): 300.0})
        world.prices = {EU: price, US: us}
        return world.run(3).rows[row()].target[EU]

    assert target(eu * factor) <= target(eu) + 1e-6
