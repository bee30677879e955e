"""What matches nothing: documents that are right in themselves and have no effect. Warnings, all of them.

Told only of a directory whose documents all passed; otherwise every broken document would make others look idle.
"""

from collections.abc import Iterator

from penstock_policies.catalogue import Catalogue, Written
from penstock_policies.problems import Problem, listed, shown
from penstock_policies.schema import Cluster, CostFeed, ResidencyRule, TrafficPolicy
from penstock_policies.suggestions import closest
from penstock_policies.words import DataClass, Engine

_WITHOUT_METRICS = frozenset({Engine.OLLAMA, Engine.OPENAI})
"""Engines that serve no metrics of their load; Envoy's own statistics tell of them."""


def check(catalogue: Catalogue) -> Iterator[Problem]:
    """Every document, or part of one, that matches nothing."""
    yield from _unused_clusters(catalogue)
    yield from _unused_feeds(catalogue)
    yield from _unread_metrics(catalogue)
    yield from _listeners(catalogue)
    for rule in catalogue.residency.values():
        yield from _rule(catalogue, rule)
    for policy in catalogue.policies.values():
        yield from _policy(catalogue, policy)
    yield from _restricted_without_rule(catalogue)


def _unused_clusters(catalogue: Catalogue) -> Iterator[Problem]:
    used = {name for policy in catalogue.policies.values() for name in policy.document.spec.clusters}
    for name, cluster in catalogue.clusters.items():
        if name not in used:
            yield cluster.warning(
                ("metadata", "name"), "no policy uses the cluster", expected="a TrafficPolicy naming it"
            )


def _unread_metrics(catalogue: Catalogue) -> Iterator[Problem]:
    for cluster in catalogue.clusters.values():
        spec = cluster.document.spec
        if spec.engine in _WITHOUT_METRICS and spec.metrics.model_fields_set:
            yield cluster.warning(
                ("spec", "metrics"), f"nothing is read there: {spec.engine} tells no metrics", expected="no metrics"
            )


def _unused_feeds(catalogue: Catalogue) -> Iterator[Problem]:
    specs = [cluster.document.spec for cluster in catalogue.clusters.values()]
    used = {spec.cost.feed for spec in specs} | {spec.carbon.feed for spec in specs}
    for name, feed in catalogue.feeds.items():
        if name not in used:
            priced = feed.document.spec.measures == "price"
            yield feed.warning(
                ("metadata", "name"),
                f"no cluster takes its {'price' if priced else 'carbon figure'} from the feed",
                expected=f"a Cluster with {'cost' if priced else 'carbon'}.feed",
            )
        else:
            yield from _unused_figures(catalogue, feed)
            yield from _unused_rates(feed)


def _unused_figures(catalogue: Catalogue, feed: Written[CostFeed]) -> Iterator[Problem]:
    costs = [cluster.document.spec.cost for cluster in catalogue.clusters.values()]
    used = {cost.key for cost in costs if cost.feed == feed.name}
    for field, keys in feed.document.spec.keys_by_field().items():
        for index, key in enumerate(keys):
            if key not in used:
                yield feed.warning(
                    ("spec", field, index, "key"),
                    f"no cluster takes its price from {shown(key)}",
                    expected=f"a Cluster with cost.feed {feed.name} and this cost.key",
                )


def _unused_rates(feed: Written[CostFeed]) -> Iterator[Problem]:
    spec = feed.document.spec
    if spec.usd_per_unit is None:
        return  # the rate was meant for the currency, and one of the two is misspelt: an error already
    for currency in spec.rates:
        if currency != spec.currency:
            yield feed.warning(
                ("spec", "rates", currency),
                f"no figure of the feed is in {currency}",
                expected=f"spec.currency {currency}",
            )


