"""The optimum against references that share nothing with it: an exact simplex, a grid of all plans, the waterfall.

Plans are measured by ``worth``, which knows the problem alone; the exact simplex checks that too.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from penstock_policies.engine import waterfall
from penstock_policies.engine.optimum import solve
from penstock_policies.engine.plan import Bound, Outcome, Problem, RowPlan, RowProblem, Solution
from penstock_policies.policyset import RowKey
from penstock_policies.words import DataClass
from tests.engine.exact_simplex import least
from tests.engine.plan_builders import asked, problem
from tests.engine.plan_worth import QUEUE, load_of, worth

_NAMES = ("a", "b", "c")
_CLOSE = 1e-4
"""Merit a second: the tie-break between equals is far below, every difference these problems hold far above."""


@st.composite
def _row(draw: st.DrawFn, name: str, *, rules: bool) -> RowProblem:
    clusters = tuple(draw(st.permutations(_NAMES))[: draw(st.integers(1, 3))])
    merits = st.integers(0, 20).map(lambda step: step / 20)
    held_shares = draw(st.lists(st.integers(0, 4), min_size=len(clusters), max_size=len(clusters)))
    whole = sum(held_shares)
    facts = {
        "clusters": clusters,
        "demand": float(draw(st.integers(1, 12))),
        "work": {one: draw(st.sampled_from((0.5, 1.0, 2.0, 4.0))) for one in clusters},
        "merit": {one: draw(merits) for one in clusters},
        "incumbent": {one: part / whole for one, part in zip(clusters, held_shares, strict=True)} if whole else {},
        "move_merit": draw(st.sampled_from((0.0, 0.03, 0.1))),
        "data_class": draw(st.sampled_from(DataClass)),
    }
    if rules:
        member = frozenset({draw(st.sampled_from(clusters))})
        floor, ceiling = sorted(draw(st.tuples(st.integers(0, 8), st.integers(0, 8))))
        facts |= {
            "tier": {one: draw(st.integers(0, 2)) for one in clusters},
            "slow": frozenset(one for one in clusters if draw(st.integers(0, 4)) == 0),
            "bounds": (Bound(member, floor / 8, ceiling / 8, "bound"),) if draw(st.booleans()) else (),
        }
    return asked(name, **facts)


@st.composite
def problems(draw: st.DrawFn, *, most: int = 3, rules: bool = False) -> Problem:
    rows = [draw(_row(f"p{number}", rules=rules)) for number in range(draw(st.integers(1, most)))]
    capacity = {name: float(draw(st.integers(1, 30))) for name in _NAMES}
    return problem(*rows, capacity=capacity)


def _plan(shares: Mapping[str, float]) -> RowPlan:
    return RowPlan(shares, Outcome.PLANNED)


def _exact(case: Problem) -> float | None:
    """Write the same problem anew, piece by piece, and have the exact simplex solve it."""
    columns: list[tuple[float, dict[int, float]]] = []
    right: list[float] = [row.demand for row in case.rows] + [0.0] * len(_NAMES)

    def limited(cost: float, entries: dict[int, float], width: float) -> None:
        # A bound as a row of its own: the column and its slack sum to the width.
        right.append(width)
        columns.append((cost, {**entries, len(right) - 1: 1.0}))
        columns.append((0.0, {len(right) - 1: 1.0}))

    heaviest = {
        name: max((row.work[name] for row in case.rows if name in row.clusters), default=1.0) for name in _NAMES
    }
    for number, row in enumerate(case.rows):
        for name in row.clusters:
            entries = {number: 1.0, len(case.rows) + _NAMES.index(name): row.work[name]}
            limited(row.merit[name], entries, row.demand * row.incumbent.get(name, 0.0))
            columns.append((row.merit[name] + row.move_merit, entries))
    for at, name in enumerate(_NAMES):
        for part, price in QUEUE:
            limited(price / heaviest[name], {len(case.rows) + at: -1.0}, part * case.capacity[name])
    rows = [[entries.get(number, 0.0) for _, entries in columns] for number in range(len(right))]
    found = least([cost for cost, _ in columns], rows, right)
    return None if found is None else float(found)


@settings(max_examples=60, deadline=None)
@given(problems(most=2))
def test_it_agrees_with_an_exact_simplex(case: Problem) -> None:
    exact = _exact(case)
    found = solve(case)
    if exact is None:
        assert found.overload
        return
    assert not found.overload
    assert found.objective == pytest.approx(exact, abs=_CLOSE)
    assert worth(case, found.plans) == pytest.approx(exact, abs=_CLOSE)


def _rank(case: Problem, plans: Mapping[RowKey, RowPlan]) -> tuple[float, ...]:
    """Measure what a plan breaks, the most important first: slow requests, bounds, tiers, merit."""
    slow = bounds = tiers = 0.0
    for row in case.rows:
        shares = plans[row.key].shares
        if not row.slow >= set(row.clusters):
            slow += row.demand * sum(shares.get(name, 0.0) for name in row.slow)
        for bound in row.bounds:
            got = sum(shares.get(name, 0.0) for name in bound.clusters)
            bounds += row.demand * max(0.0, bound.floor - got, got - bound.ceiling)
        ranks = {tier: rank for rank, tier in enumerate(sorted(set(row.tier.values())))}
        tiers += row.demand * sum(ranks[row.tier[name]] * shares.get(name, 0.0) for name in row.clusters)
    return slow, bounds, tiers, worth(case, plans)


def _better(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether ``one`` comes before ``other``, beyond rounding, level by level."""
    for mine, yours in zip(one, other, strict=True):
        if abs(mine - yours) > _CLOSE:
            return mine < yours
    return False


