"""Can the documents stand side by side?

Residency against policies, what policies ask of their clusters, policies against one another, ports, groups.
"""

import ipaddress
from collections.abc import Iterator

from penstock_policies.catalogue import Catalogue, Written
from penstock_policies.coherence import is_ip
from penstock_policies.policyset import forbids
from penstock_policies.problems import Path, Problem, listed, shown
from penstock_policies.schema import Cluster, NodeGroup, TrafficPolicy
from penstock_policies.steering import Selection
from penstock_policies.suggestions import closest
from penstock_policies.words import DataClass


def check(catalogue: Catalogue) -> Iterator[Problem]:
    """Every contradiction between documents."""
    for cluster in catalogue.clusters.values():
        yield from _other_measures(catalogue, cluster)
    for policy in catalogue.policies.values():
        yield from _forbidden_clusters(catalogue, policy)
        yield from _unserved_models(catalogue, policy)
        yield from _unserved_versions(catalogue, policy)
        yield from _empty_hours(catalogue, policy)
    yield from _same_traffic(catalogue)
    yield from _same_envoys(catalogue)
    for group in catalogue.groups.values():
        yield from _same_port(catalogue, group)


def _other_measures(catalogue: Catalogue, cluster: Written[Cluster]) -> Iterator[Problem]:
    """Prices taken from a feed of carbon intensities, or the other way round."""
    spec = cluster.document.spec
    for field, wanted, name in (("cost", "price", spec.cost.feed), ("carbon", "carbon", spec.carbon.feed)):
        feed = catalogue.feeds.get(name) if name is not None else None
        if feed is not None and feed.document.spec.measures != wanted:
            yield cluster.problem(
                ("spec", field, "feed"),
                f"the feed {shown(feed.name)} measures {feed.document.spec.measures}",
                expected=f"a CostFeed with measures: {wanted}; it stands at {feed.origin}",
            )


def _forbidden_clusters(catalogue: Catalogue, policy: Written[TrafficPolicy]) -> Iterator[Problem]:
    spec = policy.document.spec
    for index, name in enumerate(spec.clusters):
        cluster = catalogue.clusters.get(name)
        if cluster is None:
            continue
        for rule in catalogue.residency.values():
            if not set(rule.document.spec.allow.clusters or ()) <= catalogue.names["Cluster"]:
                continue  # an unknown name in it is an error already, and would forbid what it was meant to allow
            reason = forbids(rule.document, cluster.document, spec.data_class)
            if reason is not None:
                facts = f"{name} is {cluster.document.spec.site} in {cluster.document.spec.region}"
                yield policy.problem(
                    ("spec", "clusters", index),
                    f"{spec.data_class} data may not reach cluster {shown(name)} ({facts})",
                    expected=f"a cluster that residency allows: {reason} ({rule.origin})",
                )


def _unserved_models(catalogue: Catalogue, policy: Written[TrafficPolicy]) -> Iterator[Problem]:
    clusters = catalogue.clusters_of(policy)
    if len(clusters) != len(policy.document.spec.clusters):
        return
    served = {model for cluster in clusters for model in cluster.document.spec.models}
    for index, model in enumerate(policy.document.spec.match.models or ()):
        if model not in served:
            yield policy.problem(
                ("spec", "match", "models", index),
                f"none of the policy's clusters serves the model {shown(model)}",
                expected=f"one of {listed(sorted(served))}",
                suggestion=closest(model, served),
            )


def _unserved_versions(catalogue: Catalogue, policy: Written[TrafficPolicy]) -> Iterator[Problem]:
    """Versions asked of models that no cluster has, or no cluster in that version."""
    clusters = catalogue.clusters_of(policy)
    if len(clusters) != len(policy.document.spec.clusters):
        return
    models = set(catalogue.models_of(policy))
    for model, rule in policy.document.spec.versions.items():
        path: Path = ("spec", "versions", model)
        if model not in models:
            yield policy.problem(
                path,
                f"versions of {shown(model)}, for which the policy is not or which none of its clusters serves",
                expected=f"one of {listed(sorted(models))}",
                suggestion=closest(model, models),
            )
            continue
        versions = {each.document.spec.model_versions.get(model, "") for each in clusters} - {""}
        if rule.stable not in versions:
            yield policy.problem(
                (*path, "stable"),
                f"none of the policy's clusters serves version {shown(rule.stable)} of {model}",
                expected=f"one of {listed(sorted(versions))}" if versions else "modelVersions in a Cluster to say so",
                suggestion=closest(rule.stable, versions),
            )


