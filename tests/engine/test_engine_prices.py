"""Which price the engine believes."""

import math

import pytest

from penstock_policies.decision import Decision
from penstock_policies.engine import decide
from penstock_policies.observations import Observations, Price
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import PolicySet
from tests.engine.engine_world import EU, START, US, cluster, feed, fleet, onprem


def shown(
    price: float,
    *,
    policy: PolicySet | None = None,
    previous: Decision | None = None,
    now: float = START,
    at: float | None = None,
) -> Decision:
    seen = Observations(prices={"cloud-prices": {EU: Price(now if at is None else at, price)}})
    return decide(policy or fleet(), seen, Overrides(), previous, now)


def whys(decision: Decision) -> list[object]:
    return [note.fields["why"] for note in decision.notes if note.message == "price refused"]


def test_a_plausible_price_is_used_with_its_source_and_age() -> None:
    view = shown(0.9, now=START, at=START - 30).clusters[EU]
    assert (view.price, view.price_source, view.price_age) == (0.9, "feed cloud-prices", 30)


@pytest.mark.parametrize("price", [math.nan, math.inf, -math.inf, -0.1, 0.0, 1e9])
def test_an_absurd_price_is_refused_and_the_last_good_one_kept(price: float) -> None:
    good = shown(0.9)
    decision = shown(price, previous=good, now=START + 60)
    view = decision.clusters[EU]
    assert (view.price, view.price_age) == (0.9, 60)
    assert len(whys(decision)) == 1


@pytest.mark.parametrize("at", [math.nan, math.inf, START + 31])
def test_a_price_from_the_future_is_refused(at: float) -> None:
    decision = shown(0.5, previous=shown(0.9), now=START, at=at)
    assert decision.clusters[EU].price == 0.9


def test_a_clock_a_little_ahead_is_forgiven() -> None:
    view = shown(0.5, now=START, at=START + 20).clusters[EU]
    assert (view.price, view.price_age) == (0.5, 0.0)


def test_a_free_price_is_believed_where_the_policy_declares_it() -> None:
    policy = fleet(clusters=(onprem(), cluster(EU, price=0.0), cluster(US, region="us-east")))
    assert shown(0.0, policy=policy).clusters[EU].price_source == "feed cloud-prices"


@pytest.mark.parametrize("jump", [1000.0, 11.0, 0.05, 0.0009])
def test_a_wild_jump_is_believed_only_once_it_has_lasted_as_long_as_a_price_may_age(jump: float) -> None:
    decision = shown(1.0)
    now = START
    while now < START + 600:
        decision = shown(jump, previous=decision, now=now)
        assert decision.clusters[EU].price == 1.0
        now += 60
    decision = shown(jump, previous=decision, now=now)
    assert decision.clusters[EU].price == jump


def test_the_first_price_of_a_feed_is_held_against_what_the_policy_declares() -> None:
    policy = fleet(clusters=(onprem(), cluster(EU, price=1.0), cluster(US, region="us-east")))
    mixed_up = shown(0.001, policy=policy)
    assert (mixed_up.clusters[EU].price, mixed_up.clusters[EU].price_source) == (1.0, "policy")
    assert any(note.fields.get("why") == "too far from the declared price" for note in mixed_up.notes)
    mended = shown(1.2, policy=policy, previous=mixed_up, now=START + 5)
    assert mended.clusters[EU].price == 1.2
    persisting = shown(0.001, policy=policy, previous=mixed_up, now=START + 601)
    assert persisting.clusters[EU].price == 0.001


def test_a_jump_that_goes_away_leaves_no_doubt_behind() -> None:
    decision = shown(1000.0, previous=shown(1.0), now=START + 1)
    assert decision.memory.doubts["cloud-prices"] == {EU: (1000.0, START + 1)}
    decision = shown(1.1, previous=decision, now=START + 2)
    assert decision.memory.doubts["cloud-prices"] == {}
    assert decision.clusters[EU].price == 1.1


def test_ordinary_changes_are_believed_at_once() -> None:
    assert shown(3.0, previous=shown(1.0), now=START + 1).clusters[EU].price == 3.0


def test_a_stale_price_gives_way_to_a_declared_one() -> None:
    policy = fleet(clusters=(onprem(), cluster(EU, price=1.5), cluster(US, region="us-east")))
    later = decide(policy, Observations(), Overrides(), shown(0.9, policy=policy), START + 601)
    assert (later.clusters[EU].price, later.clusters[EU].price_source) == (1.5, "policy")


def test_an_unknown_price_is_taken_for_the_dearest_known() -> None:
    decision = shown(0.9)
    assert decision.clusters[US].price == 0.9
    assert decision.clusters[US].price_source == "unknown, taken for the dearest"
    assert any(note.fields.get("cluster") == US for note in decision.notes)


def test_prices_of_feeds_and_keys_no_longer_used_are_forgotten() -> None:
    policy = fleet(clusters=(onprem(),), policies=(fleet().policies["records"],), feeds=(feed(),))
    later = decide(policy, Observations(), Overrides(), shown(0.9), START + 1)
    assert later.memory.prices == {"cloud-prices": {}}
