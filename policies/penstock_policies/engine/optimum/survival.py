"""Whom the loss of a cluster strands, where they may turn to, and what that asks of a plan.

After a loss, what stranded rows had there has to flow to refuges: other clusters that these very rows may use, in what
is left of their room, which counts once for all who turn to it. Rows with the same refuges are one lot. By duality the
flow leaves as much behind as the worst of all *cuts* says: room priced, each lot charged what its cheapest refuge asks,
at most 1 (Hall's condition, where the prices are 0 and 1). A program with one equation for each cut that matters is far
smaller than one with the flows; :mod:`~penstock_policies.engine.optimum.refuge` finds those that do.

A cluster that recovers or leaves is no refuge: its ceilings would keep out most of what it has room for, so its room
counts as nothing until it is whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from penstock_policies.engine.optimum.groups import Group
from penstock_policies.engine.optimum.simplex import Flags, Floats, Ints
from penstock_policies.words import Survive


@dataclass(frozen=True, slots=True)
class Loss:
    """What the loss of one cluster strands."""

    lost: str
    refuges: tuple[str, ...]
    """Of any lot, by name."""
    open: Flags
    """Lot, refuge: whether it may turn there. A lot may have none, where all its others recover or leave."""
    work: Floats
    """Lot, refuge: the slots that one slot of size takes there, of the group that needs most for its size. So it is
    exact where requests differ in size alone, and on the safe side where they do not."""
    lot: Ints
    """Group to its lot; -1 where the loss does not strand it or it is helpless."""
    size: Floats
    """Group to the slot-seconds of one of its requests elsewhere: the mean of its refuges, or what it takes at the lost
    cluster where there are none. 0 where it is not stranded."""
    helpless: Flags
    """Groups that have no other cluster at all. No plan can help them, so they shall not stand in the way of any."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What a loss strands, lots charged, is no more than the refuges' room at these prices, or slots are missing."""

    loss: Loss
    prices: Floats
    """Along the refuges, of a slot there."""

    def charged(self) -> Floats:
        """Give the price of a slot of size of every lot: what its cheapest refuge asks for it, at most 1."""
        asked = np.where(self.loss.open, self.prices * self.loss.work, 1.0)
        return np.asarray(asked.min(axis=1, initial=1.0))


def pooled(loss: Loss) -> Cut:
    """Give the cut that takes all room together: all there is to say where all who are stranded are one lot."""
    least = np.where(loss.open, loss.work, np.inf).min(axis=0, initial=np.inf)
    return Cut(loss, 1.0 / least)


def losses(groups: Sequence[Group], spot: frozenset[str]) -> list[Loss]:
    """Give every loss that some of the groups are to survive and that strands some of them."""
    alike: dict[tuple[tuple[str, ...], frozenset[str], Survive], list[int]] = {}
    for number, group in enumerate(groups):
        if group.survive is Survive.ANY or (group.survive is Survive.SPOT and not spot.isdisjoint(group.clusters)):
            alike.setdefault((group.clusters, group.unsound, group.survive), []).append(number)
    clusters = sorted({name for names, _, _ in alike for name in names})
    work = _work(groups, clusters) if clusters else np.zeros((0, 0))
    found: list[Loss] = []
    for lost in clusters:
        lots: dict[frozenset[str], list[int]] = {}
        helpless: list[int] = []
        for (names, unsound, survive), members in alike.items():
            if lost in names and (survive is Survive.ANY or lost in spot):
                others = frozenset(names) - {lost} - (spot if survive is Survive.SPOT else frozenset())
                (lots.setdefault(others - unsound, []) if others else helpless).extend(members)
        if lots or helpless:
            found.append(_loss(lost, lots, helpless, work, clusters))
    return found


def _loss(
    lost: str, lots: dict[frozenset[str], list[int]], helpless: list[int], work: Floats, clusters: list[str]
) -> Loss:
    refuges = tuple(sorted(frozenset().union(*lots)))
    columns = [clusters.index(name) for name in refuges]
    shape = (len(lots), len(refuges))
    opened, needed = np.zeros(shape, dtype=np.bool_), np.zeros(shape)
    lot, size, stuck = np.full(len(work), -1, dtype=np.int32), np.zeros(len(work)), np.zeros(len(work), dtype=np.bool_)
    stuck[helpless] = True
    size[helpless] = work[helpless, clusters.index(lost)]
    for number, (names, members) in enumerate(lots.items()):
        opened[number] = [name in names for name in refuges]
        there = work[np.ix_(members, columns)][:, opened[number]]
        lot[members] = number
        size[members] = there.mean(axis=1) if names else work[members, clusters.index(lost)]
        needed[number, opened[number]] = (there / size[members][:, np.newaxis]).max(axis=0)
    return Loss(lost, refuges, opened, needed, lot, size, stuck)


def _work(groups: Sequence[Group], clusters: Sequence[str]) -> Floats:
    """Tabulate the slot-seconds of a request, group by cluster; 0 where it may not go."""
    number = {name: at for at, name in enumerate(clusters)}
    table = np.zeros((len(groups), len(clusters)))
    sizes = [len(group.clusters) for group in groups]
    columns = [number.get(name, -1) for group in groups for name in group.clusters]
    known = np.array(columns) >= 0
    rows = np.repeat(np.arange(len(groups)), sizes)
    figures = np.fromiter(chain.from_iterable(group.work for group in groups), np.float64, len(columns))
    table[rows[known], np.array(columns)[known]] = figures[known]
    return table
