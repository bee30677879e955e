"""What Envoys would be sent: both sides compiled for every node group, proven, and compared resource by resource."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from penstock.control.mixtures import Mixtures
from penstock.plan.documents import Change
from penstock.plan.outlook import Outlook
from penstock_envoy.compiler import CompileError, Compiler
from penstock_envoy.residency import Proof, ResidencyBreach, prove
from penstock_policies.decision import Decision
from penstock_policies.policyset import PolicySet
from penstock_xds import Resource, Snapshot


class ConfigurationError(Exception):
    """No configuration can be generated and proven; the text says why. The control plane would refuse it, too."""


@dataclass(frozen=True, slots=True)
class ResourceChange:
    """One resource that Envoys of a group would be sent anew, or have taken away."""

    change: Change
    type_url: str
    name: str
    version: str
    """The version they would be sent, as ``penstock node`` shows it; of one that is taken away, the one they hold."""
    at_once: bool
    """Whether it changes with the edit itself; else as the weights come to their targets, step by step."""

    @property
    def key(self) -> tuple[str, str]:
        """Type and name."""
        return (self.type_url, self.name)


@dataclass(frozen=True, slots=True)
class GroupConfiguration:
    """What the Envoys of one node group are sent, and what it lets data reach."""

    node_cluster: str
    """``node.cluster`` of the Envoys."""
    snapshot: Snapshot
    """At the first step."""
    settled: Snapshot
    """When the weights have come to rest."""
    proofs: tuple[Proof, ...]
    """Of both."""


Configuration = Mapping[str, GroupConfiguration]
"""Node group to its configuration."""


@dataclass(frozen=True, slots=True)
class GroupChange:
    """What the Envoys of one node group would be sent."""

    change: Change
    group: str
    node_cluster: str
    resources: tuple[ResourceChange, ...]


def configured(outlook: Outlook, compiler: Compiler) -> Configuration:
    """Compile and prove every node group, at the outlook's first step and with its weights at rest.

    ``compiler`` may be shared between outlooks: it makes what they have in common once.

    Raises:
        ConfigurationError: nothing can be generated, or it could let data out.

    """
    settled = outlook.settled()
    found: dict[str, GroupConfiguration] = {}
    for name, group in sorted(outlook.policy.groups.items()):
        first, first_proof = _compiled(compiler, outlook.policy, outlook.decision, name)
        last, last_proof = _compiled(compiler, outlook.policy, settled, name)
        found[name] = GroupConfiguration(group.spec.match.cluster, first, last, (first_proof, last_proof))
    return found


def _compiled(compiler: Compiler, policy: PolicySet, decision: Decision, group: str) -> tuple[Snapshot, Proof]:
    try:
        resources = compiler.compile(policy, decision, group)
        proof = prove(policy, resources, group)
    except CompileError as error:
        raise ConfigurationError(f"no Envoy configuration can be generated for group {group}: {error}") from error
    except ResidencyBreach as error:
        raise ConfigurationError(f"the residency proof fails for group {group}: {error}") from error
    return Snapshot.of(Resource(each.type_url, each.name, each.body) for each in resources), proof


def groups_changed(base: Configuration, candidate: Configuration) -> tuple[GroupChange, ...]:
    """List the node groups whose Envoys would be sent something, or nothing any more, sorted."""
    changes = (_group(name, base.get(name), candidate.get(name)) for name in sorted({*base, *candidate}))
    return tuple(change for change in changes if change is not None)


def way_barred(base: Outlook, before: Configuration, candidate: Outlook, after: Configuration) -> str:
    """Say why Envoys could not pass from one to the other in one edit; empty when they can.

    Clusters change before the routes that lead to them; in between, data must not get out either.
    """
    mixtures = Mixtures()
    for name in sorted(before.keys() & after.keys()):
        mixtures.published(base.policy, name, before[name].snapshot)
        danger = mixtures.objection_on_the_way(candidate.policy, name, before[name].snapshot, after[name].snapshot)
        if danger:
            return f"group {name}, while clusters have changed and routes have not yet: {danger}"
    return ""


def _group(name: str, before: GroupConfiguration | None, after: GroupConfiguration | None) -> GroupChange | None:
    if before is not None and after is not None:
        at_once = {each.key: each for each in _differing(before.snapshot, after.snapshot, at_once=True)}
        later = {each.key: each for each in _differing(before.settled, after.settled, at_once=False)}
        resources = tuple(each for _, each in sorted({**later, **at_once}.items()))
        if not resources and before.node_cluster == after.node_cluster:
            return None
        return GroupChange(Change.CHANGED, name, after.node_cluster, resources)
    if after is not None:
        resources = tuple(_differing(Snapshot.of(()), after.snapshot, at_once=True))
        return GroupChange(Change.ADDED, name, after.node_cluster, resources)
    if before is not None:
        resources = tuple(_differing(before.snapshot, Snapshot.of(()), at_once=True))
        return GroupChange(Change.REMOVED, name, before.node_cluster, resources)
    return None


def _differing(before: Snapshot, after: Snapshot, *, at_once: bool) -> Iterable[ResourceChange]:
    held, wanted = _versions(before), _versions(after)
    for key in sorted({*held, *wanted}):
        old, new = held.get(key), wanted.get(key)
        if old != new:
            change = Change.ADDED if old is None else Change.REMOVED if new is None else Change.CHANGED
            yield ResourceChange(change, *key, new or old or "", at_once)


def _versions(snapshot: Snapshot) -> dict[tuple[str, str], str]:
    return {
        (type_url, name): resource.version
        for type_url in snapshot.types()
        for name, resource in snapshot.resources(type_url).items()
    }
