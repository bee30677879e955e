"""Does a document make sense by itself? What its schema cannot say: fields that need or exclude one another."""

import ipaddress
import re
from collections.abc import Iterator
from typing import Final

from penstock_policies.catalogue import Catalogue, Written
from penstock_policies.feed_checks import check_feed
from penstock_policies.policyset import ANY_MODEL
from penstock_policies.probing_checks import check_probing
from penstock_policies.problems import Path, Problem, listed, shown
from penstock_policies.schema import AnyDocument, Cluster, Endpoint, Listener, TrafficPolicy
from penstock_policies.suggestions import closest
from penstock_policies.words import Vantage

_DNS_LABEL: Final = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?")
_CONTROL_HEADERS: Final = ("x-envoy-", "x-penstock-")
"""What clients must not say, so that the edge takes it out: whoever could set these would steer Envoy."""
_DOTTED_DIGITS: Final = re.compile(r"[0-9.]+")


def check(catalogue: Catalogue) -> Iterator[Problem]:
    """Every document that could not work whatever the others say."""
    for cluster in catalogue.clusters.values():
        yield from _cost(cluster)
        yield from _carbon(cluster)
        yield from _power(cluster)
        yield from _versions_of_models(cluster)
        yield from _endpoints(cluster)
        yield from _probed_from_edge(cluster)
        yield from check_probing(cluster)
        yield from _reserved_model(cluster, ("spec", "models"), cluster.document.spec.models)
    for feed in catalogue.feeds.values():
        yield from check_feed(feed)
    for listener in catalogue.listeners.values():
        yield from _listener(listener)
    for policy in catalogue.policies.values():
        yield from _reserved_model(policy, ("spec", "match", "models"), policy.document.spec.match.models or ())
        yield from _affinity(policy)
        yield from _canaries(policy)
        yield from _schedules(policy)


