"""The residency proof for what was generated at different times and is served together.

When an Envoy refuses a resource, its group is served an older version of that one and the new versions of all others:
a mixture that no policy file ever described. And each time a policy is replaced, Envoys pass through one, since
clusters and endpoints change before the routes that lead to them. A cluster that turns from on-prem to cloud in the
same edit that takes it out of a restricted policy is safe before and after; mixed, the old route leads restricted
requests to the cloud.

So a mixture is proven listener by listener, each against the documents its parts were made from:

* a cluster that is served as the policy before made it is judged by that policy's ``Cluster``, and by the newest
  word on the same addresses besides;
* a route table by the ``TrafficPolicy`` documents of the policy that made it;
* the class of what comes in by the newest word on that address and port;
* the residency rules by those now in force. Where a route table is older than those and breaks them, by the rules it
  was made under: it is what the group had, and holding everything else back would not mend it.

An Envoy that holds another version of a quarantined name keeps it (what a snapshot *tolerates*), so each of those is
proven with everything it could stand beside.

Pure but for the memory of which version was made from which policy. Used by the publisher: on the event loop's thread,
but for :meth:`Mixtures.objection_on_the_way`, which only reads and may run in another while nothing is published.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Final

from penstock_envoy.residency import ResidencyBreach, prove
from penstock_envoy.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, EnvoyResource
from penstock_policies.policyset import PolicySet
from penstock_policies.schema import Cluster
from penstock_xds import Resource, Snapshot

Key = tuple[str, str]
"""Type URL and name."""

# How many versions are remembered beyond those of the present snapshot, with their bodies. Weights make a new version
# of each route table a second at worst; what is served is remembered anew whenever it is proven, so only what nobody is
# served goes.
_REMEMBERED: Final = 256

# No cluster of a policy file can have this name: they have no space.
_NEWEST_WORD: Final = "{} (as of now)"

Version = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Made:
    """A version that was published."""

    resource: Resource
    policy: PolicySet


class Mixtures:
    """Knows what each version that was published was made from, and what may be served together."""

    def __init__(self) -> None:
        self._made_from: dict[str, OrderedDict[Version, Made]] = {}
        self._latest: dict[str, tuple[PolicySet, Snapshot]] = {}

    def published(self, policy: PolicySet, group: str, snapshot: Snapshot, served: Snapshot | None = None) -> None:
        """Remember what a group is published, and from what; ``served`` is what it was served until now."""
        self._latest[group] = (policy, snapshot)
        memory = self._made_from.setdefault(group, OrderedDict())
        for version in () if served is None else map(_version, _all(served)):
            if version in memory:
                memory.move_to_end(version)
        present = [*_all(snapshot)]
        for resource in present:
            memory[_version(resource)] = Made(resource, policy)
            memory.move_to_end(_version(resource))
        while len(memory) > _REMEMBERED + len(present):
            memory.popitem(last=False)

    def objection(self, group: str, mixture: Snapshot) -> str | None:
        """Return why a group must not be served a mixture of what it was published; None when it may."""
        memory = self._made_from[group]
        kept = [(*key, version) for key, versions in mixture.tolerated.items() for version in versions]
        for version in (*kept, *map(_version, _all(mixture))):
            if version not in memory:
                return f"{version[0].rpartition('.')[2]} {version[1]} is of a version that is no longer known"
            memory.move_to_end(version)
        return objection(
            self._latest[group][0],
            group,
            {(r.type_url, r.name): r for r in _all(mixture)},
            lambda resource: memory[_version(resource)].policy,
            [memory[version].resource for version in kept],
        )

    def objection_on_the_way(
        self, policy: PolicySet, group: str, before: Snapshot | None, after: Snapshot
    ) -> str | None:
        """Return why Envoys must not pass from what their group is served to ``after``, made from ``policy``.

        On the way they hold the new clusters and endpoints and still the old listeners and routes. Between two
        decisions under one policy there is nothing to prove, unless the group is not served what was published last.
        """
        if group not in self._latest or before is None:
            return None
        old, latest = self._latest[group]
        if old is policy and before == latest:
            return None
        memory = self._made_from[group]
        coming: dict[Version, PolicySet] = {}
        midway = {(r.type_url, r.name): r for r in _all(before)}
        for type_url in (CLUSTER, ENDPOINT):
            for name, resource in after.resources(type_url).items():
                had = midway.get((type_url, name))
                if had is None or had.version != resource.version:
                    midway[type_url, name] = resource
                    coming[_version(resource)] = policy

        def source(resource: Resource) -> PolicySet:
            made = memory.get(_version(resource))
            return coming.get(_version(resource)) or (old if made is None else made.policy)

        held = ((*key, version) for key, versions in before.tolerated.items() for version in versions)
        return objection(old, group, midway, source, [memory[v].resource for v in held if v in memory])


def objection(
    word: PolicySet,
    group: str,
    mixture: Mapping[Key, Resource],
    source: Callable[[Resource], PolicySet],
    kept: Iterable[Resource] = (),
) -> str | None:
    """Return why a mixture may let data out; None when it is proven that it does not.

    Args:
        word: the newest word on every address.
        group: whom it would be served to.
        mixture: what would be served.
        source: the policy a resource was made from.
        kept: other versions that Envoys may hold instead.

    """
    # What leads somewhere, and what it leads to: a leak takes one of each, so it is enough to exchange one of each.
    ways: list[Resource | None] = [None, *(r for r in kept if r.type_url in {LISTENER, ROUTE})]
    ends: list[Resource | None] = [None, *(r for r in kept if r.type_url in {CLUSTER, ENDPOINT})]
    for exchanged in product(ways, ends):
        held = {**mixture, **{(r.type_url, r.name): r for r in exchanged if r is not None}}
        found = _objection(word, group, held, source)
        if found is not None:
            return found
    return None


def _objection(
    word: PolicySet, group: str, held: Mapping[Key, Resource], source: Callable[[Resource], PolicySet]
) -> str | None:
    sources = {key: source(resource) for key, resource in held.items()}
    clusters = _clusters(word, sources)
    resources = [EnvoyResource(r.type_url, r.name, r.body) for r in held.values()]
    for listener in [name for type_url, name in held if type_url == LISTENER]:
        seen = [each for each in resources if each.type_url != LISTENER or each.name == listener]
        try:
            _prove(_documents(word, group, listener, sources, clusters), _rules(word, listener, sources), seen, group)
        except ResidencyBreach as breach:
            return str(breach)
    return None


def _prove(policy: PolicySet, rules: Iterable[PolicySet], resources: list[EnvoyResource], group: str) -> None:
    breaches: list[ResidencyBreach] = []
    for each in rules:
        try:
            prove(replace(policy, residency=each.residency), resources, group)
        except ResidencyBreach as breach:
            breaches.append(breach)
        else:
            return
    raise breaches[0]


def _rules(word: PolicySet, listener: str, sources: Mapping[Key, PolicySet]) -> Iterator[PolicySet]:
    """Whose residency rules to prove by; any will do."""
    yield word
    made_under = sources.get((ROUTE, listener), word)
    if made_under is not word:
        yield made_under


def _clusters(word: PolicySet, sources: Mapping[Key, PolicySet]) -> dict[str, Cluster]:
    """The ``Cluster`` documents that what is served was made from, and the newest word on all others."""
    found = dict(word.clusters)
    for name in {name for type_url, name in sources if type_url == ENDPOINT}:
        of_cluster, of_endpoints = sources.get((CLUSTER, name), word), sources[(ENDPOINT, name)]
        made_from = of_cluster if of_cluster is not word else of_endpoints
        if made_from is not word and name in made_from.clusters:
            found[name] = made_from.clusters[name]
            if name in word.clusters:
                found[_NEWEST_WORD.format(name)] = word.clusters[name]
    return found


def _documents(
    word: PolicySet,
    group: str,
    listener: str,
    sources: Mapping[Key, PolicySet],
    clusters: Mapping[str, Cluster],
) -> PolicySet:
    """The policy set that a listener and all behind it must be true to."""
    of_listener = sources[(LISTENER, listener)]
    spec = of_listener.listeners[listener].spec
    newest = word.listeners.get(listener)
    same_port = newest is not None and (newest.spec.address, newest.spec.port) == (spec.address, spec.port)
    told_by = word if same_port else of_listener
    groups = word if group in word.groups and listener in word.groups[group].spec.listeners else of_listener
    return replace(
        word,
        clusters=clusters,
        listeners={**word.listeners, listener: told_by.listeners[listener]},
        groups=groups.groups,
        policies=sources.get((ROUTE, listener), word).policies,
    )


def _all(snapshot: Snapshot) -> Iterator[Resource]:
    for type_url in snapshot.types():
        yield from snapshot.resources(type_url).values()


def _version(resource: Resource) -> Version:
    return (resource.type_url, resource.name, resource.version)
