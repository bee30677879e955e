"""The walk from listeners to endpoints, and the judgement of each step against the policy set."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from penstock_envoy.residency.breach import ResidencyBreach
from penstock_envoy.residency.class_header import EVERY_STATE, masks_by_class
from penstock_envoy.residency.read_cluster import ClusterFacts, EndpointFacts, read_cluster, read_endpoints
from penstock_envoy.residency.read_listener import ListenerFacts, read_listener
from penstock_envoy.residency.read_route import RouteFacts, read_route, read_table
from penstock_envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, EnvoyResource
from penstock_policies.policyset import PolicySet
from penstock_policies.schema import Cluster, TrafficPolicy
from penstock_policies.words import DataClass


@dataclass(frozen=True, slots=True)
class Proof:
    """What was proven: for each class of data, all that its requests can reach from the group's listeners."""

    group: str
    clusters: Mapping[DataClass, frozenset[str]]
    endpoints: Mapping[DataClass, frozenset[str]]
    """As ``address:port``."""
    routes: int
    """How many routes were walked."""


def prove(policy: PolicySet, resources: Iterable[EnvoyResource], group: str) -> Proof:
    """Prove that resources carry each class of data only to clusters it may reach and its policy names.

    Raises:
        ResidencyBreach: they do not, or it cannot be proven.
    """
    if group not in policy.groups:
        raise ResidencyBreach((f"group {group}",), "the policy has no such node group")
    walk = _Walk(policy, _by_type(resources))
    for name, body in walk.resources[LISTENER].items():
        facts = read_listener(body)
        _same_name(facts.name, name, "listener")
        floor = _floor(policy, group, facts)
        for table in facts.tables:
            try:
                walk.table(table, floor)
            except ResidencyBreach as breach:
                raise breach.under(f"listener {name}") from None
    return Proof(
        group,
        {each: frozenset(found) for each, found in walk.clusters.items()},
        {each: frozenset(found) for each, found in walk.endpoints.items()},
        walk.routes,
    )


def _by_type(resources: Iterable[EnvoyResource]) -> dict[str, dict[str, bytes]]:
    found: dict[str, dict[str, bytes]] = {LISTENER: {}, ROUTE: {}, CLUSTER: {}, ENDPOINT: {}}
    for each in resources:
        if each.type_url not in found:
            raise ResidencyBreach((f"{each.type_url} {each.name}",), "resources of this type are not known")
        if each.name in found[each.type_url]:
            raise ResidencyBreach((f"{each.type_url} {each.name}",), "is there twice")
        found[each.type_url][each.name] = each.body
    return found


def _floor(policy: PolicySet, group: str, facts: ListenerFacts) -> DataClass:
    """The class of the data that comes in by a listener, from the policy and nowhere else."""
    what = f"listener {facts.name}"
    if facts.name not in policy.groups[group].spec.listeners:
        raise ResidencyBreach((what,), f"is not one of group {group}")
    spec = policy.listeners[facts.name].spec
    if (facts.address, facts.port) != (spec.address, spec.port):
        raise ResidencyBreach((what,), f"listens on {facts.address}:{facts.port}, not {spec.address}:{spec.port}")
    return spec.data_class


def _same_name(inner: str, outer: str, kind: str) -> None:
    if inner != outer:
        raise ResidencyBreach((f"{kind} {outer}",), f"calls itself {inner}")