def _empty_hours(catalogue: Catalogue, policy: Written[TrafficPolicy]) -> Iterator[Problem]:
    clusters = catalogue.clusters_of(policy)
    if len(clusters) != len(policy.document.spec.clusters):
        return
    for index, schedule in enumerate(policy.document.spec.schedules):
        only = schedule.only
        if only is not None and not any(_fits(only, each.document) for each in clusters):
            known = listed([f"{c.name} ({c.document.spec.site}, {c.document.spec.region})" for c in clusters])
            yield policy.problem(
                ("spec", "schedules", index, "only"),
                "none of the policy's clusters fits, so the schedule could not be kept",
                expected=f"what fits at least one of {known}",
            )


def _fits(only: Selection, cluster: Cluster) -> bool:
    return only.fits(cluster.name, cluster.spec.site, cluster.spec.region)


def _same_traffic(catalogue: Catalogue) -> Iterator[Problem]:
    """Two policies of one class and path whose models intersect, or that are both for every model.

    One that names a model beats one that does not, and a longer path beats a shorter one: these are no conflicts.
    """
    taken: dict[tuple[DataClass, str, str | None], Written[TrafficPolicy]] = {}
    for policy in sorted(catalogue.policies.values(), key=lambda written: (written.origin.file, written.origin.line)):
        spec = policy.document.spec
        models: tuple[str | None, ...] = (None,) if spec.match.models is None else spec.match.models
        rivals: dict[str, tuple[Written[TrafficPolicy], list[str]]] = {}
        for model in dict.fromkeys(models):
            rival = taken.setdefault((spec.data_class, spec.match.path, model), policy)
            if rival is not policy:
                rivals.setdefault(rival.name, (rival, []))[1].append("every model" if model is None else model)
        for rival, shared in rivals.values():
            yield policy.problem(
                ("spec", "match"),
                f"the policy matches the same traffic as {shown(rival.name)} at {rival.place(('spec', 'match'))}: "
                f"{spec.data_class} requests on {spec.match.path} for {listed(shared)}",
                expected="another path, other models or another dataClass",
            )


def _same_envoys(catalogue: Catalogue) -> Iterator[Problem]:
    taken: dict[str, Written[NodeGroup]] = {}
    for group in sorted(catalogue.groups.values(), key=lambda written: (written.origin.file, written.origin.line)):
        cluster = group.document.spec.match.cluster
        rival = taken.setdefault(cluster, group)
        if rival is not group:
            path = ("spec", "match", "cluster")
            yield group.problem(
                path,
                f"the group matches the same Envoys as {shown(rival.name)} at {rival.place(path)}",
                expected="another node cluster",
            )


def _same_port(catalogue: Catalogue, group: Written[NodeGroup]) -> Iterator[Problem]:
    taken: dict[str, str] = {}
    for index, name in enumerate(group.document.spec.listeners):
        listener = catalogue.listeners.get(name)
        if listener is None:
            continue
        spec = listener.document.spec
        if not is_ip(spec.address):
            continue
        address = ipaddress.ip_address(spec.address)
        socket = f"[{address}]:{spec.port}" if address.version == 6 else f"{address}:{spec.port}"
        rival = taken.setdefault(socket, name)
        if rival != name:
            yield group.problem(
                ("spec", "listeners", index),
                f"the listener {shown(name)} is on {socket}, as is {shown(rival)} of the same group",
                expected=f"another port; they stand at {listener.place(('spec', 'port'))} "
                f"and {catalogue.listeners[rival].place(('spec', 'port'))}",
            )
