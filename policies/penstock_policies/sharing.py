"""Can the shares that a policy promises be kept together? Floors, ceilings and pins of the clusters of one row.

They bow to health, room and residency at run time; here only arithmetic is judged, which no day could mend.
"""

from collections.abc import Iterator, Sequence

from penstock_policies.catalogue import Catalogue, Written
from penstock_policies.problems import Path, Problem, shown
from penstock_policies.quantities import format_percentage
from penstock_policies.schema import Cluster, TrafficPolicy
from penstock_policies.steering import ShareRule
from penstock_policies.words import Site

_ROUNDING = 1e-9


def check(catalogue: Catalogue) -> Iterator[Problem]:
    """Every list of share rules that repeats itself, promises too much or allows too little."""
    for policy in catalogue.policies.values():
        spec = policy.document.spec
        yield from _rules(catalogue, policy, ("spec", "shares"), spec.shares)
        for index, schedule in enumerate(spec.schedules):
            if schedule.shares is not None:
                yield from _rules(catalogue, policy, ("spec", "schedules", index, "shares"), schedule.shares)


def _rules(
    catalogue: Catalogue, policy: Written[TrafficPolicy], path: Path, rules: Sequence[ShareRule]
) -> Iterator[Problem]:
    repeated = list(_repeated(policy, path, rules))
    yield from repeated
    clusters = catalogue.clusters_of(policy)
    if repeated or not rules or len(clusters) != len(policy.document.spec.clusters):
        return
    for row, serving in _rows(catalogue, policy):
        found = next(_bounds(policy, path, rules, serving, row), None)
        if found is not None:
            yield found  # of the first row alone: the others mostly repeat it
            return


def _rows(catalogue: Catalogue, policy: Written[TrafficPolicy]) -> Iterator[tuple[str, Sequence[Cluster]]]:
    """What the policy has rows for, in words, and the clusters that serve each."""
    clusters = [each.document for each in catalogue.clusters_of(policy)]
    for model in catalogue.models_of(policy):
        yield f"the requests for {model}", [each for each in clusters if model in each.spec.models]
    if policy.document.spec.match.models is None:
        yield "the requests that name no model", clusters


def _repeated(policy: Written[TrafficPolicy], path: Path, rules: Sequence[ShareRule]) -> Iterator[Problem]:
    first: dict[tuple[str | None, str | None], int] = {}
    for index, rule in enumerate(rules):
        original = first.setdefault((rule.cluster, rule.site), index)
        if original != index:
            field = "cluster" if rule.cluster is not None else "site"
            yield policy.problem(
                (*path, index, field),
                f"a second rule for {shown(rule.cluster or rule.site)}",
                expected=f"one rule; the first stands at {policy.place((*path, original, field))}",
            )


def _bounds(
    policy: Written[TrafficPolicy], path: Path, rules: Sequence[ShareRule], clusters: Sequence[Cluster], row: str
) -> Iterator[Problem]:
    """What cannot be kept of one row's shares, given the clusters that serve it."""
    of_cluster = {rule.cluster: rule for rule in rules if rule.cluster is not None}
    of_site = {rule.site: (index, rule) for index, rule in enumerate(rules) if rule.site is not None}
    floors = ceilings = 0.0
    for site in Site:
        here = [each.name for each in clusters if each.spec.site is site]
        if not here:
            continue
        floor = sum(of_cluster[name].floor for name in here if name in of_cluster)
        ceiling = sum(of_cluster[name].ceiling if name in of_cluster else 1.0 for name in here)
        if site in of_site:
            index, rule = of_site[site]
            if floor > rule.ceiling + _ROUNDING:
                yield policy.problem(
                    (*path, index),
                    f"the clusters of {site} are promised {format_percentage(floor)} of {row}",
                    expected=f"at most the {format_percentage(rule.ceiling)} that the site may have",
                )
            if rule.floor > ceiling + _ROUNDING:
                yield policy.problem(
                    (*path, index),
                    f"the clusters of {site} may have {format_percentage(ceiling)} of {row}",
                    expected=f"at least the {format_percentage(rule.floor)} that the site is promised",
                )
            floor, ceiling = max(floor, rule.floor), min(ceiling, rule.ceiling)
        floors, ceilings = floors + floor, ceilings + ceiling
    if floors > 1 + _ROUNDING:
        yield policy.problem(
            path,
            f"{format_percentage(floors)} of {row} are promised",
            expected="floors and pins that add up to at most 100%",
        )
    if clusters and ceilings < 1 - _ROUNDING:
        yield policy.problem(
            path,
            f"only {format_percentage(ceilings)} of {row} may go anywhere",
            expected="ceilings and pins that add up to at least 100%",
        )
