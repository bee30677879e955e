"""Small problems with every feature at once, made by chance that repeats itself. Shared by the optimum's tests.

Ceilings, held proportions, spread, moves, bounds, tiers, slow clusters, losses to survive, budgets with restricted
rows, and capacities from plenty to far too little.
"""

import random
from collections.abc import Iterator

from penstock_policies.engine.plan import Bound, BudgetLimit, Problem, RowProblem
from penstock_policies.policyset import RowKey
from penstock_policies.words import DataClass, Survive
from tests.engine.plan_builders import asked, problem

_NAMES = ("a", "b", "c", "d")


def _some(chance: random.Random, names: tuple[str, ...], odds: float) -> frozenset[str]:
    return frozenset(name for name in names if chance.random() < odds)


def _parts(chance: random.Random, names: tuple[str, ...]) -> dict[str, float]:
    sizes = {name: chance.randint(0, 4) for name in names}
    return {name: size / sum(sizes.values()) for name, size in sizes.items()} if sum(sizes.values()) else {}


def _bounds(chance: random.Random, names: tuple[str, ...]) -> Iterator[Bound]:
    for number in range(chance.choice((0, 0, 1, 2))):
        floor, ceiling = sorted((chance.randint(0, 8), chance.randint(0, 8)))
        members = frozenset(chance.sample(names, chance.randint(1, len(names))))
        yield Bound(members, floor / 8, ceiling / 8, f"bound {number}")


def _row(chance: random.Random, name: str, seconds: dict[str, float]) -> RowProblem:
    clusters = tuple(chance.sample(_NAMES, chance.randint(1, len(_NAMES))))
    size = chance.choice((0.5, 1.0, 3.0))
    incumbent = _parts(chance, clusters)
    return asked(
        name,
        clusters=clusters,
        data_class=chance.choice(list(DataClass)),
        demand=float(chance.randint(1, 12)),
        work={one: size * seconds[one] for one in clusters},
        merit={one: round(chance.random(), 2) for one in clusters},
        cost={one: chance.randint(0, 9) / 1000 for one in clusters},
        tier={one: chance.choice((0, 0, 1, 2)) for one in clusters},
        slow=_some(chance, clusters, chance.choice((0.0, 0.3))),
        ceiling={one: chance.choice((0.0, 0.05, 0.3, 0.8)) for one in _some(chance, clusters, chance.choice((0, 0.3)))},
        incumbent=incumbent,
        bounds=tuple(_bounds(chance, clusters)),
        held=_some(chance, clusters, chance.choice((0.0, 0.0, 0.8))) if incumbent else frozenset(),
        spread=chance.choice((0.0, 0.0, 0.4, 1.0)),
        move_merit=chance.choice((0.0, 0.03, 0.1)),
        survive=chance.choice(list(Survive)),
    )


def everything(seed: int) -> Problem:
    """A problem with all features, small enough to be stated naively."""
    chance = random.Random(seed)  # noqa: S311 chance that repeats itself, not secrets
    seconds = {name: chance.choice((0.5, 1.0, 2.0)) for name in _NAMES}
    rows = [_row(chance, f"p{number}", seconds) for number in range(chance.randint(1, 4))]
    scale = chance.choice((0.3, 1.0, 1.0, 3.0))
    full = {name: round(scale * chance.randint(2, 30), 2) for name in _NAMES}
    capacity = {name: round(room * chance.choice((0.7, 0.85, 1.0)), 2) for name, room in full.items()}
    budgets = tuple(
        BudgetLimit(f"budget {number}", chance.randint(0, 60) / 1000, _members(chance, rows))
        for number in range(chance.choice((0, 0, 1, 2)))
    )
    return problem(*rows, capacity=capacity, full=full, spot=_some(chance, _NAMES, 0.4), budgets=budgets)


def _members(chance: random.Random, rows: list[RowProblem]) -> dict[RowKey, frozenset[str]]:
    return {row.key: _some(chance, row.clusters, 0.7) for row in rows if chance.random() < 0.8}