def is_ip(address: str) -> bool:
    """Whether an address is an IP address rather than a DNS name."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


def _cost(cluster: Written[Cluster]) -> Iterator[Problem]:
    cost = cluster.document.spec.cost
    path: Path = ("spec", "cost")
    yield from _place_in_feed(cluster, path, "price", cost.feed, cost.key)
    if cost.feed is None and cost.key is None and cost.usd_per_million_tokens is None:
        yield cluster.problem(path, "the cluster has no price", expected="usdPerMillionTokens, or feed and key")


def _carbon(cluster: Written[Cluster]) -> Iterator[Problem]:
    carbon = cluster.document.spec.carbon
    path: Path = ("spec", "carbon")
    yield from _place_in_feed(cluster, path, "figure", carbon.feed, carbon.key)
    if carbon.feed is None and carbon.key is None and carbon.grams_per_million_tokens is None:
        yield cluster.problem(
            path, "the cluster has no carbon figure", expected="gramsPerMillionTokens, or feed and key"
        )


def _power(cluster: Written[Cluster]) -> Iterator[Problem]:
    power = cluster.document.spec.power
    if power is not None and power.loaded_kw <= power.idle_kw:
        yield cluster.problem(
            ("spec", "power", "loadedKw"),
            "a full cluster draws no more than an idle one",
            expected=f"more than idleKw, {power.idle_kw:g}",
        )


def _place_in_feed(
    cluster: Written[Cluster], path: Path, what: str, feed: str | None, key: str | None
) -> Iterator[Problem]:
    if feed is not None and key is None:
        yield cluster.problem((*path, "feed"), "a feed without a key", expected=f"key: the {what}'s key in the feed")
    if key is not None and feed is None:
        yield cluster.problem((*path, "key"), "a key without a feed", expected="feed: the name of a CostFeed")


def _versions_of_models(cluster: Written[Cluster]) -> Iterator[Problem]:
    spec = cluster.document.spec
    for model in spec.model_versions:
        if model not in spec.models:
            yield cluster.problem(
                ("spec", "modelVersions", model),
                f"a version of {shown(model)}, which the cluster does not serve",
                expected=f"a version of one of {listed(spec.models)}",
                suggestion=closest(model, spec.models),
            )


def _affinity(policy: Written[TrafficPolicy]) -> Iterator[Problem]:
    affinity = policy.document.spec.affinity
    if affinity is None or affinity.header is None:
        return
    header = affinity.header.lower()
    if header.startswith(_CONTROL_HEADERS):
        yield policy.problem(
            ("spec", "affinity", "header"),
            f"the edge removes {shown(affinity.header)} from requests before anything else",
            expected=f"a header that begins with neither {' nor '.join(_CONTROL_HEADERS)}",
        )


def _canaries(policy: Written[TrafficPolicy]) -> Iterator[Problem]:
    for model, rule in policy.document.spec.versions.items():
        if rule.canary == rule.stable:
            yield policy.problem(
                ("spec", "versions", model, "canary"),
                f"{shown(rule.canary)} is on trial and stable at once",
                expected="another version than stable, or no canary",
            )


def _schedules(policy: Written[TrafficPolicy]) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, schedule in enumerate(policy.document.spec.schedules):
        original = first.setdefault(schedule.name, index)
        if original != index:
            yield policy.problem(
                ("spec", "schedules", index, "name"),
                f"a second schedule named {shown(schedule.name)}",
                expected=f"a name that no other schedule has; the first stands at "
                f"{policy.place(('spec', 'schedules', original, 'name'))}",
            )


def _endpoints(cluster: Written[Cluster]) -> Iterator[Problem]:
    endpoints = cluster.document.spec.endpoints
    by_ip = is_ip(endpoints[0].address)
    for index, endpoint in enumerate(endpoints):
        path: Path = ("spec", "endpoints", index)
        if not is_ip(endpoint.address) and not _is_dns_name(endpoint.address):
            yield cluster.problem(
                (*path, "address"), f"malformed value {shown(endpoint.address)}", expected="an IP address or a DNS name"
            )
        elif is_ip(endpoint.address) is not by_ip:
            yield cluster.problem(
                (*path, "address"),
                "IP addresses and DNS names in one cluster",
                expected=f"{'an IP address' if by_ip else 'a DNS name'} like the first endpoint's, or two clusters",
            )
        yield from _tls(cluster, endpoints[0], endpoint, path)


def _tls(cluster: Written[Cluster], first: Endpoint, endpoint: Endpoint, path: Path) -> Iterator[Problem]:
    mixed = "TLS and plain endpoints in one cluster"
    if first.tls is None and endpoint.tls is not None:
        yield cluster.problem((*path, "tls"), mixed, expected="no tls, like the first endpoint, or two clusters")
    elif first.tls is not None and endpoint.tls is None:
        yield cluster.problem(path, mixed, expected="tls, like the first endpoint, or two clusters")
    elif first.tls is not None and endpoint.tls is not None:
        if first.tls.sni != endpoint.tls.sni:
            yield cluster.problem(
                (*path, "tls", "sni"),
                "endpoints of one cluster with different SNI",
                expected=f"{first.tls.sni} as in the first endpoint, or two clusters",
            )
        if first.tls.ca_file != endpoint.tls.ca_file:
            yield cluster.problem(
                (*path, "tls", "caFile"),
                "endpoints of one cluster with different trusted roots",
                expected=f"{first.tls.ca_file} as in the first endpoint, or two clusters",
            )


def _probed_from_edge(cluster: Written[Cluster]) -> Iterator[Problem]:
    spec = cluster.document.spec
    if spec.health.vantage is Vantage.EDGE and not all(is_ip(endpoint.address) for endpoint in spec.endpoints):
        yield cluster.problem(
            ("spec", "health", "from"),
            "the edge cannot probe endpoints by DNS name: Envoy resolves none for health discovery",
            expected="from: control-plane, or endpoints with IP addresses",
        )


def _is_dns_name(address: str) -> bool:
    labels = address.removesuffix(".").split(".")
    return all(_DNS_LABEL.fullmatch(label) for label in labels) and not _DOTTED_DIGITS.fullmatch(address)


def _listener(listener: Written[Listener]) -> Iterator[Problem]:
    address = listener.document.spec.address
    if not is_ip(address):
        yield listener.problem(
            ("spec", "address"),
            f"malformed value {shown(address)}",
            expected="an IP address, such as 0.0.0.0 for every interface",
        )


def _reserved_model(document: Written[AnyDocument], path: Path, models: tuple[str, ...]) -> Iterator[Problem]:
    if ANY_MODEL in models:
        yield document.problem(
            (*path, models.index(ANY_MODEL)),
            f"{shown(ANY_MODEL)} is no model",
            expected="the name of a model; a policy without match.models is for every model",
        )
