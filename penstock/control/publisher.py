"""From a Decision to what each group of Envoys is served, with the residency proof in between.

Owns the compiler and what is published to the snapshot cache. All or nothing: every group's resources are generated and
proven, themselves and the way to them, before the first is handed to the xDS server. :meth:`Publisher.build` does that
in a worker thread, :meth:`Publisher.serve` hands over on the event loop's, in the order in which they were built; both
are fast once :meth:`Publisher.prepare` has compiled what is slow to compile.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from penstock.control.mixtures import Mixtures
from penstock_envoy.compiler import Compiler
from penstock_envoy.residency import ResidencyBreach, prove
from penstock_policies.decision import Decision
from penstock_policies.policyset import PolicySet
from penstock_xds import Node, Resource, Snapshot, SnapshotCache

logger = logging.getLogger(__name__)

_ON_THE_WAY: Final = "while clusters have changed and routes have not yet"
_TWO_EDITS: Final = "Make it in two edits: first the routes (the policies' clusters), then the clusters"


Served = Mapping[str, Snapshot | None]
"""Group to what it is served."""


@dataclass(frozen=True, slots=True)
class Publication:
    """What a decision has every group served."""

    policy: PolicySet
    snapshots: Mapping[str, Snapshot]
    before: Served
    """What was served when it was built: the way to it was proven from there."""
    dangers: Mapping[str, str]
    """Group that must stay at what it has to why."""


class Publisher:
    """Generates, proves and publishes. One a process; called on the event loop's thread where not said otherwise."""

    def __init__(self, cache: SnapshotCache, compiler: Compiler, mixtures: Mixtures | None = None) -> None:
        """``mixtures`` are those the cache asks before it serves one."""
        self._cache = cache
        self._compiler = compiler
        self._mixtures = mixtures or Mixtures()
        self._groups: Mapping[str, str] = {}
        self._policy: PolicySet | None = None
        self._kept: set[str] = set()
        """Groups that the latest decision was not published to."""

    async def prepare(self, policy: PolicySet, decision: Decision) -> None:
        """Compile off the event loop all that this policy, or a drain under it, needs.

        Raises:
            ResidencyBreach: the configuration generated from the policy could let data out.
        """
        await asyncio.to_thread(self._prepare, policy, decision)

    def _prepare(self, policy: PolicySet, decision: Decision) -> None:
        for group in policy.groups:
            self._compiler.warm(policy, decision, group)
        self._build(policy, decision)

    def _build(self, policy: PolicySet, decision: Decision) -> dict[str, Snapshot]:
        snapshots = {}
        for group in policy.groups:
            resources = self._compiler.compile(policy, decision, group)
            prove(policy, resources, group)
            snapshots[group] = Snapshot.of(Resource(r.type_url, r.name, r.body) for r in resources)
        return snapshots

    def served(self, policy: PolicySet) -> Served:
        """Return what each group of a policy is served now: what :meth:`build` wants to know."""
        return {name: self._cache.get(name) for name in policy.groups}

    def build(self, policy: PolicySet, decision: Decision, served: Served) -> Publication:
        """Generate and prove what a decision has every group served. In any thread; one at a time.

        Raises:
            ResidencyBreach: the proof failed, of what would be served or of the way there.
        """
        snapshots = self._build(policy, decision)
        dangers = {
            name: danger
            for name, snapshot in snapshots.items()
            if (danger := self._mixtures.objection_on_the_way(policy, name, served.get(name), snapshot))
        }
        self._refuse_edit(policy, dangers)
        return Publication(policy, snapshots, served, dangers)

    def serve(self, publication: Publication) -> None:
        """Serve what was built to every group.

        Raises:
            ResidencyBreach: what is served has changed meanwhile, and there is no safe way from there; nothing was
                published.
        """
        policy, dangers = publication.policy, self._dangers(publication)
        self._refuse_edit(policy, dangers)
        self._policy = policy
        self._groups = {group.spec.match.cluster: name for name, group in policy.groups.items()}
        for name, snapshot in publication.snapshots.items():
            # A group that is kept at what it had, as an Envoy refused some of this policy, is no reason to withhold a
            # decision from the others.
            if name not in dangers:
                self._mixtures.published(policy, name, snapshot, self._cache.get(name))
                self._cache.publish(name, snapshot)
        if dangers.keys() - self._kept:
            logger.error("groups kept at what they had", extra={"groups": sorted(dangers), "because": str(dangers)})
        self._kept = set(dangers)

    def publish(self, policy: PolicySet, decision: Decision) -> None:
        """Build and serve at once, without giving up the thread.

        Raises:
            ResidencyBreach: the proof failed, of what it would serve or of the way there; nothing was published.
        """
        self.serve(self.build(policy, decision, self.served(policy)))

    def _dangers(self, publication: Publication) -> dict[str, str]:
        """Prove the way anew for groups that are served something else by now, as an Envoy has refused it."""
        dangers = dict(publication.dangers)
        for name, snapshot in publication.snapshots.items():
            served = self._cache.get(name)
            if served is not publication.before.get(name):
                dangers.pop(name, None)
                danger = self._mixtures.objection_on_the_way(publication.policy, name, served, snapshot)
                if danger is not None:
                    dangers[name] = danger
        return dangers

    def _refuse_edit(self, policy: PolicySet, dangers: Mapping[str, str]) -> None:
        if dangers and policy is not self._policy:
            name, danger = next(iter(dangers.items()))
            raise ResidencyBreach((f"group {name}", _ON_THE_WAY), f"{danger}. {_TWO_EDITS}")

    def group_of(self, node: Node) -> str | None:
        """The node group an Envoy belongs to by the ``node.cluster`` of its bootstrap; None when there is none."""
        return self.group_of_cluster(node.cluster)

    def group_of_cluster(self, node_cluster: str) -> str | None:
        """The node group for a ``node.cluster``."""
        return self._groups.get(node_cluster)

    def complete(self, policy: PolicySet) -> bool:
        """Whether every group of the policy has a snapshot to be served."""
        return all(self._cache.get(group) is not None for group in policy.groups)
