"""Whether a plan survives the losses it is to survive: what finds no refuge, and the cut that says so.

For each loss a small program of its own: where the load of every lot goes, given the room that the plan leaves. The
prices of the room, its duals, are those of the cut that the plan breaks most (Benders 1962).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from penstock_policies.engine.optimum.formulate import Formulation
from penstock_policies.engine.optimum.simplex import Effort, Flags, Floats, Ints, Program, Row, minimise
from penstock_policies.engine.optimum.survival import Cut, Loss, pooled
from penstock_policies.engine.plan import Problem, SolverError

_ROUNDING = 1e-6
"""Of what a loss strands: less is the solver's rounding."""
_DECIMALS = 9


@dataclass(frozen=True, slots=True)
class Shortfall:
    """What a plan leaves without refuge after a loss."""

    stranded: Floats
    """Group to the slots it needs elsewhere."""
    slots: float
    """Missing to those who have others to turn to; 0 where it is no more than rounding."""
    cut: Cut
    """The one that says so."""


class Refuges:
    """Judges plans by every loss, and cuts off those that leave more behind than they own up to."""

    def __init__(self, problem: Problem, formulation: Formulation, losses: Sequence[Loss], effort: Effort) -> None:
        self._formulation = formulation
        self._losses = losses
        self._effort = effort
        self._number = {name: at for at, name in enumerate(formulation.clusters)}
        self._full = np.array([max(problem.full[name], problem.capacity[name]) for name in formulation.clusters])
        self.cuts: list[Cut] = []
        """Those made, in order."""

    def __call__(self, values: Floats) -> list[Row]:
        """Give the cuts that the plan lacks."""
        lacking = [
            shortfall.cut
            for shortfall in self.shortfalls(values)
            if shortfall.slots > self._owned(shortfall, values) + _ROUNDING * max(1.0, float(shortfall.stranded.sum()))
        ]
        # Where nobody has room the pooled cut is the worst, and those found one by one would only creep up to it.
        known = {cut.loss.lost for cut in self.cuts}
        fresh = [pooled(cut.loss) for cut in lacking if cut.loss.lost not in known and len(cut.loss.open) > 1]
        made = [*fresh, *lacking]
        self.cuts.extend(made)
        return [self._row(cut) for cut in made]

    def shortfalls(self, values: Floats) -> list[Shortfall]:
        """Give what the plan leaves behind after every loss.

        Raises:
            SolverError: HiGHS finds no answer.

        """
        if not self._losses:
            return []
        sent, room = self._sent(values), self._room(values)
        return [
            _shortfall(
                loss,
                sent[:, self._number[loss.lost]] * loss.size,
                room[[self._number[name] for name in loss.refuges]],
                self._effort,
            )
            for loss in self._losses
        ]

    def _owned(self, shortfall: Shortfall, values: Floats) -> float:
        return float(values[self._formulation.missing[shortfall.cut.loss.lost]]) if shortfall.slots > 0 else 0.0

    def _sent(self, values: Floats) -> Floats:
        """Tabulate requests a second, group by cluster."""
        formulation, placed = self._formulation, self._formulation.placed
        sent = np.zeros((len(formulation.groups), len(formulation.clusters)))
        np.add.at(sent, (placed.group, placed.cluster), values[: len(placed.group)])
        for offset, bundle in enumerate(placed.bundles):
            names = formulation.groups[bundle.group].clusters
            for at, part in bundle.parts:
                sent[bundle.group, self._number[names[at]]] += part * values[formulation.first_bundle + offset]
        return np.maximum(0.0, sent)

    def _room(self, values: Floats) -> Floats:
        queues, beyond = self._formulation.queues, self._formulation.beyond
        load = [values[queues[number]].sum() + values[list(beyond[number])].sum() for number in range(len(queues))]
        return np.asarray(np.maximum(0.0, self._full - np.array(load)))

    def _row(self, cut: Cut) -> Row:
        """Write: what the loss strands, less what is missing, is at most the room, all at the prices of the cut."""
        formulation, placed, loss = self._formulation, self._formulation.placed, cut.loss
        charge = np.where(loss.lot >= 0, loss.size * cut.charged()[loss.lot], 0.0)
        lost = np.flatnonzero((placed.cluster == self._number[loss.lost]) & (charge[placed.group] > 0))
        columns, values = lost.tolist(), charge[placed.group[lost]].tolist()
        for offset, bundle in enumerate(placed.bundles):
            names = formulation.groups[bundle.group].clusters
            part = sum(part for at, part in bundle.parts if names[at] == loss.lost)
            if part * charge[bundle.group] > 0:
                columns.append(formulation.first_bundle + offset)
                values.append(part * float(charge[bundle.group]))
        right = 0.0
        for name, price in zip(loss.refuges, cut.prices.tolist(), strict=True):
            if price > 0:
                within = formulation.within[self._number[name]]
                columns.extend(within)
                values.extend([price] * len(within))
                right += price * float(self._full[self._number[name]])
        columns.append(formulation.missing[loss.lost])
        values.append(-1.0)
        return Row(np.array(columns, dtype=np.int32), np.array(values), right)


def _shortfall(loss: Loss, stranded: Floats, room: Floats, effort: Effort) -> Shortfall:
    lots, cut = len(loss.open), pooled(loss)
    within = loss.lot >= 0
    burden = np.bincount(loss.lot[within], weights=stranded[within], minlength=lots).astype(np.float64)
    whole = float(burden.sum())
    missing = whole - float(cut.prices @ room)
    if lots > 1 and whole > 0:
        missing, cut = _flow(loss, burden, room, effort)
    return Shortfall(stranded, missing if missing > _ROUNDING * max(1.0, whole) else 0.0, cut)


def _flow(loss: Loss, burden: Floats, room: Floats, effort: Effort) -> tuple[float, Cut]:
    """Send the burden of every lot to its refuges, and give what is left over and the cut that says why."""
    loaded = np.flatnonzero(burden > 0)
    lots, refuges = len(loaded), len(loss.refuges)
    lot, refuge = np.nonzero(loss.open[loaded])
    ways = len(lot)
    width = ways + 2 * lots + refuges
    # Columns: where each lot may go, what is missing of it, what it has to spare, and what is left of each refuge.
    columns = np.concatenate((np.arange(ways), np.arange(ways), np.arange(ways, width)))
    rows = np.concatenate((lot, lots + refuge, np.arange(lots), np.arange(lots), lots + np.arange(refuges)))
    taken = loss.work[loaded][lot, refuge]
    values = np.concatenate((np.ones(ways), taken, np.ones(lots), -np.ones(lots), np.ones(refuges)))
    order = np.argsort(columns, kind="stable")
    program = Program(
        lower=np.zeros(width),
        upper=np.full(width, np.inf),
        right=np.concatenate((burden[loaded], room)),
        starts=np.concatenate(([0], np.cumsum(np.bincount(columns, minlength=width)))).astype(np.int32),
        indices=rows[order].astype(np.int32),
        values=values[order],
    )
    costs = np.zeros(width)
    costs[ways : ways + lots] = 1.0

    def basis(_costs: Floats, _fixed: Flags) -> Ints:
        return np.arange(ways + lots, width, dtype=np.int32)

    found = minimise(program, [costs], basis, effort)
    if found is None:
        raise SolverError(f"no answer to the loss of {loss.lost}")
    prices = np.maximum(0.0, -found.duals[lots:]).round(_DECIMALS).astype(np.float64)
    return float(costs @ found.values), Cut(loss, prices)
