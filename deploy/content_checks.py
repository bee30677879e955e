"""The policies and Envoy bootstraps that deploy files carry are good ones, by Penstock's own judgement and Envoy's."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from deploy.findings import Document, Finding, at
from penstock_envoy import bootstrap
from penstock_envoy.binary import EnvoyNotFound, find
from penstock_envoy.process import EnvoyFailedError, validate
from penstock_policies.loader import load
from penstock_policies.policyset import PolicySet


def check_policies(file: str, where: str, files: Mapping[str, str]) -> tuple[PolicySet | None, list[Finding]]:
    """Load policy files (name to text, other files among them) as the control plane would."""
    loaded = load({name: text for name, text in files.items() if name.endswith((".yaml", ".yml"))})
    findings = [Finding(file, where, str(problem)) for problem in loaded.problems]
    feeds = loaded.policy_set.feeds.values() if loaded.policy_set else ()
    findings += [
        Finding(file, where, f"cost feed {feed.name} reads {feed.spec.path}, which is not there")
        for feed in feeds
        if feed.spec.path is not None and feed.spec.path not in files
    ]
    return loaded.policy_set, findings


def check_bootstrap(file: str, where: str, text: str, policy: PolicySet | None) -> Iterator[Finding]:
    """Judge an Envoy bootstrap: what ``penstock bootstrap`` prints for its arguments, and good in Envoy's eyes."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        yield Finding(file, where, f"is not YAML: {error}")
        return
    address = _xds_address(document)
    node, cluster = at(document, "node.id"), at(document, "node.cluster")
    admin_port = at(document, "admin.address.socket_address.port_value")
    if address is None or not isinstance(node, str) or not isinstance(cluster, str) or not isinstance(admin_port, int):
        yield Finding(file, where, "is no bootstrap of ours: node, admin or control plane address is missing")
        return
    expected = bootstrap.render(
        node,
        cluster,
        str(address["address"]),
        int(address["port_value"]),
        region=at(document, "node.locality.region") or "",
        admin_port=admin_port,
    )
    if document != yaml.safe_load(expected):
        yield Finding(file, where, "is not what `penstock bootstrap` prints today for its arguments")
    if policy is not None and cluster not in {group.spec.match.cluster for group in policy.groups.values()}:
        yield Finding(file, where, f"no NodeGroup of the policies matches node.cluster {cluster}")
    yield from _ask_envoy(file, where, text)


def xds_host(text: str) -> str | None:
    """The control plane's host name in a bootstrap."""
    address = _xds_address(yaml.safe_load(text))
    return None if address is None else str(address["address"])


def _xds_address(document: Document) -> Mapping[str, Any] | None:
    clusters = at(document, "static_resources.clusters") or []
    for cluster in clusters:
        for locality in at(cluster, "load_assignment.endpoints") or []:
            for endpoint in locality.get("lb_endpoints") or []:
                address = at(endpoint, "endpoint.address.socket_address")
                if isinstance(address, Mapping):
                    return address
    return None


def _ask_envoy(file: str, where: str, text: str) -> Iterator[Finding]:
    try:
        find()
    except EnvoyNotFound:
        return
    try:
        validate(text)
    except EnvoyFailedError as error:
        yield Finding(file, where, f"Envoy refuses it: {error}")