def _fits(case: Problem, plans: Mapping[RowKey, RowPlan]) -> bool:
    return all(load <= case.capacity[name] * (1 + 1e-6) for name, load in load_of(case, plans).items())


def _grid(row: RowProblem, parts: int) -> list[RowPlan]:
    sizes = itertools.product(range(parts + 1), repeat=len(row.clusters))
    return [
        _plan({name: size / parts for name, size in zip(row.clusters, each, strict=True)})
        for each in sizes
        if sum(each) == parts
    ]


@settings(max_examples=80, deadline=None)
@given(problems(most=2, rules=True))
def test_no_plan_of_a_grid_of_all_plans_is_better(case: Problem) -> None:
    found = solve(case)
    mine = _rank(case, found.plans)
    choices = [_grid(row, 8) for row in case.rows]
    lawful = False
    for chosen in itertools.product(*choices):
        plans = {row.key: plan for row, plan in zip(case.rows, chosen, strict=True)}
        if _fits(case, plans):
            lawful = True
            theirs = _rank(case, plans)
            assert not _better(theirs, mine), (theirs, mine, plans)
    if lawful:
        assert not found.overload
        assert _fits(case, found.plans)


@settings(max_examples=200, deadline=None)
@given(problems(most=6))
def test_it_is_never_worse_than_the_waterfall(case: Problem) -> None:
    found, greedy = solve(case), waterfall.solve(case)
    beyond = sum(found.overload.values())
    if _fits(case, greedy.plans):
        assert beyond == 0
        assert found.objective <= worth(case, greedy.plans) + _CLOSE


def _same(one: Solution, other: Solution) -> None:
    assert set(one.plans) == set(other.plans)
    for key, plan in one.plans.items():
        assert dict(plan.shares) == pytest.approx(dict(other.plans[key].shares), abs=1e-6)


@settings(max_examples=100, deadline=None)
@given(problems(most=5, rules=True), st.randoms(use_true_random=False))
def test_the_order_of_rows_and_mappings_never_matters(case: Problem, random: object) -> None:
    def shuffled(row: RowProblem) -> RowProblem:
        names = list(row.clusters)
        random.shuffle(names)  # type: ignore[attr-defined]  # hypothesis types its Random so
        return replace(
            row,
            work={name: row.work[name] for name in names},
            merit={name: row.merit[name] for name in names},
            tier={name: row.tier[name] for name in names},
        )

    rows = [shuffled(row) for row in case.rows]
    random.shuffle(rows)  # type: ignore[attr-defined]  # as above
    capacity = dict(sorted(case.capacity.items(), reverse=True))
    assert solve(replace(case, rows=tuple(rows), capacity=capacity, full=capacity)) == solve(case)


@settings(max_examples=100, deadline=None)
@given(problems(most=4), st.sampled_from((0.01, 0.1, 7.0, 100.0)))
def test_the_unit_of_demand_and_capacity_does_not_matter(case: Problem, factor: float) -> None:
    capacity = {name: room * factor for name, room in case.capacity.items()}
    rows = tuple(replace(row, demand=row.demand * factor) for row in case.rows)
    scaled = solve(replace(case, rows=rows, capacity=capacity, full=capacity))
    assert scaled.objective == pytest.approx(solve(case).objective * factor, rel=1e-4, abs=_CLOSE * max(1.0, factor))


@settings(max_examples=150, deadline=None)
@given(problems(most=4), st.sampled_from(_NAMES), st.sampled_from((0.05, 0.2, 1.0)))
def test_a_cluster_that_gets_dearer_for_a_row_never_gets_more_of_it(case: Problem, name: str, dearer: float) -> None:
    first = case.rows[0]
    assume(name in first.clusters)
    found = solve(case)
    assume(not found.overload)
    raised = replace(first, merit={**first.merit, name: first.merit[name] + dearer})
    after = solve(replace(case, rows=(raised, *case.rows[1:])))
    assert after.plans[first.key].shares[name] <= found.plans[first.key].shares[name] + 1e-6


@settings(max_examples=150, deadline=None)
@given(problems(most=4), st.sampled_from(_NAMES))
def test_more_capacity_never_makes_a_plan_worse(case: Problem, name: str) -> None:
    found = solve(case)
    room = {**case.capacity, name: case.capacity[name] + 5.0}
    more = solve(replace(case, capacity=room, full=room))
    assert sum(more.overload.values()) <= sum(found.overload.values()) + 5.0 * bool(found.overload) + 1e-6
    if not found.overload:
        assert not more.overload
        assert more.objective <= found.objective + _CLOSE


@settings(max_examples=100, deadline=None)
@given(problems(most=4))
def test_slot_prices_bound_what_more_slots_save(case: Problem) -> None:
    """A dual is a subgradient of a convex cost: a step saves no more than its price times the step."""
    found = solve(case)
    assume(not found.overload)
    for name in _NAMES:
        room = {**case.capacity, name: case.capacity[name] + 0.5}
        saved = found.objective - solve(replace(case, capacity=room, full=room)).objective
        if found.slot_merit[name] > 0:
            assert saved <= found.slot_merit[name] * 0.5 + _CLOSE
        less = {**case.capacity, name: case.capacity[name] * 0.99}
        fewer = solve(replace(case, capacity=less, full=less))
        if not fewer.overload:
            lost = fewer.objective - found.objective
            assert lost >= found.slot_merit[name] * 0.01 * case.capacity[name] - _CLOSE
