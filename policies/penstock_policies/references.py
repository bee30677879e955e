"""Do the documents find one another? Names used that nobody declares, and names listed twice."""

from collections.abc import Iterator, Sequence

from penstock_policies.catalogue import Catalogue, Written
from penstock_policies.problems import Path, Problem, listed, shown
from penstock_policies.schema import AnyDocument
from penstock_policies.suggestions import closest


def check(catalogue: Catalogue) -> Iterator[Problem]:
    """Every name that is not declared, and every name or model that a list holds twice."""
    for cluster in catalogue.clusters.values():
        feed = cluster.document.spec.cost.feed
        if feed is not None:
            yield from _unknown(catalogue, cluster, ("spec", "cost", "feed"), "CostFeed", feed)
        yield from _repeated(cluster, ("spec", "models"), cluster.document.spec.models)
        endpoints = [endpoint.key for endpoint in cluster.document.spec.endpoints]
        yield from _repeated(cluster, ("spec", "endpoints"), endpoints)
    for group in catalogue.groups.values():
        yield from _names(catalogue, group, ("spec", "listeners"), "Listener", group.document.spec.listeners)
    for rule in catalogue.residency.values():
        allowed = rule.document.spec.allow.clusters
        if allowed is not None:
            yield from _names(catalogue, rule, ("spec", "allow", "clusters"), "Cluster", allowed)
    for policy in catalogue.policies.values():
        yield from _names(catalogue, policy, ("spec", "clusters"), "Cluster", policy.document.spec.clusters)
        models = policy.document.spec.match.models
        if models is not None:
            yield from _repeated(policy, ("spec", "match", "models"), models)


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