@dataclass(slots=True)
class _Walk:
    """What is known so far of one set of resources."""

    policy: PolicySet
    resources: Mapping[str, Mapping[str, bytes]]
    routes: int = 0
    clusters: dict[DataClass, set[str]] = field(default_factory=lambda: {each: set() for each in DataClass})
    endpoints: dict[DataClass, set[str]] = field(default_factory=lambda: {each: set() for each in DataClass})
    good_targets: set[tuple[DataClass, str, str]] = field(default_factory=set)
    """(class, policy, cluster) that a route may lead to, already found good."""
    good_members: set[tuple[DataClass, str, str]] = field(default_factory=set)
    """The same of members of composite clusters."""
    homes: dict[tuple[str, int], list[str]] = field(default_factory=dict)
    """Address and port to the policy clusters that have such an endpoint."""

    def __post_init__(self) -> None:
        for name, cluster in self.policy.clusters.items():
            for each in cluster.spec.endpoints:
                self.homes.setdefault((each.address, each.port), []).append(name)

    def table(self, name: str, floor: DataClass) -> None:
        """Walk a route table as the requests of a listener of class ``floor`` do."""
        body = self.resources[ROUTE].get(name)
        if body is None:
            raise ResidencyBreach((f"routes {name}",), "are not there")
        inner, hosts = read_table(body)
        _same_name(inner, name, "routes")
        masks = masks_by_class(floor)
        for host, routes in hosts:
            left = EVERY_STATE
            for serialised in routes:
                route = read_route(serialised)
                self.routes += 1
                reached = route.mask & left
                for data_class, mask in masks.items():
                    if reached & mask:
                        self._route(route, data_class, host)
                if route.catch_all:
                    left &= ~route.mask

    def _route(self, route: RouteFacts, data_class: DataClass, host: str) -> None:
        if not route.targets:
            return
        path = (f"virtual host {host}", f"route {route.name}")
        policy = self.policy.policies.get(route.policy)
        if policy is None:
            raise ResidencyBreach(path, f"names no policy that exists ({route.policy or 'none'})")
        if policy.spec.data_class is not data_class:
            raise ResidencyBreach(
                path,
                f"{data_class} requests reach a route of policy {policy.name}, which is for {policy.spec.data_class}",
            )
        _check_match(route, policy, path)
        for target in route.targets:
            try:
                self._target(target, policy, data_class)
            except ResidencyBreach as breach:
                raise breach.under(*path) from None

    def _target(self, target: str, policy: TrafficPolicy, data_class: DataClass) -> None:
        if (data_class, policy.name, target) in self.good_targets:
            return
        facts = self._cluster(target)
        if not facts.members:
            self._endpoints(facts, policy, data_class)
        for member in dict.fromkeys(facts.members):
            if (data_class, policy.name, member) in self.good_members:
                continue
            inner = self._cluster(member)
            if inner.members:
                raise ResidencyBreach((f"cluster {target}", f"cluster {member}"), "a composite within a composite")
            try:
                self._endpoints(inner, policy, data_class)
            except ResidencyBreach as breach:
                raise breach.under(f"cluster {target}") from None
            self.good_members.add((data_class, policy.name, member))
        self.good_targets.add((data_class, policy.name, target))

    def _cluster(self, name: str) -> ClusterFacts:
        body = self.resources[CLUSTER].get(name)
        if body is None:
            raise ResidencyBreach((f"cluster {name}",), "is not there")
        facts = read_cluster(body)
        _same_name(facts.name, name, "cluster")
        return facts

    def _endpoints(self, facts: ClusterFacts, policy: TrafficPolicy, data_class: DataClass) -> None:
        what = f"cluster {facts.name}"
        document = self.policy.clusters.get(facts.name)
        if document is None:
            raise ResidencyBreach((what,), "is not a cluster of the policy files")
        if facts.name not in policy.spec.clusters:
            raise ResidencyBreach((what,), f"policy {policy.name} does not name it")
        self._check_allowed(document, data_class, what)
        secure = document.spec.endpoints[0].tls
        if (facts.sni, facts.ca_file) != ((secure.sni, secure.ca_file) if secure else (None, "")):
            raise ResidencyBreach((what,), f"its TLS ({facts.sni or 'none'}) is not what the policy files ask for")
        for each in self._addresses(facts):
            inner = f"endpoint {each.address}:{each.port}"
            homes = self.homes.get((each.address, each.port), [])
            if facts.name not in homes:
                raise ResidencyBreach((what, inner), f"is not an endpoint of {facts.name} in the policy files")
            if each.mark != facts.name:
                raise ResidencyBreach((what, inner), f"is marked as of {each.mark or 'no cluster'}")
            for home in homes:
                self._check_allowed(self.policy.clusters[home], data_class, inner)
            self.endpoints[data_class].add(f"{each.address}:{each.port}")
        self.clusters[data_class].add(facts.name)

    def _check_allowed(self, document: Cluster, data_class: DataClass, what: str) -> None:
        reason = self.policy.allowed(document, data_class)
        if reason is not None:
            raise ResidencyBreach((what,), f"{data_class} data may not reach {document.name}: {reason}")

    def _addresses(self, facts: ClusterFacts) -> tuple[EndpointFacts, ...]:
        if facts.endpoints is not None:
            return facts.endpoints
        body = self.resources[ENDPOINT].get(facts.name)
        if body is None:
            raise ResidencyBreach((f"cluster {facts.name}",), "its endpoints are not there")
        name, found = read_endpoints(body)
        _same_name(name, facts.name, "endpoints")
        return found


def _check_match(route: RouteFacts, policy: TrafficPolicy, path: tuple[str, ...]) -> None:
    """A route that carries a policy's name must match no more than the policy does."""
    match = policy.spec.match
    if route.path != match.path.rstrip("/"):
        raise ResidencyBreach(path, f"matches {route.path or '/'}, but policy {policy.name} is for {match.path}")
    if match.models is not None and (route.models is None or not route.models <= set(match.models)):
        raise ResidencyBreach(path, f"matches more models than policy {policy.name} is for")
