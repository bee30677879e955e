"""The route table of a listener: for each data class, which policy serves which path and model.

Authored as a frame and a list of routes in order. A route that belongs to a row of the Decision has no clusters yet:
:mod:`penstock_envoy.assembly` fills in legs and weights each time, in microseconds.

Order, first match wins: stricter classes first; within a class the list of models, then longer paths, then policies
that name models before those that take any, and last the refusals, so that each class ends in an answer of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.config.route import v3 as route
from envoy_data_plane.envoy.extensions.retry.host.previous_hosts import v3 as previous_hosts
from envoy_data_plane.envoy.type.matcher import v3 as matcher
from envoy_data_plane.google import protobuf

from penstock_envoy import names, replies
from penstock_envoy.endpoints import CLUSTER_KEY
from penstock_envoy.matching import CLASS_HEADER, METADATA, class_matchers, model_is, model_named, path_match
from penstock_policies.policyset import ANY_MODEL, PolicySet, RowKey
from penstock_policies.schema import Listener, TrafficPolicy
from penstock_policies.words import DataClass

# The first attempt may be repeated elsewhere as long as no response has begun. All of 5xx, because a crashed engine
# says 500; 429, because another cluster may have room.
_RETRY_ON: Final = "5xx,connect-failure,refused-stream,retriable-status-codes,reset-before-request"
_RETRIABLE_STATUS: Final = (429, 503)
# Retries mostly go to another cluster or endpoint, so there is nothing to wait for; a little, for bursts.
_BACK_OFF: Final = route.RetryPolicyRetryBackOff(
    base_interval=timedelta(milliseconds=5), max_interval=timedelta(milliseconds=50)
)
# How often the load balancer may pick anew when it picked an endpoint already tried. With two endpoints each pick is
# even, so 20 leave one in a million; with 5, one of 75 retries met the broken endpoint again (measured).
_HOST_PICKS: Final = 20

# Envoy's limit on a direct response body is 4 kB unless raised; a list of models may be longer.
_MAX_DIRECT_RESPONSE: Final = 1 << 20

_MODELS_PATH: Final = "/v1/models"


@dataclass(frozen=True, slots=True)
class RouteTemplate:
    """One route as authored. With a ``row`` it awaits clusters; ``refusal`` is served when there are none."""

    body: bytes
    row: RowKey | None = None
    refusal: bytes = b""


@dataclass(frozen=True, slots=True)
class RouteTable:
    """A listener's routes as authored: a configuration with one empty virtual host, and the routes that go there."""

    frame: bytes
    routes: tuple[RouteTemplate, ...]


def author_routes(policy: PolicySet, listener: Listener, region: str) -> RouteTable:
    """The route table of a listener at the edges of ``region``."""
    frame = route.RouteConfiguration(
        name=listener.name,
        virtual_hosts=[route.VirtualHost(name=listener.name, domains=["*"])],
        # `server`: see the listener. The others are Envoy's own words to its backends, who need not know them.
        response_headers_to_remove=["server"],
        request_headers_to_remove=["x-envoy-internal", "x-envoy-external-address"],
        max_direct_response_body_size_bytes=_MAX_DIRECT_RESPONSE,
    )
    strictest_first = sorted(listener.spec.data_class.at_least(), key=lambda word: -word.strictness)
    routes = (each for data_class in strictest_first for each in _class_routes(policy, listener, data_class, region))
    return RouteTable(frame=bytes(frame), routes=tuple(routes))


def policies_of(policy: PolicySet, data_class: DataClass) -> list[TrafficPolicy]:
    """The policies of a class, the more specific first."""
    found = [each for each in policy.policies.values() if each.spec.data_class is data_class]
    return sorted(
        found,
        key=lambda each: (-len(each.spec.match.path.rstrip("/")), each.spec.match.models is None, each.name),
    )


