"""From a row of the Decision to the lists of clusters that Envoy tries.

The Decision orders clusters; this module gives each its places in the list. A cluster with several endpoints takes two
places, so that a broken endpoint costs a retry on its neighbour and not the price of the cloud. So does a cluster
that is alone, because a connection that breaks at the wrong moment deserves a second try even when there is nowhere
else to go. All legs of a row so have equally many places.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from penstock_policies.decision import TOTAL_WEIGHT, Decision
from penstock_policies.engine.budgets import in_scope
from penstock_policies.engine.versions import wrong_version
from penstock_policies.policyset import PolicySet, RowKey
from penstock_policies.words import DataClass

_MOST_PLACES: Final = 2


class CompileError(Exception):
    """Policy and decision do not fit together: nothing that could be served follows from them."""


@dataclass(frozen=True, slots=True)
class Leg:
    """A weighted leg: the clusters of its attempts in order, and its weight in ten-thousandths."""

    members: tuple[str, ...]
    weight: int


def legs_of(
    policy: PolicySet, decision: Decision, key: RowKey, places: Callable[[tuple[str, ...]], tuple[str, ...]]
) -> tuple[Leg, ...]:
    """The legs of a row in the order its policy names clusters; empty when the row is to be refused.

    Args:
        policy: the policy set that the decision is for.
        decision: where the row is found.
        key: of the row.
        places: :func:`with_places` for the policy; the caller may remember its answers, as rows share lists.

    Raises:
        CompileError: the decision has no such row, or one whose weights do not belong to its legs or do not sum to
            :data:`~penstock_policies.decision.TOTAL_WEIGHT`.
    """
    row = decision.rows.get(key)
    if row is None:
        raise CompileError(f"decision {decision.id} has no row {key}: it is not of this policy")
    if not row.weights:
        return ()
    if set(row.weights) != set(row.legs) or sum(row.weights.values()) != TOTAL_WEIGHT or min(row.weights.values()) < 0:
        raise CompileError(f"decision {decision.id}, row {key}: weights {dict(row.weights)} for legs {dict(row.legs)}")
    order = policy.policies[key.policy].spec.clusters
    unknown = set(row.weights).difference(order)
    if unknown:
        raise CompileError(f"decision {decision.id}, row {key}: the policy does not name {', '.join(sorted(unknown))}")
    return tuple(Leg(places(row.legs[name]), row.weights[name]) for name in dict.fromkeys(order) if name in row.weights)


def possible_lists(policy: PolicySet, decision: Decision, key: RowKey) -> Iterator[tuple[str, ...]]:
    """Every list the row may need next.

    With nothing drained, within the hours of any one schedule, without what any one budget may forbid; as decided; and
    each of these after the drain of any one cluster more.
    """
    row = decision.rows.get(key)
    rows = [_legs(clusters) for clusters in _possible_clusters(policy, key)]
    for legs in (*rows, row.legs if row is not None else {}):
        for gone in (None, *legs):
            for chosen, ordered in legs.items():
                if chosen != gone:
                    yield with_places(policy, tuple(name for name in ordered if name != gone))


def _possible_clusters(policy: PolicySet, key: RowKey) -> Iterator[tuple[str, ...]]:
    """Who may serve a row that nobody has drained a cluster of, in order of preference: always, and at times."""
    document = policy.policies[key.policy]
    clusters = [
        policy.clusters[name]
        for name in policy.preference(document, key.model, key.region)
        if policy.allowed(policy.clusters[name], document.spec.data_class) is None
        and wrong_version(policy, key, name) is None
    ]
    yield tuple(each.name for each in clusters)
    for schedule in document.spec.schedules:
        only = schedule.only
        if only is not None:
            yield tuple(each.name for each in clusters if only.fits(each.name, each.spec.site, each.spec.region))
    if document.spec.data_class is DataClass.RESTRICTED:
        return  # exempt from budgets
    for budget in policy.budgets.values():
        if budget.spec.on_exhausted == "reject":
            yield tuple(each.name for each in clusters if not in_scope(policy, budget, key.policy, each.name))


def _legs(clusters: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    return {name: (name, *(other for other in clusters if other != name)) for name in clusters}


def with_places(policy: PolicySet, ordered: tuple[str, ...]) -> tuple[str, ...]:
    """The list of attempts for an ordered list of clusters."""
    alone = len(ordered) == 1
    return tuple(
        name
        for name in ordered
        for _ in range(_MOST_PLACES if alone or len(policy.clusters[name].spec.endpoints) > 1 else 1)
    )
