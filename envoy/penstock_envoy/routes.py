"""The route table of a listener: for each data class, which policy serves which path and model.

A table is a frame and a list of routes in order. A route that belongs to a row of the Decision has no clusters yet:
:mod:`penstock_envoy.assembly` fills in legs and weights each time, in microseconds.

Order, first match wins: stricter classes first; within a class the list of models, then longer paths, then policies
that name models before those that take any, and last the refusals, so that each class ends in an answer of its own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

from penstock_envoy import engine_load, names, protos, replies
from penstock_envoy import route_prototypes as prototypes
from penstock_envoy.matching import METADATA
from penstock_policies.policyset import ANY_MODEL, PolicySet, RowKey
from penstock_policies.schema import Listener, ListenerSpec, TrafficPolicy
from penstock_policies.words import DataClass


@dataclass(frozen=True, slots=True)
class RouteTemplate:
    """One route. With a ``row`` it awaits clusters."""

    body: bytes
    row: RowKey | None = None
    homes: tuple[str, ...] = ()
    """Where conversations are to be kept together: every cluster that may ever serve them, in the policy's order."""
    refusals: Mapping[str, bytes] = field(default_factory=dict)
    """Reason to what is served when there are no clusters."""

    def refusal(self, reason: str) -> bytes:
        """What is served without clusters; an engine's newer reason is told as the general one."""
        return self.refusals.get(reason, self.refusals[replies.NO_CLUSTER.code])


@dataclass(frozen=True, slots=True)
class RouteTable:
    """A listener's routes: a configuration with one empty virtual host, and the routes that go there."""

    frame: bytes
    routes: tuple[RouteTemplate, ...]


def author_routes(policy: PolicySet, listener: Listener, region: str) -> RouteTable:
    """The route table of a listener at the edges of ``region``."""
    strictest_first = sorted(listener.spec.data_class.at_least(), key=lambda word: -word.strictness)
    routes = (
        each for data_class in strictest_first for each in _class_routes(policy, listener.spec, data_class, region)
    )
    served = (name for each in policy.policies.values() for name in each.spec.clusters)
    asks_load = any(engine_load.answers(policy.clusters[name]) for name in served)
    return RouteTable(
        frame=prototypes.frame(listener.name, asks_load=asks_load, metered=listener.spec.metering),
        routes=tuple(routes),
    )


def policies_of(policy: PolicySet, data_class: DataClass) -> list[TrafficPolicy]:
    """The policies of a class, the more specific first."""
    found = [each for each in policy.policies.values() if each.spec.data_class is data_class]
    return sorted(
        found,
        key=lambda each: (-len(each.spec.match.path.rstrip("/")), each.spec.match.models is None, each.name),
    )


def _class_routes(
    policy: PolicySet, listener: ListenerSpec, data_class: DataClass, region: str
) -> Iterator[RouteTemplate]:
    floor = listener.data_class
    policies = policies_of(policy, data_class)
    models = {model for each in policies for model in policy.models_of(each) if model != ANY_MODEL}
    listed = prototypes.model_list(floor, data_class, tuple(sorted(models)))
    yield RouteTemplate(_specialised(listed, f"{data_class.value}:models"))
    for each in policies:
        for model in policy.models_of(each):
            row = RowKey(each.name, region, model)
            name, path, named = names.route(data_class, each.name, model), each.spec.match.path, model != ANY_MODEL
            yield RouteTemplate(
                body=_specialised(
                    prototypes.served(floor, data_class, each.spec.affinity, named=named, metered=listener.metering),
                    name,
                    path,
                    row,
                ),
                row=row,
                homes=tuple(c.name for c in policy.candidates(each, model)) if each.spec.affinity else (),
                refusals={
                    error.code: _specialised(prototypes.refused(floor, data_class, error, named=named), name, path, row)
                    for error in replies.REFUSALS
                },
            )
    for path in sorted({each.spec.match.path for each in policies}):
        yield RouteTemplate(
            _specialised(prototypes.unknown_model(floor, data_class), f"{data_class.value}:unknown-model", path)
        )
    yield RouteTemplate(_specialised(prototypes.no_policy(floor, data_class), f"{data_class.value}:no-policy"))


def _specialised(prototype: bytes, name: str, path: str | None = None, row: RowKey | None = None) -> bytes:
    """A prototype with its name, path prefix and row filled in."""
    route = protos.Route()
    route.ParseFromString(prototype)
    route.name = name
    # By whole segments: /v1/ and /v1 are for /v1 and /v1/chat, not for /v10.
    if path is not None and (prefix := path.rstrip("/")):
        route.match.path_separated_prefix = prefix
    if row is not None:
        if row.model != ANY_MODEL:
            route.match.dynamic_metadata[0].value.string_match.exact = row.model
        if route.HasField("metadata"):
            mark = route.metadata.filter_metadata[METADATA].fields
            mark["policy"].string_value = row.policy
            mark["model"].string_value = row.model
    return cast("bytes", route.SerializeToString(deterministic=True))
