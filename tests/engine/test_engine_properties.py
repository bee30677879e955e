"""What no input may break: the invariants of the engine, over random fleets, histories and garbage.

Small counts run in CI, the same examples each time; ``make test-deep`` runs thirty times as many, other ones each time.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock_policies.decision import TOTAL_WEIGHT, Decision, Move, Stage
from penstock_policies.engine import decide
from penstock_policies.engine.quantise import quantise
from penstock_policies.observations import EndpointProbe, Observations
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import PolicySet
from penstock_policies.serial import decision_id, from_json, material_digest, to_json
from penstock_policies.words import Site, Vantage
from tests.engine.engine_checks import check_lawful
from tests.engine.engine_strategies import Moment, examples, fleets, histories, journeys, made_at, observations, sane
from tests.engine.engine_world import START, World

T = TypeVar("T")


CARRIED = re.compile(
    r"(?P<name>\S+) (?P<share>[\d.]+)% \((?:(?P<home>on-prem), )?(?P<price>[^ ,]+) USD/Mtok"
    r"(?:, full by plan at (?P<full>\d+) in flight)?\)"
)
"""How a sentence tells of a cluster that carries some of a row."""
LED_TO = re.compile(r"on the way to (?P<parts>[^;]+?) (?:to |back |by )")


def check_explained(policy: PolicySet, decision: Decision) -> None:
    """Every weight has its sentence, and every figure in the sentence is one that can be worked out again."""
    for key, one in decision.rows.items():
        assert one.reason.endswith(".")
        assert any(note.stage is Stage.SOLVE for note in one.notes)
        assert set(policy.policies[key.policy].spec.clusters) - set(one.weights) <= set(one.excluded)
        if not one.weights:
            whys = ", ".join(f"{name} {why}" for name, why in sorted(one.excluded.items()))
            assert one.reason == f"Refused: {whys}."
            continue
        assert one.reason.startswith(f"{one.demand:.1f} requests/s: ")
        told = {match["name"]: match for match in CARRIED.finditer(one.reason)}
        assert set(told) == {name for name, weight in one.weights.items() if weight > 0}
        for name, match in told.items():
            check_told(policy, decision, match, one.weights[name])
        for way in LED_TO.finditer(one.reason):
            for name, share in re.findall(r"(\S+) ([\d.]+)%", way["parts"]):
                assert float(share) == pytest.approx(one.target[name] * 100, abs=0.0501)


def check_told(policy: PolicySet, decision: Decision, match: re.Match[str], weight: int) -> None:
    view = decision.clusters[match["name"]]
    assert float(match["share"]) == pytest.approx(weight / 100, abs=0.0501)
    assert (match["home"] is not None) is (policy.clusters[match["name"]].spec.site is Site.ON_PREM)
    assert float(match["price"]) == pytest.approx(view.price, rel=1e-3)
    if match["full"] is not None:
        assert float(match["full"]) == pytest.approx(view.capacity, abs=0.5)
        assert view.planned >= 0.98 * view.capacity


def check_rounded(decision: Decision) -> None:
    for one in decision.rows.values():
        if one.move is Move.NONE and one.changed_at == decision.at == one.moved_at:
            assert all(abs(weight - TOTAL_WEIGHT * one.target[name]) < 1 for name, weight in one.weights.items())


@examples(150)
@given(histories())
def test_weights_are_whole_complete_lawful_explained_and_nearest_to_what_was_meant(
    history: list[tuple[PolicySet, Decision]],
) -> None:
    for policy, decision in history:
        check_lawful(policy, decision)
        check_explained(policy, decision)
        check_rounded(decision)


@examples(150)
@given(journeys())
def test_what_is_shown_of_a_cluster_and_told_of_a_row_is_what_was_seen(journey: list[Moment]) -> None:
    unwell: set[str] = set()
    for moment in journey:
        check_explained(moment.policy, moment.decision)
        unwell |= {name for name, health in moment.decision.health.items() if health.unhealthy_endpoints}
        for name, view in moment.decision.clusters.items():
            spec, seen = moment.policy.clusters[name].spec, moment.seen
            assert view.in_flight == pytest.approx(sum(by[name].in_flight for by in seen.load.values() if name in by))
            if view.price_source == "feed cloud-prices":
                assert view.price == seen.prices["cloud-prices"][name].usd_per_million_tokens
                assert view.price_age == 0.0
            if view.price_source == "policy":
                assert view.price == spec.cost.usd_per_million_tokens
            counted_on = view.trim * (spec.spot.confidence if spec.spot is not None else 1.0)
            most = spec.capacity.concurrency * counted_on * (1 - spec.capacity.headroom)
            assert view.capacity <= most * (1 + 1e-9)
            if name not in unwell and "SLO" not in view.limited_by:
                assert view.capacity == pytest.approx(most), view.limited_by


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
        rates=backwards({name: backwards(by) for name, by in seen.rates.items()}),
        edge_probes=backwards({name: backwards(by) for name, by in seen.edge_probes.items()}),
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
    # Reports that do not follow the weights: the same inputs, whatever is decided. Without failures and late first
    # tokens, as a cluster that fails is tried again and again, ever more seldom.
    loads = {
        region: {name: replace(load, error_rate=0.0, success_rate=None, ttft_p95=None) for name, load in by.items()}
        for region, by in data.draw(observations(policy, 0.0, sane)).load.items()
    }
    fixed = replace(world.observations(), load=loads)
    decision = decide(policy, made_at(fixed, START), Overrides(), None, START)
    # Two minutes apart, the period of the schedules that fleets are drawn with: the hour is an input, too.
    for now in (START + 120 * tick for tick in range(1, 40)):
        decision = decide(policy, made_at(fixed, now), Overrides(), decision, now)
    settled = material_digest(decision)
    for now in (START + 120 * tick for tick in range(40, 50)):
        decision = decide(policy, made_at(fixed, now), Overrides(), decision, now)
        assert material_digest(decision) == settled


@examples(40)
@given(histories(), st.data())
def test_a_distrusted_prober_changes_no_weight(history: list[tuple[PolicySet, Decision]], data: st.DataObject) -> None:
    policy, previous = history[-1]
    now = previous.at + 1
    seen = data.draw(observations(policy, now, sane))
    failing = {
        name: {one.key: EndpointProbe(now, 0, 9) for one in each.spec.endpoints}
        for name, each in policy.clusters.items()
        if each.spec.health.vantage is Vantage.CONTROL_PLANE
    }
    # Nor does anybody else tell anything: what the edges see of the clusters they probe is believed all the same.
    alone = replace(seen, probes=failing, load={}, edge_probes={})
    decision = decide(policy, alone, Overrides(), previous, now)
    if not decision.frozen:
        return
    for key, one in decision.rows.items():
        if key in previous.rows and set(previous.rows[key].weights) == set(one.weights):
            assert one.weights == previous.rows[key].weights
