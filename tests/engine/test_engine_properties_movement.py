"""How far and how often weights move: never further than a step of their kind, not on stale word, and to an end.

What is asked of a move is told from the decisions before and after it; the projection is worked out here anew.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import ceil

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from penstock_policies.decision import TOTAL_WEIGHT, Decision, Move, Row
from penstock_policies.engine import decide
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import PolicySet, RowKey
from penstock_policies.serial import from_json, material_digest, to_json
from tests.engine.engine_strategies import PRICES, Moment, examples, journeys, made_at, plain_fleets
from tests.engine.engine_world import EU, US, World, cluster, fleet, row, traffic

CLASSES = ("public", "internal")


def variation(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    return sum(abs(one.get(name, 0.0) - other.get(name, 0.0)) for name in {*one, *other}) / 2


def shares_of(one: Row) -> dict[str, float]:
    return {name: weight / TOTAL_WEIGHT for name, weight in one.weights.items()}


def rounding(one: Row) -> float:
    """What rounding to whole weights may add to a step."""
    return len(one.weights) / 2 / TOTAL_WEIGHT + 1e-9


def projected(before: Mapping[str, float], one: Row, ceilings: Mapping[str, float]) -> dict[str, float]:
    """The weights in force, less what may no longer be where it is; that goes where the target lacks it."""
    kept = {name: min(before.get(name, 0.0), max(ceilings[name], target)) for name, target in one.target.items()}
    lacks = {name: max(0.0, target - kept[name]) for name, target in one.target.items()}
    freed, whole = 1 - sum(kept.values()), sum(lacks.values())
    return {name: share + (freed * lacks[name] / whole if whole > 0 else 0.0) for name, share in kept.items()}


def allowed(moment: Moment, one: Row) -> float:
    """How far a row may go beyond what it must, by the kind of its move."""
    limits = moment.policy.policies[one.key.policy].spec.limits
    if moment.decision.at not in {one.moved_at, one.cost_moved_at}:
        return 0.0
    either = max(limits.max_step, limits.load_step)
    # A row that arrives does not say what for; one that moves for cost may have done what was urgent just before.
    urgent = {Move.LOAD: limits.load_step, Move.RECOVERY: limits.max_step}.get(one.move, either)
    # What is urgent is taken by itself until the rest has waited its time; then both may go.
    return urgent + (limits.max_step if one.cost_moved_at == moment.decision.at else 0.0)


@examples(200)
@given(journeys(plain_fleets(classes=CLASSES), most=16))
def test_no_row_goes_further_than_a_step_of_its_kind_beyond_what_it_must(journey: list[Moment]) -> None:
    for moment in journey[1:]:
        assert moment.previous is not None
        decision = moment.decision
        ramping = {name for name, factor in decision.draining.items() if 0 < factor < 1}
        for key, one in decision.rows.items():
            before = moment.previous.rows[key]
            if not before.weights or not one.weights or ramping & set(one.weights):
                continue
            here = projected(shares_of(before), one, {name: decision.health[name].ceiling for name in one.weights})
            moved = variation(here, shares_of(one))
            assert moved <= allowed(moment, one) + rounding(one), (key, one.move, here, one.weights)


@st.composite
def calm_journeys(draw: st.DrawFn) -> list[Moment]:
    """So little traffic that nothing is ever full, everybody well: only prices change."""
    policy = draw(plain_fleets())
    world = World(policy, prices={name: draw(PRICES) for name in policy.clusters})
    world.rates = dict.fromkeys(policy.rows(), 0.5)
    moments = []
    for elapsed, whose, price in draw(
        st.lists(st.tuples(st.sampled_from([1.0, 5.0, 31.0]), st.integers(0, 3), PRICES), min_size=4, max_size=16)
    ):
        world.now += elapsed
        names = sorted(world.prices)
        world.prices[names[whose % len(names)]] = price
        seen, previous = world.observations(), world.previous
        decision = world.previous = decide(policy, seen, Overrides(), previous, world.now)
        moments.append(Moment(policy, seen, Overrides(), previous, decision))
    return moments


@examples(150)
@given(calm_journeys())
def test_moves_for_merit_keep_to_the_small_step_and_its_dwell_however_large_the_one_for_load(
    journey: list[Moment],
) -> None:
    moves: list[float] = []
    for moment in journey[1:]:
        assert moment.previous is not None
        (key,) = moment.decision.rows
        before, after = moment.previous.rows[key], moment.decision.rows[key]
        limits = moment.policy.policies[key.policy].spec.limits
        moved = variation(shares_of(before), shares_of(after))
        assert moved <= limits.max_step + rounding(after)
        if before.weights != after.weights:
            moves.append(moment.decision.at)
            assert after.move in {Move.COST, Move.NONE}
        assert all(later - earlier >= limits.min_dwell for earlier, later in pairwise(moves))


@examples(60)
@given(journeys())
def test_deciding_after_a_restart_is_deciding_without_one_all_along(journey: list[Moment]) -> None:
    restored: Decision | None = None
    for moment in journey:
        decision = decide(moment.policy, moment.seen, moment.overrides, restored, moment.decision.at)
        text = to_json(decision)
        assert text == to_json(moment.decision)
        restored = from_json(text)


@st.composite
def settled(draw: st.DrawFn, classes: Sequence[str] = CLASSES) -> World:
    """Some traffic, and weights that had time to fit it; mostly there is more than the best cluster carries."""
    policy = draw(plain_fleets(classes=classes))
    world = World(policy, prices={name: draw(PRICES) for name in policy.clusters})
    world.rates = {key: draw(st.sampled_from([0.5, 20.0, 100.0, 400.0])) for key in policy.rows()}
    world.run(24 * 30, step=30)
    return world


def check_held(before: Decision, after: Decision) -> None:
    """Nobody wants to be elsewhere than before; who was on the way there may arrive."""
    for key, one in after.rows.items():
        was = before.rows[key]
        assert one.demand == pytest.approx(was.demand, rel=1e-6)
        assert dict(one.target) == pytest.approx(dict(was.target), abs=1e-6)
        assert variation(one.target, shares_of(one)) <= variation(was.target, shares_of(was)) + rounding(one)


@examples(40)
@given(settled(), st.sampled_from([11.0, 60.0, 700.0, 86_400.0]), st.integers(1, 4))
def test_nothing_moves_on_a_snapshot_that_is_stale_as_a_whole(world: World, age: float, times: int) -> None:
    seen, before = world.observations(), world.previous
    assert before is not None
    decision = before
    for tick in range(times):
        decision = decide(world.policy, seen, Overrides(), decision, world.now + age + tick)
        assert {key: one.weights for key, one in decision.rows.items()} == {
            key: one.weights for key, one in before.rows.items()
        }
        assert {key: one.demand for key, one in decision.rows.items()} == pytest.approx(
            {key: one.demand for key, one in before.rows.items()}
        )
        assert decision.frozen


@examples(40)
@given(settled(), st.sampled_from([11.0, 60.0, 700.0]))
def test_nothing_moves_for_load_while_nobody_reports_any(world: World, silence: float) -> None:
    before = world.previous
    assert before is not None
    world.silent = True
    start = world.now
    while world.now < start + silence:
        check_held(before, world.tick(silence / 5))


@examples(60)
@given(settled(CLASSES[:1]), st.lists(PRICES, min_size=4, max_size=4), st.integers(0, 3))
def test_nothing_moves_for_money_while_a_price_is_stale(world: World, prices: list[float], whose: int) -> None:
    """All other prices change then: there might be something to save, and nobody can know."""
    before = world.previous
    assert before is not None
    # A cluster that comes to carry more again is a reason of its own to move.
    assume(not before.memory.trim)
    names = sorted(world.prices)
    stale = names[whose % len(names)]
    world.now += 601  # beyond the feed's maxAge
    world.priced_at = {stale: world.now - 601}
    world.prices = {**dict(zip(names, prices, strict=False)), stale: world.prices[stale]}
    for _ in range(4):
        world.now += 31
        decision = world.previous = decide(world.policy, world.observations(), Overrides(), world.previous, world.now)
        assert all(one.move is not Move.COST for one in decision.rows.values())
        check_held(before, decision)


@examples(40)
@given(plain_fleets(), st.lists(PRICES, min_size=8, max_size=8), st.sampled_from([0.01, 0.3, 0.6]))
def test_after_a_change_weights_settle_in_as_many_dwells_as_steps_are_needed(
    policy: PolicySet, prices: list[float], part: float
) -> None:
    (key,) = policy.rows()
    limits = policy.policies[key.policy].spec.limits
    names = sorted(policy.clusters)
    rate = part * sum(one.spec.capacity.concurrency for one in policy.clusters.values())
    world = World(policy, prices=dict(zip(names, prices[:4], strict=False)), rates={key: rate})
    dwell = max(limits.min_dwell, 5.0)
    step = min(limits.max_step, limits.load_step)
    world.run((ceil(1 / step) + 6) * dwell, step=dwell)
    # What a start in the wrong place has taught about capacity is unlearnt in its own time.
    assume(world.previous is not None and not world.previous.memory.trim)
    # The same reports from here on, whatever is decided; only the prices are other ones.
    world.prices = dict(zip(names, prices[4:], strict=False))
    seen, began, decision = world.observations(), world.now, world.previous
    digests: list[str] = []
    for tick in range(1, ceil(1 / step) + 12):
        now = began + tick * dwell
        decision = decide(policy, made_at(seen, now), Overrides(), decision, now)
        digests.append(material_digest(decision))
    assert decision is not None
    assert len(set(digests[ceil(1 / step) + 1 :])) == 1, "settled, and nothing is published any more"
    one = decision.rows[key]
    assert variation(one.target, shares_of(one)) < limits.dead_band * 3 + rounding(one)


NOISE = st.lists(st.floats(-0.6, 0.6), min_size=1, max_size=6)
"""One round of what is added to a price, in parts of it; it goes round for ever, each value for some ticks."""
TICK = 20.0


def turns(history: Sequence[Decision], key: RowKey, name: str) -> list[float]:
    """When the share of a cluster turned from rising to falling or back."""
    found: list[float] = []
    rising: bool | None = None
    for earlier, later in pairwise(history):
        change = later.rows[key].weights[name] - earlier.rows[key].weights[name]
        if abs(change) < 10:
            continue  # a thousandth: the rounding of a bystander
        if rising is not None and rising is not (change > 0):
            found.append(later.at)
        rising = change > 0
    return found


@examples(12)
@given(st.tuples(NOISE, NOISE, NOISE), st.sampled_from([1, 2, 5]), st.integers(1, 5), st.sampled_from(["10%", "50%"]))
def test_no_noise_of_prices_turns_a_share_more_often_than_its_budget(
    noise: tuple[list[float], ...], period: int, reversals: int, max_step: str
) -> None:
    """An hour. The worst noise is a square wave as slow as the dwell: every step may go, and turns back."""
    limits = {"maxStep": max_step, "minDwell": "0s", "reversals": reversals}
    names = (EU, US, "cloud-eu-north")
    clouds = [cluster(name, region=name.removeprefix("cloud-")) for name in names]
    world = World(
        fleet(clusters=clouds, policies=(traffic(clusters=names, more={"limits": limits}),)), rates={row(): 5.0}
    )
    history: list[Decision] = []
    for tick in range(round(3600 / TICK)):
        for name, wave in zip(names, noise, strict=True):
            world.prices[name] = 1 + wave[tick // period % len(wave)]
        history.append(world.tick(TICK))
    for name in names:
        times = turns(history, row(), name)
        # After its budget a share is held for 60 s, then 120, then 240: three turns more are all that ten minutes hold.
        assert all(later - first > 600 for first, later in zip(times, times[reversals + 3 :], strict=False)), times
