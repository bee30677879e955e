"""Who may serve a row at all: policy, residency, drains, versions, hours, exhausted budgets. Not health, nor load.

The lists Envoy falls back along come from here, so they change only when an operator or a policy file says so, by its
hours and budgets too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from penstock_policies.engine.budgets import Standing, rejecting
from penstock_policies.engine.schedule import Wishes, selects
from penstock_policies.engine.versions import rule_for, wrong_version
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import PolicySet, RowKey

BUDGET_EXHAUSTED = "budget_exhausted"
"""The code clients are told where a budget leaves a row no cluster."""


@dataclass(frozen=True, slots=True)
class Eligibility:
    """Who may serve a row: ``clusters`` in order of preference, and why each other one may not."""

    clusters: tuple[str, ...]
    excluded: Mapping[str, str]
    refusal: str = ""
    """For a row without clusters: the code clients are told, where it is a special one."""

    def legs(self) -> Mapping[str, tuple[str, ...]]:
        """Give each eligible cluster's leg: itself, then the others as stand-ins, in order of preference."""
        return _legs(self.clusters)


@lru_cache(maxsize=4096)  # rows share few orders, which seldom change
def _legs(clusters: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
    return {chosen: (chosen, *(name for name in clusters if name != chosen)) for chosen in sorted(clusters)}


def draining(policy: PolicySet, overrides: Overrides, now: float) -> dict[str, float]:
    """Give each cluster under an active drain the factor left of its share; 0 takes it out of every list."""
    return {
        name: drain.remaining(now)
        for name, drain in sorted(overrides.drains.items())
        if name in policy.clusters and drain.active(now)
    }


def eligibility(policy: PolicySet, key: RowKey, drains: Mapping[str, float]) -> Eligibility:
    """Tell who may serve the row, given what is left of drained clusters."""
    lawful = policy.lawful(key)
    gone = {name: "drained" for name in lawful.clusters if drains and drains.get(name, 1.0) <= 0}
    if not gone:
        return Eligibility(lawful.clusters, lawful.excluded)
    kept = tuple(name for name in lawful.clusters if name not in gone)
    return Eligibility(kept, dict(sorted({**lawful.excluded, **gone}.items())))


def narrowed(
    policy: PolicySet, key: RowKey, lawful: Eligibility, wanted: Wishes, stand: Mapping[str, Standing]
) -> Eligibility:
    """Apply what depends on versions, the hour and money.

    Versions are a hard rule: a row may end up with nobody. So is a schedule's ``only``, unless it would leave nobody.
    An exhausted budget that rejects comes last, since it alone tells clients why they are refused.
    """
    left = lawful
    if rule_for(policy, key) is not None:
        left = _without(left, lambda name: wrong_version(policy, key, name))
    only = wanted.only
    if only is not None:
        outside = f"outside schedule {wanted.only_by}"
        within = _without(left, lambda name: None if selects(only, policy.clusters[name]) else outside)
        left = within if within.clusters else left
    if any(standing.exhausted for standing in stand.values()):

        def unpaid(name: str) -> str | None:
            budget = rejecting(policy, stand, key, name)
            return f"budget {budget} is exhausted" if budget is not None else None

        paid = _without(left, unpaid)
        if left.clusters and not paid.clusters:
            return Eligibility((), paid.excluded, BUDGET_EXHAUSTED)
        left = paid
    return left


def _without(given: Eligibility, why: Callable[[str], str | None]) -> Eligibility:
    """Take out the clusters that there is a reason against."""
    excluded = {name: reason for name in given.clusters if (reason := why(name)) is not None}
    if not excluded:
        return given
    kept = tuple(name for name in given.clusters if name not in excluded)
    return Eligibility(kept, dict(sorted({**given.excluded, **excluded}.items())), given.refusal)
