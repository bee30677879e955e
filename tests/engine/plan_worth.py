"""What a plan is worth, told from the problem alone: merit a second, moves and queues included.

Independent of the linear program, so that any solver's plan can be measured by it. Shared by the engine's tests.
"""

from collections.abc import Mapping

from penstock_policies.engine.plan import Problem, RowPlan, RowProblem
from penstock_policies.policyset import RowKey

QUEUE = ((0.5, 0.0), (0.2, 0.001), (0.15, 0.002), (0.1, 0.005), (0.05, 0.01))
"""Parts of a planned capacity, and what queueing costs a request there, as the optimum's module tells it."""


def load_of(problem: Problem, plans: Mapping[RowKey, RowPlan]) -> dict[str, float]:
    """Give the slots that plans fill of every cluster."""
    load = dict.fromkeys(sorted(problem.capacity), 0.0)
    for row in problem.rows:
        if row.demand > 0 and row.key in plans:
            for name, share in plans[row.key].shares.items():
                if share > 0:
                    load[name] += row.demand * share * row.work[name]
    return load


def worth(problem: Problem, plans: Mapping[RowKey, RowPlan]) -> float:
    """Give the objective of plans: less is better."""
    total = 0.0
    heaviest = dict.fromkeys(problem.capacity, 0.0)
    for row in problem.rows:
        if row.demand > 0 and row.key in plans:
            total += row.demand * _of_request(row, plans[row.key].shares, problem.capacity)
            for name in row.clusters:
                heaviest[name] = max(heaviest[name], row.work[name])
    load = load_of(problem, plans)
    return total + sum(
        _queue(load[name], problem.capacity[name]) / heaviest[name] for name in sorted(load) if load[name] > 0
    )


def _of_request(row: RowProblem, shares: Mapping[str, float], capacity: Mapping[str, float]) -> float:
    merit = sum(row.merit[name] * shares.get(name, 0.0) for name in row.clusters)
    if row.move_merit > 0:
        merit += row.move_merit * sum(
            max(0.0, shares.get(name, 0.0) - row.incumbent.get(name, 0.0)) for name in row.clusters
        )
    if row.spread > 0:
        whole = sum(capacity[name] for name in row.clusters)
        even = {name: capacity[name] / whole if whole > 0 else 1 / len(row.clusters) for name in row.clusters}
        merit += row.spread * sum(max(0.0, shares.get(name, 0.0) - even[name]) for name in row.clusters)
    return merit


def _queue(load: float, capacity: float) -> float:
    cost = 0.0
    for part, price in QUEUE:
        filled = min(load, part * capacity)
        cost += filled * price
        load -= filled
    return cost + load * QUEUE[-1][1]
