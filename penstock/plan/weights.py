"""The difference of two decisions, row by row: where the weights would come to rest, and the first step there."""

from collections.abc import Mapping
from dataclasses import dataclass

from penstock.plan.documents import Change
from penstock.plan.outlook import Outlook
from penstock_policies.decision import TOTAL_WEIGHT, Decision, Row
from penstock_policies.policyset import ANY_MODEL, RowKey

_ROUNDING = 0.5 / TOTAL_WEIGHT
"""Half of the smallest weight: a smaller difference shows nowhere."""
_IDLE = 0.01
"""Requests a second: less is the remains of a smoothed average."""
_HARDLY_ANY = 0.01
"""Of its requests: a cluster that keeps no more counts as drained."""


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row that is new, gone, or comes to other weights."""

    change: Change
    key: RowKey
    before: Mapping[str, float]
    """Shares it comes to by the policy before, on the same inputs; empty where it is refused or not there."""
    after: Mapping[str, float]
    """Shares it would come to."""
    step: Mapping[str, float]
    """Shares right after the edit, as limits allow."""
    shift: float
    """The part of its traffic (0 to 1) that would come to go elsewhere; 1 where it is refused, 0 where new."""
    refused: bool
    """Its requests would be refused, or find no route, and are served now or are new."""
    demand: float
    """Requests a second it carries now."""
    reason: str
    """The engine's sentence on the first step."""


def rows_changed(base: Outlook, candidate: Outlook) -> tuple[RowChange, ...]:
    """List the rows that differ, sorted."""
    keys = sorted(base.decision.rows.keys() | candidate.decision.rows.keys())
    changes = (_changed(base, candidate, key) for key in keys)
    return tuple(change for change in changes if change is not None)


@dataclass(frozen=True, slots=True)
class Drained:
    """A cluster that carries traffic now and would come to carry hardly any."""

    cluster: str
    before: float
    """Requests a second; 0 on both sides where no load is known and shares alone tell."""
    after: float

    @property
    def sentence(self) -> str:
        """It in words."""
        if self.before <= 0:
            return f"{self.cluster} carries traffic and would carry none"
        left = f"{self.after:.2g}" if self.after > 0 else "none"
        return f"{self.cluster} carries {self.before:.1f} requests/s and would carry {left}"


def drained(base: Outlook, candidate: Outlook) -> tuple[Drained, ...]:
    """List the clusters that carry traffic now and would come to carry hardly any, sorted.

    By requests a second: a row without demand keeps no cluster in use, and loses none. Where no demand is known at all,
    as without live inputs, every row counts by its shares.
    """
    before, after = _rates(base), _rates(candidate)
    if not any(rate > _IDLE for rate in before.values()):
        return tuple(Drained(name, 0.0, 0.0) for name in sorted(_carrying(base) - _carrying(candidate)))
    return tuple(
        Drained(name, rate, after.get(name, 0.0))
        for name, rate in sorted(before.items())
        if rate > _IDLE and after.get(name, 0.0) <= _HARDLY_ANY * rate
    )


def _rates(outlook: Outlook) -> dict[str, float]:
    """Cluster to requests a second."""
    rates: dict[str, float] = {}
    for key, row in outlook.decision.rows.items():
        for name, share in outlook.shares(key).items():
            rates[name] = rates.get(name, 0.0) + row.demand * share
    return rates


def _carrying(outlook: Outlook) -> set[str]:
    return {name for key in outlook.decision.rows for name, share in outlook.shares(key).items() if share > _ROUNDING}


def _changed(base: Outlook, candidate: Outlook, key: RowKey) -> RowChange | None:
    old, new = base.decision.rows.get(key), candidate.decision.rows.get(key)
    before, after, step = base.shares(key), candidate.shares(key), _weights(new)
    if old is None and new is not None:
        return RowChange(Change.ADDED, key, before, after, step, 0.0, not step, new.demand, new.reason)
    if old is not None and new is None:
        heir = _heir(old, candidate.decision)
        moved = 1.0 if heir is None else _shift(before, candidate.shares(heir))
        return RowChange(Change.REMOVED, key, before, after, step, moved, heir is None, old.demand, "")
    served = _weights(old)
    if new is None or (_alike(before, after) and _alike(step, served)):
        return None
    moved, refused = _shift(before, after), bool(served) and not step
    return RowChange(Change.CHANGED, key, before, after, step, moved, refused, new.demand, new.reason)


def _heir(row: Row, decision: Decision) -> RowKey | None:
    """Find a row for the same class, region and model, by any policy: paths are not compared."""
    alike = [
        key
        for key, other in decision.rows.items()
        if other.weights and other.data_class is row.data_class and key.region == row.key.region
    ]
    named = [key for key in sorted(alike) if key.model == row.key.model]
    return next(iter(named or [key for key in sorted(alike) if key.model == ANY_MODEL]), None)


def _weights(row: Row | None) -> dict[str, float]:
    if row is None:
        return {}
    return {name: weight / TOTAL_WEIGHT for name, weight in row.weights.items() if weight}


def _shift(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    """Total variation; what is not carried any more has moved, too."""
    if not before or not after:
        return 1.0 if before or after else 0.0
    return sum(abs(before.get(name, 0.0) - after.get(name, 0.0)) for name in {*before, *after}) / 2


def _alike(before: Mapping[str, float], after: Mapping[str, float]) -> bool:
    return all(abs(before.get(name, 0.0) - after.get(name, 0.0)) <= _ROUNDING for name in {*before, *after})