def _listeners(catalogue: Catalogue) -> Iterator[Problem]:
    used = {name for group in catalogue.groups.values() for name in group.document.spec.listeners}
    classes = {policy.document.spec.data_class for policy in catalogue.policies.values()}
    for name, listener in catalogue.listeners.items():
        data_class = listener.document.spec.data_class
        if name not in used:
            yield listener.warning(
                ("metadata", "name"), "no group has the listener", expected="a NodeGroup with it among its listeners"
            )
        elif data_class not in classes:
            yield listener.warning(
                ("spec", "dataClass"),
                f"no policy is for {data_class} data, so the listener refuses every request of its class",
                expected=f"a TrafficPolicy with dataClass {data_class}",
            )


def _rule(catalogue: Catalogue, rule: Written[ResidencyRule]) -> Iterator[Problem]:
    spec = rule.document.spec
    if all(policy.document.spec.data_class is not spec.data_class for policy in catalogue.policies.values()):
        yield rule.warning(
            ("spec", "dataClass"),
            f"the rule matches nothing: no policy is for {spec.data_class} data",
            expected=f"a TrafficPolicy with dataClass {spec.data_class}",
        )
    allow = spec.allow
    if allow.sites is None and allow.regions is None and allow.clusters is None:
        yield rule.warning(("spec", "allow"), "the rule forbids nothing", expected="sites, regions or clusters")
    sites = {cluster.document.spec.site for cluster in catalogue.clusters.values()}
    for index, site in enumerate(allow.sites or ()):
        if site not in sites:
            yield rule.warning(("spec", "allow", "sites", index), f"no cluster is at site {shown(site)}")
    regions = {cluster.document.spec.region for cluster in catalogue.clusters.values()}
    for index, region in enumerate(allow.regions or ()):
        if region not in regions:
            yield rule.warning(
                ("spec", "allow", "regions", index),
                f"no cluster is in region {shown(region)}",
                expected=f"one of {listed(sorted(regions))}",
                suggestion=closest(region, regions),
            )


def _policy(catalogue: Catalogue, policy: Written[TrafficPolicy]) -> Iterator[Problem]:
    spec = policy.document.spec
    if spec.data_class not in _carried(catalogue):
        yield policy.warning(
            ("spec", "dataClass"),
            f"the policy matches nothing: no listener of a group carries {spec.data_class} data",
            expected=f"a Listener with dataClass {spec.data_class} or a less strict one in a NodeGroup",
        )
    if spec.match.models is None:
        return
    if not spec.match.models:
        yield policy.warning(
            ("spec", "match", "models"),
            "the policy matches nothing: its list of models is empty",
            expected="models, or no such field for every model",
        )
        return
    for index, cluster in enumerate(catalogue.clusters_of(policy)):
        if not set(cluster.document.spec.models) & set(spec.match.models):
            yield policy.warning(
                ("spec", "clusters", index),
                f"the cluster {shown(cluster.name)} serves none of the policy's models",
                expected=f"a cluster with {_one_of(spec.match.models)}, {_served(cluster)}",
            )


def _carried(catalogue: Catalogue) -> frozenset[DataClass]:
    """Collect the classes that can reach a policy: those of listeners in groups, and what clients may make of them."""
    return frozenset(
        data_class
        for group in catalogue.groups.values()
        for listener in catalogue.listeners_of(group)
        for data_class in listener.document.spec.data_class.at_least()
    )


def _restricted_without_rule(catalogue: Catalogue) -> Iterator[Problem]:
    rules = {rule.document.spec.data_class for rule in catalogue.residency.values()}
    if DataClass.RESTRICTED in rules:
        return
    for policy in catalogue.policies.values():
        if policy.document.spec.data_class is DataClass.RESTRICTED:
            yield policy.warning(
                ("spec", "dataClass"),
                "no residency rule is for restricted data: the policy's own clusters alone limit where it goes",
                expected="a ResidencyRule with dataClass restricted",
            )


def _one_of(models: tuple[str, ...]) -> str:
    return f"model {models[0]}" if len(models) == 1 else f"one of the models {listed(models)}"


def _served(cluster: Written[Cluster]) -> str:
    return f"not {listed(cluster.document.spec.models)}"
