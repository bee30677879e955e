"""What keeps the plan from being better: full clusters, budgets, shares, prices, with what a little more would save.

The figures are the solver's own, kept with the decision: the duals of capacities and budgets, and reduced costs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from penstock.admin.rows import row_title
from penstock_policies.decision import ClusterView, Decision, Row
from penstock_policies.engine.schedule import Wishes
from penstock_policies.machines import Capacity
from penstock_policies.policyset import PolicySet
from penstock_policies.schema import Cluster
from penstock_policies.steering import ShareRule

_LEAST_USD: Final = 0.005
"""An hour, or for a million tokens: less rounds to nothing."""
_FULL: Final = 0.99
"""Of its planned capacity: from here on a cluster is said to be full, since the rest is rounding."""
_OVER: Final = 1.001
_SAME_SHARE: Final = 0.0005
"""Below this two shares are the same figure, rounded."""


@dataclass(frozen=True, slots=True)
class Binding:
    """One thing that binds."""

    kind: Literal["capacity", "budget", "price", "share"]
    subject: str
    """A cluster's, a site's or a budget's name."""
    sentence: str
    usd: float
    """What the sentence's figure is: USD an hour, a dollar or a million tokens, by kind; 0 where it has none."""
    row: str = ""
    """For ``price`` and ``share``: which row it is about."""


def bindings(policies: PolicySet, wanted: Wishes, decision: Decision, rows: Sequence[Row]) -> list[Binding]:
    """Tell what binds the plan of a policy's rows, capacities first; ``wanted`` is what it wants at the time."""
    named = sorted({name for row in rows for name in policies.policies[row.key.policy].spec.clusters})
    found = [*_capacities(policies, decision, named), *_budgets(decision)]
    for row in rows:
        found.extend(_shares(policies, wanted, row))
        found.extend(_gaps(decision, row))
    return found


def _capacities(policies: PolicySet, decision: Decision, named: Sequence[str]) -> Iterator[Binding]:
    for name in named:
        view = decision.clusters.get(name)
        if view is None or name not in policies.clusters:
            continue
        if view.planned > view.capacity * _OVER:
            sentence = (
                f"{name} is short of room: {view.planned:.0f} in flight by plan, and room for {view.capacity:.0f}"
            )
        elif view.planned >= view.capacity * _FULL and view.capacity > 0:
            sentence = f"{name} is full by plan at {view.capacity:.0f} requests in flight"
        else:
            continue
        if view.slot_price >= _LEAST_USD:
            sentence += f": {_saving(policies.clusters[name].spec.capacity, view)}"
        yield Binding("capacity", name, sentence, view.slot_price)


def _saving(capacity: Capacity, view: ClusterView) -> str:
    told = f"room for one more saves {view.slot_price:.2f} USD/h"
    if capacity.gpus is None:
        return told
    # What is planned for a GPU, not what is declared: headroom, and what was learnt, hold for the next as well.
    slots = capacity.concurrency / capacity.gpus * (1 - capacity.headroom) * view.trim
    return f"{told}; one more {capacity.gpu_type or 'GPU'} ({slots:.0f} more) saves {view.slot_price * slots:.2f} USD/h"


def _budgets(decision: Decision) -> Iterator[Binding]:
    for name, view in sorted(decision.budgets.items()):
        if view.exhausted:
            yield Binding("budget", name, f"budget {name} is exhausted: {view.spent:.2f} of {view.amount:.2f} USD", 0.0)
        elif view.price >= _LEAST_USD:
            allowed = "" if view.limit is None else f" at {view.limit:.2f} USD/h"
            sentence = f"budget {name} binds{allowed}: one more dollar would save {view.price:.2f} USD elsewhere"
            yield Binding("budget", name, sentence, view.price)


def _shares(policies: PolicySet, wanted: Wishes, row: Row) -> Iterator[Binding]:
    for rule in wanted.shares if row.weights else ():
        whose = rule.cluster or f"site {rule.site}"
        share = sum(share for name, share in row.target.items() if _of(policies.clusters[name], rule))
        if rule.pin is not None:
            word = "holds" if abs(share - rule.pin) <= _SAME_SHARE else f"cannot be kept, it is {share:.1%}"
            sentence = f"the pin of {rule.pin:.1%} for {whose} {word}"
        elif rule.max_share is not None and share >= rule.max_share - _SAME_SHARE:
            word = "binds" if share <= rule.max_share + _SAME_SHARE else f"cannot be kept, it is {share:.1%}"
            sentence = f"maxShare {rule.max_share:.1%} of {whose} {word}"
        elif rule.min_share is not None and share <= rule.min_share + _SAME_SHARE:
            word = "binds" if share >= rule.min_share - _SAME_SHARE else f"cannot be kept, it is {share:.1%}"
            sentence = f"minShare {rule.min_share:.1%} of {whose} {word}"
        else:
            continue
        yield Binding("share", whose, sentence, 0.0, row_title(row.key))


def _of(cluster: Cluster, rule: ShareRule) -> bool:
    return cluster.name == rule.cluster or cluster.spec.site is rule.site


def _gaps(decision: Decision, row: Row) -> Iterator[Binding]:
    for name, gap in sorted(row.gaps.items(), key=lambda item: (item[1], item[0])):
        view = decision.clusters.get(name)
        if view is None or row.weights.get(name, 0) > 0:
            continue
        if gap < _LEAST_USD and view.planned >= view.capacity * _FULL:
            sentence = f"{name} would be used if it had room"
        elif gap < _LEAST_USD:
            sentence = f"{name} costs the same to within half a cent and could be used as well"
        elif gap > view.price:
            sentence = f"{name} would not be used even if it were free"
        else:
            sentence = f"{name} would be used if it were {gap:.2f} USD/Mtok cheaper"
        yield Binding("price", name, sentence, gap, row_title(row.key))
