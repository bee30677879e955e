"""Fifth stage, as a greedy waterfall: fill the preferred clusters to capacity, spill the rest to the next ones.

Rows take turns, the strictest data class first, then those with the fewest choices; within a row clusters that keep the
SLO come before those that miss it, then tiers fill in order, and within a tier the cluster of least merit first.
Ceilings are kept where there is room elsewhere; floors, budgets and surviving a loss are beyond it. Explainable at a
glance and unable to fail, which is why it stays as the rung below the optimum.
"""

from penstock_policies.engine.plan import Outcome, Problem, RowPlan, RowProblem, Solution

_SAVING = 0.05
"""What a cheaper cluster must save to displace one in use: moving costs caches, and prices quiver."""
_IN_USE = 0.01
"""Share from which a cluster counts as in use."""
_NEGLIGIBLE = 0.01
"""Requests a second below which a row needs no room to be made for it: its first choice takes it all."""
_ROUNDING = 1e-12


def solve(problem: Problem) -> Solution:
    """Share out the clusters' capacity among all rows."""
    room = dict(problem.capacity)
    order = sorted(problem.rows, key=lambda row: (-row.data_class.strictness, len(row.clusters), row.key))
    return Solution({row.key: _fill(row, problem, room) for row in order if row.clusters})


class _Pour:
    """One row being filled: what is still to be placed, and what each cluster has got."""

    def __init__(self, row: RowProblem, room: dict[str, float]) -> None:
        self.shares = dict.fromkeys(row.clusters, 0.0)
        self.rest = 1.0
        self._row = row
        self._room = room
        self._measured = row.demand >= _NEGLIGIBLE

    def into(self, name: str, wanted: float, *, bounded: bool = True) -> None:
        """Place up to ``wanted`` of the row in a cluster; unless ``bounded``, whatever its room and ceiling."""
        taken = min(wanted, self.rest)
        load = self._row.demand * self._row.work[name]
        if bounded:
            taken = min(taken, self._row.ceiling.get(name, 1.0) - self.shares[name])
            for bound in self._row.bounds:
                if name in bound.clusters:
                    filled = sum(share for other, share in self.shares.items() if other in bound.clusters)
                    taken = min(taken, bound.ceiling - filled)
            if self._measured and load > 0:
                taken = min(taken, max(0.0, self._room[name]) / load)
        if taken <= 0:
            return
        self.shares[name] += taken
        self._room[name] -= taken * load
        self.rest -= taken
        if self.rest < _ROUNDING:
            self.rest = 0.0


def _fill(row: RowProblem, problem: Problem, room: dict[str, float]) -> RowPlan:
    pour = _Pour(row, room)
    for stage in sorted({_stage(row, name) for name in row.clusters}):
        names = [name for name in row.clusters if _stage(row, name) == stage]
        _pour_as_before(pour, row, [name for name in names if name in row.held])
        for name in sorted(names, key=lambda one: _rank(row, one)):
            pour.into(name, 1.0)
    outcome = Outcome.PLANNED
    if pour.rest > 0:
        outcome = _pour_excess(pour, row, problem)
    whole = sum(pour.shares.values())
    return RowPlan({name: share / whole for name, share in pour.shares.items()}, outcome)


def _stage(row: RowProblem, name: str) -> tuple[bool, int]:
    return name in row.slow, row.tier[name]


def _rank(row: RowProblem, name: str) -> tuple[float, int]:
    in_use = row.incumbent.get(name, 0.0) >= _IN_USE
    merit = row.merit[name] * (1 - _SAVING if in_use else 1.0)
    return merit, row.clusters.index(name)


def _pour_as_before(pour: _Pour, row: RowProblem, held: list[str]) -> None:
    """Keep the proportions between clusters whose prices cannot be compared."""
    before = {name: row.incumbent.get(name, 0.0) for name in held}
    whole = sum(before.values())
    rest = pour.rest
    for name, share in before.items():
        if share > 0:
            pour.into(name, rest * share / whole)


def _pour_excess(pour: _Pour, row: RowProblem, problem: Problem) -> Outcome:
    """Place what found no room: in proportion to capacity on clusters in full health, if there are any.

    A ceiling bows only where nobody else is there to carry the rest, and then there is no overload to speak of.
    """
    carriers = [name for name in row.clusters if row.ceiling.get(name, 1.0) >= 1]
    outcome = Outcome.OVERLOADED if row.demand >= _NEGLIGIBLE and carriers else Outcome.PLANNED
    carriers = carriers or list(row.clusters)
    capacity = {name: problem.capacity[name] for name in carriers}
    whole = sum(capacity.values())
    excess = pour.rest
    for name in carriers:
        pour.into(name, excess * (capacity[name] / whole if whole > 0 else 1 / len(carriers)), bounded=False)
    return outcome
