"""From policy and decision to the resources of a node group.

Two speeds. What follows from policy alone (listeners, clusters, endpoints, route templates, legs) is *authored* with
envoy-data-plane, readable and typed but slow, once for each content, and cached. What follows from the decision
(weights, which legs, endpoint health) is *assembled* from those by protobuf-upb, fast enough for the event loop.

:meth:`Compiler.compile` may run on the event loop while :meth:`Compiler.warm` runs in a worker thread.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from penstock_envoy import names, resource
from penstock_envoy.assembly import assemble_endpoints, assemble_routes, canonical_endpoints
from penstock_envoy.cache import Cache
from penstock_envoy.clusters import author_cluster, author_leg, has_fixed_addresses
from penstock_envoy.endpoints import load_assignment
from penstock_envoy.legs import CompileError, legs_of, possible_lists, with_places
from penstock_envoy.listeners import author_listener
from penstock_envoy.resource import EnvoyResource
from penstock_envoy.routes import RouteTable, author_routes, policies_of
from penstock_policies.decision import Decision
from penstock_policies.policyset import PolicySet, RowKey
from penstock_policies.words import DataClass

__all__ = ["CompileError", "Compiler"]

# A plan is all that a group needs of one policy set: the live one, the candidate and a rollback for dozens of groups.
_PLANS: Final = 128
# A few hundred bytes each.
_LEGS: Final = 8192


@dataclass(frozen=True, slots=True)
class _Plan:
    """What follows from policy alone for a group."""

    policy: PolicySet
    fixed: tuple[EnvoyResource, ...]
    """Listeners and clusters."""
    endpoints: Mapping[str, bytes]
    tables: Mapping[str, RouteTable]
    rows: tuple[RowKey, ...]
    data_class_of: Mapping[str, DataClass]
    region: str


class Compiler:
    """Compiles node groups, remembering what it authored."""

    def __init__(self) -> None:
        self._plans: Cache[tuple[str, str], _Plan] = Cache(_PLANS)
        self._legs: Cache[str, bytes] = Cache(_LEGS)

    def compile(self, policy: PolicySet, decision: Decision, group: str) -> tuple[EnvoyResource, ...]:
        """All resources of a group, sorted by type and name.

        Raises:
            CompileError: the group is unknown, or the decision does not fit the policy.
        """
        plan = self._plan(policy, group)
        places = cache(lambda ordered: with_places(policy, ordered))
        legs = {row: legs_of(policy, decision, row, places) for row in plan.rows}
        used = {
            names.leg(plan.data_class_of[row.policy], leg.members): leg.members
            for row, legs_of_row in legs.items()
            for leg in legs_of_row
        }
        refusals = {row: decision.rows[row].refusal for row in plan.rows if not legs[row]}
        resources = [
            *plan.fixed,
            *(EnvoyResource(resource.CLUSTER, name, self._leg(name, members)) for name, members in used.items()),
            *(
                EnvoyResource(
                    resource.ENDPOINT, name, assemble_endpoints(body, _unhealthy(decision, plan.region, name))
                )
                for name, body in plan.endpoints.items()
            ),
            *(
                EnvoyResource(resource.ROUTE, name, assemble_routes(table, legs, refusals, plan.data_class_of))
                for name, table in plan.tables.items()
            ),
        ]
        return tuple(sorted(resources, key=lambda each: (each.type_url, each.name)))

    def warm(self, policy: PolicySet, decision: Decision, group: str) -> None:
        """Author, ahead of need, what any single drain, undrain, schedule or exhausted budget would ask for.

        Slow: call it in a worker thread.

        Raises:
            CompileError: the group is unknown.
        """
        plan = self._plan(policy, group)
        for row in plan.rows:
            data_class = plan.data_class_of[row.policy]
            for members in possible_lists(policy, decision, row):
                self._leg(names.leg(data_class, members), members)

    def _leg(self, name: str, members: tuple[str, ...]) -> bytes:
        return self._legs.get(name, lambda: author_leg(name, members))

    def _plan(self, policy: PolicySet, group: str) -> _Plan:
        if group not in policy.groups:
            raise CompileError(f"the policy has no node group {group}; it has {', '.join(sorted(policy.groups))}")
        plan = self._plans.get((policy.digest, group), lambda: _author(policy, group))
        if plan.policy is not policy and plan.policy != policy:
            # A digest that names two contents would serve one under the name of the other.
            raise CompileError(f"two different policy sets have the digest {policy.digest}")
        return plan


def _author(policy: PolicySet, group: str) -> _Plan:
    spec = policy.groups[group].spec
    listeners = [policy.listeners[name] for name in spec.listeners]
    classes = {each for listener in listeners for each in listener.spec.data_class.at_least()}
    policies = [each for data_class in classes for each in policies_of(policy, data_class)]
    affine = {name for each in policies if each.spec.affinity is not None for name in each.spec.clusters}
    clusters = [policy.clusters[name] for name in sorted({name for each in policies for name in each.spec.clusters})]
    return _Plan(
        policy=policy,
        fixed=(
            *(EnvoyResource(resource.LISTENER, each.name, author_listener(each)) for each in listeners),
            *(
                EnvoyResource(resource.CLUSTER, each.name, author_cluster(each, affine=each.name in affine))
                for each in clusters
            ),
        ),
        endpoints={
            each.name: canonical_endpoints(bytes(load_assignment(each)))
            for each in clusters
            if has_fixed_addresses(each.spec)
        },
        tables={each.name: author_routes(policy, each, spec.region) for each in listeners},
        rows=tuple(
            sorted(RowKey(each.name, spec.region, model) for each in policies for model in policy.models_of(each))
        ),
        data_class_of={each.name: each.spec.data_class for each in policies},
        region=spec.region,
    )


def _unhealthy(decision: Decision, region: str, cluster: str) -> frozenset[str]:
    """The endpoints the engine holds to be unhealthy, as seen from the region; none while it distrusts what it sees."""
    health = decision.health_in(region, cluster)
    if health is None or decision.distrusted(region, cluster):
        return frozenset()
    return frozenset(health.unhealthy_endpoints)
