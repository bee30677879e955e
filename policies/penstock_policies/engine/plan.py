"""What a solver is asked and what it answers. The waterfall is one solver; others keep to the same two types."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from penstock_policies.policyset import RowKey
from penstock_policies.words import DataClass


class SolverError(Exception):
    """A solver has no answer; the next rung of the ladder is taken."""


class Outcome(StrEnum):
    """How a row fared, as the constant message of its solve note."""

    PLANNED = "planned within capacity"
    OVERLOADED = "more demand than capacity, excess spread"
    HELD_ALL_DOWN = "every eligible cluster is down, weights held"
    REFUSED = "no eligible cluster, requests are refused"


@dataclass(frozen=True, slots=True)
class RowProblem:
    """One row to be solved."""

    key: RowKey
    data_class: DataClass
    clusters: tuple[str, ...]
    """Eligible clusters that are not down, in order of preference."""
    on_prem: frozenset[str]
    cost: Mapping[str, float]
    """Cluster to price with the mark-up for distance, USD for a million tokens."""
    ceiling: Mapping[str, float]
    """Cluster to its greatest share by health or drain; 1 where missing."""
    demand: float
    """Requests a second."""
    incumbent: Mapping[str, float]
    """The shares of the last target."""
    hold_split: bool
    """Whether a price is stale, so that costs must not move traffic between clusters."""


@dataclass(frozen=True, slots=True)
class Problem:
    """All rows at once: clusters are shared."""

    rows: tuple[RowProblem, ...]
    capacity: Mapping[str, float]
    """Cluster to requests in flight it may be planned to carry."""
    service_time: Mapping[str, float]
    """Cluster to seconds a request is in flight; positive."""


@dataclass(frozen=True, slots=True)
class RowPlan:
    """The shares a row should have, summing to 1."""

    shares: Mapping[str, float]
    outcome: Outcome


Solver = Callable[[Problem], Mapping[RowKey, RowPlan]]
"""Answers for every row of the problem that has clusters. Raises :class:`SolverError` when it has no answer."""
