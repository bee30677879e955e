"""What a solver is asked and what it answers. The optimum and the waterfall are solvers; others keep to these types.

Units: a *slot* is room for one request in flight; *merit* is the policy's objective without dimension, 0 for free and
1 for the worst figure of the fleet, and less is better. Built by :func:`penstock_policies.engine.problem.problem_of`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from penstock_policies.policyset import RowKey
from penstock_policies.words import DataClass, Survive


class SolverError(Exception):
    """A solver has no answer; the next rung of the ladder is taken."""


class Outcome(StrEnum):
    """How a row fared, as the constant message of its solve note."""

    PLANNED = "planned within capacity"
    OVERLOADED = "more demand than capacity, excess spread"
    HELD_ALL_DOWN = "every eligible cluster is down, weights held"
    REFUSED = "no eligible cluster, requests are refused"


@dataclass(frozen=True, slots=True)
class Bound:
    """A floor and a ceiling on the share that some clusters get of a row together. Soft: below serving, above money."""

    clusters: frozenset[str]
    floor: float
    ceiling: float
    why: str
    """Where it comes from, in a few words: ``maxShare of site cloud``, ``canary v2 of llama-3-70b``."""


@dataclass(frozen=True, slots=True)
class RowProblem:
    """One row to be solved."""

    key: RowKey
    data_class: DataClass
    clusters: tuple[str, ...]
    """Eligible clusters that are not down, in order of preference."""
    demand: float
    """Requests a second."""
    work: Mapping[str, float]
    """Cluster to slot-seconds of a request of this row; positive."""
    merit: Mapping[str, float]
    """Cluster to merit of a request, by the measures that are linear (all but spread)."""
    cost: Mapping[str, float]
    """Cluster to USD of a request at marginal price, egress included and nothing else."""
    tokens: tuple[float, float]
    """Prompt and generated tokens of a request."""
    tier: Mapping[str, int]
    """Cluster to its tier, 0 first; fill tiers one after the other."""
    slow: frozenset[str]
    """Clusters that miss the row's SLO even when idle: used where else requests would go unserved."""
    ceiling: Mapping[str, float]
    """Cluster to its greatest share by health or drain; 1 where missing."""
    incumbent: Mapping[str, float]
    """The shares of the last target."""
    bounds: tuple[Bound, ...] = ()
    held: frozenset[str] = frozenset()
    """Clusters between whose incumbent shares nothing may move for merit: their prices are stale."""
    spread: float = 0.0
    """The part (0 to 1) of the objective that wants shares in proportion to capacity."""
    move_merit: float = 0.0
    """Merit charged for a request that goes elsewhere than the incumbent shares would send it."""
    usd_per_merit: float = 0.0
    """USD a request that one unit of merit stands for; 0 where the objective is not cost alone."""
    survive: Survive = Survive.NONE


@dataclass(frozen=True, slots=True)
class BudgetLimit:
    """What may be spent, USD a second, by some rows at some clusters. Soft: below SLO, above money."""

    name: str
    usd_per_second: float
    members: Mapping[RowKey, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Problem:
    """All rows at once: clusters are shared."""

    rows: tuple[RowProblem, ...]
    capacity: Mapping[str, float]
    """Cluster to slots it may be planned to fill, less headroom and what its tightest SLO takes."""
    full: Mapping[str, float]
    """Cluster to slots at which it is full: for overload and for surviving a loss. No less than its capacity."""
    spot: frozenset[str] = frozenset()
    on_prem: frozenset[str] = frozenset()
    budgets: tuple[BudgetLimit, ...] = ()


@dataclass(frozen=True, slots=True)
class RowPlan:
    """The shares a row should have, summing to 1."""

    shares: Mapping[str, float]
    outcome: Outcome
    gaps: Mapping[str, float] = field(default_factory=dict)
    """Cluster without a share to how much its merit would have to fall for it to get one: its reduced cost."""
    bowed: tuple[str, ...] = ()
    """Why of each bound that had to bow."""
    uncarried: Mapping[str, float] = field(default_factory=dict)
    """Cluster this row uses, and whose loss the others could not carry, to the slots they are short of in all."""


@dataclass(frozen=True, slots=True)
class Solution:
    """Plans for all rows of a problem that have clusters, and the prices of what was scarce."""

    plans: Mapping[RowKey, RowPlan]
    slot_merit: Mapping[str, float] = field(default_factory=dict)
    """Cluster to merit a second that one more slot would save: the dual of its capacity; 0 where it is not full."""
    budget_merit: Mapping[str, float] = field(default_factory=dict)
    """Budget to merit a second that one more USD a second would save."""
    overload: Mapping[str, float] = field(default_factory=dict)
    """Cluster to slots planned beyond its capacity."""
    over_budget: Mapping[str, float] = field(default_factory=dict)
    """Budget to USD a second planned beyond its limit."""
    uncarried: Mapping[str, float] = field(default_factory=dict)
    """Cluster to the slots that those left would be short of after its loss, for the rows that want it survived."""
    objective: float = 0.0
    """Merit a second of the plan, movement and queues included."""


Solver = Callable[[Problem], Solution]
"""Answers for every row of the problem that has clusters. Deterministic, whatever the order of rows and clusters.
Raises :class:`SolverError` when it has no answer."""

_ROUNDING = 1e-6


def sound(problem: Problem, solution: Solution) -> Solution:
    """Give a solver's answer back if it can be one.

    Raises:
        SolverError: a row has no plan, or one that is no distribution over its clusters.

    """
    for row in problem.rows:
        if not row.clusters:
            continue
        plan = solution.plans.get(row.key)
        shares = plan.shares if plan is not None else {}
        # Written so that whatever is not a number fails as well.
        if not (abs(sum(shares.values()) - 1) <= _ROUNDING and min(shares.values()) >= -_ROUNDING):
            raise SolverError(f"no plan of {row.key.policy} that adds up: {dict(shares)}")
        if stray := shares.keys() - row.clusters:
            raise SolverError(f"a plan of {row.key.policy} names {sorted(stray)}")
    return solution
