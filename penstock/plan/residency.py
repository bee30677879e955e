"""The effect of an edit on where data may go, and on where it does go.

*Loosened* is what the rules permit now and forbade before, be it that a rule changed, that a cluster was declared to
be elsewhere, or that what comes in by a listener is taken for less sensitive. *Reach* is what the proof on the
generated configuration found requests to be able to come to, whatever the weights.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from penstock.plan.configuration import Configuration
from penstock_envoy.residency import Proof
from penstock_policies.policyset import PolicySet
from penstock_policies.words import DataClass


@dataclass(frozen=True, slots=True)
class Permission:
    """A class of data that a cluster, or a way in, is newly or no longer open to."""

    data_class: DataClass
    subject: str
    """The cluster, or the listener's address."""
    why: str
    """In words."""


@dataclass(frozen=True, slots=True)
class Reach:
    """A cluster, or an endpoint of one, that requests of a class can newly or no longer come to."""

    data_class: DataClass
    cluster: str
    endpoint: str
    """Of a cluster that is reached on both sides; empty for the cluster as a whole."""


@dataclass(frozen=True, slots=True)
class ResidencyEffect:
    """All of it."""

    loosened: tuple[Permission, ...]
    tightened: tuple[Permission, ...]
    gained: tuple[Reach, ...]
    lost: tuple[Reach, ...]

    @property
    def sensitive_gained(self) -> tuple[Reach, ...]:
        """What data stricter than public newly reaches."""
        return tuple(reach for reach in self.gained if reach.data_class is not DataClass.PUBLIC)


def residency_effect(
    base: PolicySet, before: Configuration, candidate: PolicySet, after: Configuration
) -> ResidencyEffect:
    """Compare where data may go and where it does."""
    return ResidencyEffect(
        loosened=(*_loosened(base, candidate), *_taken_for_less(base, candidate)),
        tightened=tuple(_tightened(base, candidate)),
        gained=_reach(before, after, candidate),
        lost=_reach(after, before, base),
    )


def _loosened(base: PolicySet, candidate: PolicySet) -> Iterator[Permission]:
    for data_class in DataClass:
        for name, cluster in sorted(candidate.clusters.items()):
            if candidate.allowed(cluster, data_class) is not None:
                continue
            by_old_rules = base.allowed(cluster, data_class)
            if by_old_rules is not None:
                yield Permission(data_class, name, f"until now {by_old_rules}")
            elif name in base.clusters and (was := base.allowed(base.clusters[name], data_class)) is not None:
                yield Permission(data_class, name, f"the cluster is now declared elsewhere; until now {was}")


def _tightened(base: PolicySet, candidate: PolicySet) -> Iterator[Permission]:
    for data_class in DataClass:
        for name in sorted(base.clusters.keys() & candidate.clusters.keys()):
            now = candidate.allowed(candidate.clusters[name], data_class)
            if now is not None and base.allowed(base.clusters[name], data_class) is None:
                yield Permission(data_class, name, now)


def _taken_for_less(base: PolicySet, candidate: PolicySet) -> Iterator[Permission]:
    before, after = _ways_in(base), _ways_in(candidate)
    for way in sorted(before.keys() & after.keys()):
        node_cluster, address = way
        if after[way].strictness < before[way].strictness:
            why = f"requests to Envoys of {node_cluster} there were taken for {before[way]}, now for {after[way]}"
            yield Permission(after[way], address, why)


def _ways_in(policy: PolicySet) -> Mapping[tuple[str, str], DataClass]:
    """Name each ``node.cluster`` and address that requests come in by, and the class they are taken for."""
    return {
        (group.spec.match.cluster, f"{listener.spec.address}:{listener.spec.port}"): listener.spec.data_class
        for group in policy.groups.values()
        for listener in (policy.listeners[name] for name in group.spec.listeners)
    }


def _reach(before: Configuration, after: Configuration, policy: PolicySet) -> tuple[Reach, ...]:
    """Find what is reached ``after`` and was not ``before``; ``policy`` is the one that made ``after``."""
    found: list[Reach] = []
    for data_class in DataClass:
        clusters = _clusters(after, data_class)
        new = clusters - _clusters(before, data_class)
        found += [Reach(data_class, name, "") for name in sorted(new)]
        elsewhere = _endpoints(after, data_class) - _endpoints(before, data_class)
        found += [
            Reach(data_class, name, endpoint)
            for name in sorted(clusters - new)
            for endpoint in sorted(elsewhere & {each.key for each in policy.clusters[name].spec.endpoints})
        ]
    return tuple(found)


def _clusters(configuration: Configuration, data_class: DataClass) -> frozenset[str]:
    none = frozenset[str]()
    return none.union(*(proof.clusters.get(data_class, none) for proof in _proofs(configuration)))


def _endpoints(configuration: Configuration, data_class: DataClass) -> frozenset[str]:
    none = frozenset[str]()
    return none.union(*(proof.endpoints.get(data_class, none) for proof in _proofs(configuration)))


def _proofs(configuration: Configuration) -> Iterator[Proof]:
    for group in configuration.values():
        yield from group.proofs
