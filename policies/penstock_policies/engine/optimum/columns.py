"""The columns that place requests: for every group and each of its clusters, the share in pieces of rising price.

A share costs its merit; beyond the incumbent share the move is charged as well, and beyond the share in proportion to
capacity the objective's part for spread. The price of a share is convex so, and a minimum fills its pieces in order.
Columns run in requests a second, which keeps their costs, merit a request, within one order of magnitude.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from penstock_policies.engine.optimum.groups import Group
from penstock_policies.engine.optimum.simplex import Flags, Floats, Ints

TIE = 1e-6
"""Merit by which a cluster is worse than the one preferred before it: decides between equals, and nothing else."""
_HELD = 0.01
"""Merit charged for leaving held proportions, above the worst of their clusters: nothing but room makes up for it."""
_NARROW = 1e-9


@dataclass(frozen=True, slots=True)
class Bundle:
    """Requests that go to a group's held clusters in the proportions they have."""

    group: int
    parts: tuple[tuple[int, float], ...]
    """Position in the group's clusters, and its part; parts sum to 1."""
    width: float
    merit: float


@dataclass(frozen=True, slots=True)
class Placements:
    """Arrays along the columns, group after group, and the bundles, whose columns come after them."""

    group: Ints
    position: Ints
    cluster: Ints
    pair: Ints
    """Index of (group, cluster), counting through all groups."""
    width: Floats
    """Greatest value, in requests a second."""
    merit: Floats
    work: Floats
    cost: Floats
    tier: Floats
    slow: Flags
    bundles: tuple[Bundle, ...]
    first_pair: Ints
    """Group to its first pair; one more at the end."""
    heaviest: Floats
    """Cluster number to the most slot-seconds that a request of any group takes there."""


def placements(
    groups: Sequence[Group], demand: Sequence[float], capacity: Mapping[str, float], number: Mapping[str, int]
) -> Placements:
    """Lay out the columns of groups that carry ``demand``. ``number`` numbers the clusters."""
    sizes = np.array([len(group.clusters) for group in groups], dtype=np.int32)
    first = np.concatenate(([0], np.cumsum(sizes))).astype(np.int32)
    pairs = int(first[-1])
    of_group = np.repeat(np.arange(len(groups), dtype=np.int32), sizes)
    position = np.arange(pairs, dtype=np.int32) - first[of_group]

    def along(parts: Sequence[Sequence[float]]) -> Floats:
        return np.fromiter(chain.from_iterable(parts), np.float64, pairs)

    bundles, merit, incumbent = _unheld(groups, demand)
    merits = along(merit) + TIE * position
    ceiling = along([group.ceiling for group in groups])
    moved = np.array([group.move_merit for group in groups])[of_group]
    spread = np.array([group.spread for group in groups])[of_group]
    kept = np.minimum(np.where(moved > 0, along(incumbent), 1.0), ceiling)
    even = np.minimum(np.where(spread > 0, along([_even(group, capacity) for group in groups]), 1.0), ceiling)
    least, most = np.minimum(kept, even), np.maximum(kept, even)
    widths = np.stack((least, most - least, ceiling - most), axis=1)
    merits3 = np.stack((merits, merits + np.where(kept <= even, moved, spread), merits + moved + spread), axis=1)
    column = np.flatnonzero(widths.ravel() > _NARROW)
    pair = (column // 3).astype(np.int32)
    group = of_group[pair]
    clusters = np.fromiter((number[name] for each in groups for name in each.clusters), np.int32, pairs)
    work = along([each.work for each in groups])
    heaviest = np.zeros(len(number))
    np.maximum.at(heaviest, clusters, work)
    return Placements(
        group=group,
        position=position[pair],
        cluster=clusters[pair],
        pair=pair,
        width=widths.ravel()[column] * np.asarray(demand, dtype=np.float64)[group],
        merit=merits3.ravel()[column],
        work=work[pair],
        cost=along([each.cost for each in groups])[pair] if groups[0].cost else np.zeros(len(pair)),
        tier=along([each.tier for each in groups])[pair],
        slow=along([each.slow for each in groups])[pair] > 0,
        bundles=bundles,
        first_pair=first,
        heaviest=heaviest,
    )


def _even(group: Group, capacity: Mapping[str, float]) -> list[float]:
    """Give the shares in proportion to planned capacity."""
    room = [capacity[name] for name in group.clusters]
    whole = sum(room)
    return [one / whole for one in room] if whole > 0 else [1 / len(room)] * len(room)


def _unheld(
    groups: Sequence[Group], demand: Sequence[float]
) -> tuple[tuple[Bundle, ...], list[Sequence[float]], list[Sequence[float]]]:
    """Bundle held clusters, and give the merits and incumbent shares of clusters by themselves."""
    bundles: list[Bundle] = []
    merits: list[Sequence[float]] = []
    incumbents: list[Sequence[float]] = []
    for number, group in enumerate(groups):
        if not group.held:
            merits.append(group.merit)
            incumbents.append(group.incumbent)
            continue
        alone = max(group.merit[at] for at in group.held) + _HELD
        whole = sum(group.incumbent[at] for at in group.held)
        parts = tuple((at, group.incumbent[at] / whole) for at in group.held if group.incumbent[at] > 0)
        mean = sum(part * group.merit[at] for at, part in parts)
        kept = min(1.0, whole)
        for width, merit in ((kept, mean), (1.0 - kept, mean + group.move_merit)):
            if width > _NARROW:
                bundles.append(Bundle(number, parts, width * demand[number], merit))
        merits.append([alone if at in group.held else merit for at, merit in enumerate(group.merit)])
        incumbents.append([0.0 if at in group.held else share for at, share in enumerate(group.incumbent)])
    return tuple(bundles), merits, incumbents
