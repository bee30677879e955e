"""The lower rungs of the ladder: what a row gets when no plan of it can be trusted. Plain on purpose.

Last good: the previous weights, on whoever is still eligible and not down. Static: everything to the first in order of
preference, what the policy files alone would say. Neither knows demand, prices or limits, so they may fill what other
rows are planned for, and :func:`overloads` tells where. Refused: nothing, which can break no rule.
"""

from collections.abc import Mapping, Sequence

from penstock_policies.decision import TOTAL_WEIGHT, Note, Row, Rung, Stage
from penstock_policies.engine.plan import Outcome, Problem
from penstock_policies.engine.quantise import quantise
from penstock_policies.engine.rows import NO_CLUSTER
from penstock_policies.engine.situation import Situation
from penstock_policies.policyset import RowKey

_REASONS = {
    Rung.LAST_GOOD: "No plan is sound; the last good weights are kept, however full that makes a cluster.",
    Rung.STATIC: "No plan is sound; the first choice by policy carries everything, however full that makes it.",
}
_NOBODY = "No plan is sound, and no cluster may serve."
_REFUSED = "Refused: no rung of the ladder gave weights that keep every rule."
_FULL = 1.0 + 1e-9


def fallen_row(situation: Situation, key: RowKey, rung: Rung) -> Row | None:
    """Give what a rung below the plans has for a row; None where it has nothing."""
    eligible = situation.eligible[key]
    before = situation.previous.rows.get(key) if situation.previous is not None else None
    if rung is Rung.REFUSED:
        return _row(situation, key, before, {}, _REFUSED)
    if rung is Rung.STATIC:
        weights = static(eligible.clusters, situation.down(key.region))
    elif before is None:
        return None
    else:
        weights = last_good(before.weights, eligible.clusters, situation.down(key.region))
        if eligible.clusters and not weights:
            return None
    return _row(situation, key, before, weights, _REASONS[rung] if weights else _NOBODY)


def _row(situation: Situation, key: RowKey, before: Row | None, weights: Mapping[str, int], reason: str) -> Row:
    eligible = situation.eligible[key]
    same = before is not None and before.weights == weights
    return Row(
        key=key,
        data_class=situation.policy.policies[key.policy].spec.data_class,
        weights=weights,
        legs=eligible.legs() if weights else {},
        target={name: weight / TOTAL_WEIGHT for name, weight in weights.items()},
        excluded=dict(eligible.excluded),
        reason=reason,
        notes=() if weights else (Note(Stage.SOLVE, Outcome.REFUSED),),
        changed_at=before.changed_at if before is not None and same else situation.now,
        moved_at=before.moved_at if before is not None else situation.now,
        cost_moved_at=before.cost_moved_at if before is not None else situation.now,
        demand=situation.demand.rates[key],
        refusal="" if weights else eligible.refusal or NO_CLUSTER,
    )


def last_good(before: Mapping[str, int], preference: Sequence[str], down: frozenset[str]) -> dict[str, int]:
    """Keep the previous weights; those of clusters that are gone or down go to the others in proportion.

    Nothing where none of them had any.
    """
    usable = [name for name in preference if name not in down] or list(preference)
    kept = {name: before.get(name, 0) for name in usable}
    whole = sum(kept.values())
    if whole <= 0:
        return {}
    return _whole_row(preference, {name: weight / whole for name, weight in kept.items()})


def static(preference: Sequence[str], down: frozenset[str]) -> dict[str, int]:
    """Give everything to the first cluster in order of preference that is not down, or to the first at all."""
    if not preference:
        return {}
    first = next((name for name in preference if name not in down), preference[0])
    return _whole_row(preference, {first: 1.0})


def _whole_row(preference: Sequence[str], shares: Mapping[str, float]) -> dict[str, int]:
    return quantise({name: shares.get(name, 0.0) for name in preference})


def overloads(problem: Problem, rows: Mapping[RowKey, Row]) -> dict[str, float]:
    """Give the clusters that the targets of all rows fill beyond what may be planned there, and how full they are."""
    load = dict.fromkeys(sorted(problem.capacity), 0.0)
    for one in problem.rows:
        target = rows[one.key].target if one.key in rows else {}
        for name, share in target.items():
            if share > 0 and name in one.work:
                load[name] += one.demand * share * one.work[name]
    return {
        name: round(slots / problem.capacity[name], 3)
        for name, slots in load.items()
        if problem.capacity[name] > 0 and slots > problem.capacity[name] * _FULL
    }