def _class_routes(policy: PolicySet, listener: Listener, data_class: DataClass, region: str) -> Iterator[RouteTemplate]:
    policies = policies_of(policy, data_class)
    floor = listener.spec.data_class
    models = sorted({model for each in policies for model in policy.models_of(each) if model != ANY_MODEL})
    action, headers = replies.model_list(models)
    yield _direct(
        f"{data_class.value}:models",
        route.RouteMatch(path=_MODELS_PATH, headers=[_method_is("GET"), *class_matchers(floor, data_class)]),
        action,
        headers,
    )
    for each in policies:
        for model in policy.models_of(each):
            yield _row_route(each, RowKey(each.name, region, model), floor)
    for path in sorted({each.spec.match.path for each in policies}):
        match = path_match(path, class_matchers(floor, data_class))
        match.dynamic_metadata = [model_named(named=True)]
        action, headers = replies.unknown_model()
        yield _direct(f"{data_class.value}:unknown-model", match, action, headers)
    action, headers = replies.refuse(replies.NO_POLICY)
    match = path_match("/", class_matchers(floor, data_class))
    yield _direct(f"{data_class.value}:no-policy", match, action, headers)


def _row_route(policy: TrafficPolicy, row: RowKey, floor: DataClass) -> RouteTemplate:
    data_class = policy.spec.data_class
    match = path_match(policy.spec.match.path, class_matchers(floor, data_class))
    match.dynamic_metadata = [_row_model(row.model)]
    name = names.route(data_class, policy.name, row.model)
    mark = protobuf.Struct(
        fields={
            key: protobuf.Value(string_value=text)
            for key, text in (("class", data_class.value), ("policy", row.policy), ("model", row.model))
        }
    )
    served = route.Route(
        name=name,
        match=match,
        metadata=core.Metadata(filter_metadata={METADATA: mark}),
        route=route.RouteAction(
            weighted_clusters=route.WeightedCluster(),
            # No limit on the whole of a stream; the listener limits its silence.
            timeout=timedelta(0),
            auto_host_rewrite=True,
            retry_policy=_retry_policy(),
        ),
        # What the backend is told is the class we route by, whatever the client said.
        request_headers_to_add=[replies.header(CLASS_HEADER, data_class.value)],
        response_headers_to_add=[
            replies.header(replies.CLUSTER_HEADER, f"%UPSTREAM_METADATA({METADATA}:{CLUSTER_KEY})%"),
            replies.header(replies.ATTEMPTS_HEADER, "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"),
        ],
    )
    action, headers = replies.refuse(replies.NO_CLUSTER)
    refusal = route.Route(name=name, match=match, direct_response=action, response_headers_to_add=headers)
    return RouteTemplate(body=bytes(served), row=row, refusal=bytes(refusal))


def _row_model(model: str) -> matcher.MetadataMatcher:
    return model_named(named=False) if model == ANY_MODEL else model_is(model)


def _retry_policy() -> route.RetryPolicy:
    return route.RetryPolicy(
        retry_on=_RETRY_ON,
        retriable_status_codes=list(_RETRIABLE_STATUS),
        retry_back_off=_BACK_OFF,
        retry_host_predicate=[
            route.RetryPolicyRetryHostPredicate(
                name="envoy.retry_host_predicates.previous_hosts",
                typed_config=protobuf.Any.pack(previous_hosts.PreviousHostsPredicate()),
            )
        ],
        host_selection_retry_max_attempts=_HOST_PICKS,
    )


def _method_is(method: str) -> route.HeaderMatcher:
    return route.HeaderMatcher(name=":method", string_match=matcher.StringMatcher(exact=method))


def _direct(
    name: str, match: route.RouteMatch, action: route.DirectResponseAction, headers: list[core.HeaderValueOption]
) -> RouteTemplate:
    return RouteTemplate(
        body=bytes(route.Route(name=name, match=match, direct_response=action, response_headers_to_add=headers))
    )
