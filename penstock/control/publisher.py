"""From a Decision to what each group of Envoys is served, with the residency proof in between.

Owns the compiler and what is published to the snapshot cache. :meth:`Publisher.publish` is all or nothing: every
group's resources are generated and proven, themselves and the way to them, before the first is handed to the xDS
server. It runs on the event loop and is fast once :meth:`Publisher.prepare` has compiled, in a worker thread, what is
slow to compile.
"""

import asyncio
import logging
from collections.abc import Mapping
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


class Publisher:
    """Generates, proves and publishes. One a process; called on the event loop's thread."""

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

    def publish(self, policy: PolicySet, decision: Decision) -> None:
        """Serve a decision to every group.

        Raises:
            ResidencyBreach: the proof failed, of what it would serve or of the way there; nothing was published.
        """
        snapshots = self._build(policy, decision)
        dangers = {
            name: danger
            for name, snapshot in snapshots.items()
            if (danger := self._mixtures.objection_on_the_way(policy, name, self._cache.get(name), snapshot))
        }
        if dangers and policy is not self._policy:
            name, danger = next(iter(dangers.items()))
            raise ResidencyBreach((f"group {name}", _ON_THE_WAY), f"{danger}. {_TWO_EDITS}")
        self._policy = policy
        self._groups = {group.spec.match.cluster: name for name, group in policy.groups.items()}
        for name, snapshot in snapshots.items():
            # A group that is kept at what it had, as an Envoy refused some of this policy, is no reason to withhold a
            # decision from the others.
            if name not in dangers:
                self._mixtures.published(policy, name, snapshot, self._cache.get(name))
                self._cache.publish(name, snapshot)
        if dangers.keys() - self._kept:
            logger.error("groups kept at what they had", extra={"groups": sorted(dangers), "because": str(dangers)})
        self._kept = set(dangers)

    def group_of(self, node: Node) -> str | None:
        """The node group an Envoy belongs to by the ``node.cluster`` of its bootstrap; None when there is none."""
        return self.group_of_cluster(node.cluster)

    def group_of_cluster(self, node_cluster: str) -> str | None:
        """The node group for a ``node.cluster``."""
        return self._groups.get(node_cluster)

    def complete(self, policy: PolicySet) -> bool:
        """Whether every group of the policy has a snapshot to be served."""
        return all(self._cache.get(group) is not None for group in policy.groups)
