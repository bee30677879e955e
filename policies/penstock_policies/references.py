"""Do the documents find one another? Names used that nobody declares, and names listed twice."""

from collections.abc import Iterator, Sequence

from penstock_policies.catalogue import Catalogue, Written
from penstock_policies.priced import check_key
from penstock_policies.problems import Path, Problem, listed, shown
from penstock_policies.schema import AnyDocument, Cluster, TrafficPolicy, TrafficPolicySpec
from penstock_policies.steering import ShareRule, Tier
from penstock_policies.suggestions import closest


def check(catalogue: Catalogue) -> Iterator[Problem]:
    """Every name that is not declared, and every name or model that a list holds twice."""
    for cluster in catalogue.clusters.values():
        yield from _cluster(catalogue, cluster)
    for feed in catalogue.feeds.values():
        for field, keys in feed.document.spec.keys_by_field().items():
            yield from _repeated(feed, ("spec", field), keys)
    for group in catalogue.groups.values():
        yield from _names(catalogue, group, ("spec", "listeners"), "Listener", group.document.spec.listeners)
    for rule in catalogue.residency.values():
        allowed = rule.document.spec.allow.clusters
        if allowed is not None:
            yield from _names(catalogue, rule, ("spec", "allow", "clusters"), "Cluster", allowed)
    for policy in catalogue.policies.values():
        yield from _policy(catalogue, policy)
    for budget in catalogue.budgets.values():
        scope = budget.document.spec.scope
        for field, kind, name in (("policy", "TrafficPolicy", scope.policy), ("cluster", "Cluster", scope.cluster)):
            if name is not None:
                yield from _unknown(catalogue, budget, ("spec", "scope", field), kind, name)


def _cluster(catalogue: Catalogue, cluster: Written[Cluster]) -> Iterator[Problem]:
    spec = cluster.document.spec
    for field, feed in (("cost", spec.cost.feed), ("carbon", spec.carbon.feed)):
        if feed is not None:
            yield from _unknown(catalogue, cluster, ("spec", field, "feed"), "CostFeed", feed)
    yield from check_key(catalogue, cluster)
    yield from _repeated(cluster, ("spec", "models"), spec.models)
    yield from _repeated(cluster, ("spec", "endpoints"), [endpoint.key for endpoint in spec.endpoints])


def _policy(catalogue: Catalogue, policy: Written[TrafficPolicy]) -> Iterator[Problem]:
    spec = policy.document.spec
    yield from _names(catalogue, policy, ("spec", "clusters"), "Cluster", spec.clusters)
    if spec.match.models is not None:
        yield from _repeated(policy, ("spec", "match", "models"), spec.match.models)
    for path, name in _steered(spec):
        yield from _not_of_policy(catalogue, policy, path, name)


def _steered(spec: TrafficPolicySpec) -> Iterator[tuple[Path, str]]:
    """Every cluster that a policy's tiers, shares and schedules name, and where."""
    yield from _tiers(("spec", "prefer"), spec.prefer)
    yield from _shares(("spec", "shares"), spec.shares)
    for index, schedule in enumerate(spec.schedules):
        path: Path = ("spec", "schedules", index)
        for number, name in enumerate((schedule.only.clusters if schedule.only is not None else None) or ()):
            yield (*path, "only", "clusters", number), name
        yield from _tiers((*path, "prefer"), schedule.prefer or ())
        yield from _shares((*path, "shares"), schedule.shares or ())


def _tiers(path: Path, tiers: Sequence[Tier]) -> Iterator[tuple[Path, str]]:
    for index, tier in enumerate(tiers):
        for number, name in enumerate(tier.clusters or ()):
            yield (*path, index, "clusters", number), name


def _shares(path: Path, rules: Sequence[ShareRule]) -> Iterator[tuple[Path, str]]:
    for index, rule in enumerate(rules):
        if rule.cluster is not None:
            yield (*path, index, "cluster"), rule.cluster


def _not_of_policy(catalogue: Catalogue, policy: Written[TrafficPolicy], path: Path, name: str) -> Iterator[Problem]:
    clusters = policy.document.spec.clusters
    if name in clusters:
        return
    if name not in catalogue.names.get("Cluster", frozenset()):
        yield from _unknown(catalogue, policy, path, "Cluster", name)
        return
    yield policy.problem(
        path,
        f"the policy does not name the cluster {shown(name)} among those that may serve",
        expected=f"one of {listed(clusters)}",
        suggestion=closest(name, clusters),
    )


def _names(
    catalogue: Catalogue, document: Written[AnyDocument], path: Path, kind: str, names: Sequence[str]
) -> Iterator[Problem]:
    yield from _repeated(document, path, names)
    for index, name in enumerate(names):
        if name not in names[:index]:
            yield from _unknown(catalogue, document, (*path, index), kind, name)


def _unknown(
    catalogue: Catalogue, document: Written[AnyDocument], path: Path, kind: str, name: str
) -> Iterator[Problem]:
    declared = catalogue.names.get(kind, frozenset())
    if name in declared or not catalogue.all_named:
        return
    others = sorted(other for other, names in catalogue.names.items() if name in names)
    message = f"no {kind} is named {shown(name)}"
    if others:
        message += f", though a {others[0]} is"
    expected = f"one of {listed(sorted(declared))}" if declared else f"the name of a {kind}; there is none"
    yield document.problem(path, message, expected=expected, suggestion=closest(name, declared))


def _repeated(document: Written[AnyDocument], path: Path, values: Sequence[str]) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, value in enumerate(values):
        if value in first:
            line = document.source.value_position((*path, first[value])).line
            yield document.problem((*path, index), f"{shown(value)} is listed twice", expected=f"it once (line {line})")
        else:
            first[value] = index
