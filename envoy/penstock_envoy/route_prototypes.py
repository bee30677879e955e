"""The few kinds of route there are, authored with envoy-data-plane once in the life of the process.

Routes of one kind, class and listener class differ in path, policy and model alone. Authoring takes milliseconds
each, so a table of hundreds of models is made from these prototypes by setting those fields
(:mod:`penstock_envoy.routes`). Prototypes match every path below ``/``.
"""

from datetime import timedelta
from functools import lru_cache
from typing import Final

from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.config.route import v3 as route
from envoy_data_plane.envoy.extensions.retry.host.previous_hosts import v3 as previous_hosts
from envoy_data_plane.envoy.type.matcher import v3 as matcher
from envoy_data_plane.google import protobuf

from penstock_envoy import engine_load, replies
from penstock_envoy.affinity import hash_policy
from penstock_envoy.endpoints import CLUSTER_KEY
from penstock_envoy.matching import CLASS_HEADER, METADATA, class_matchers, model_is, model_named
from penstock_envoy.token_usage import LONGEST_ANSWER
from penstock_policies.steering import Affinity
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
_SOME_MODEL: Final = "model"


# Envoy reads answers as they are on the wire, and providers compress for every client that lets them.
_COMPRESSION: Final = "accept-encoding"


def frame(name: str, *, asks_load: bool, metered: bool) -> bytes:
    """A route configuration with one virtual host and no routes.

    Args:
        name: the listener's.
        asks_load: ask the engines behind it for their load.
        metered: make sure that answers can be read.
    """
    return bytes(
        route.RouteConfiguration(
            name=name,
            virtual_hosts=[route.VirtualHost(name=name, domains=["*"])],
            # `server`: see the listener. Those to remove from requests are Envoy's own words, which no backend needs.
            response_headers_to_remove=["server", *engine_load.ANSWERS],
            request_headers_to_add=[replies.header(engine_load.ASKED_BY, engine_load.FORMAT)] if asks_load else [],
            request_headers_to_remove=[
                "x-envoy-internal",
                "x-envoy-external-address",
                *([_COMPRESSION] if metered else []),
            ],
            max_direct_response_body_size_bytes=_MAX_DIRECT_RESPONSE,
        )
    )


def model_list(floor: DataClass, data_class: DataClass, models: tuple[str, ...]) -> bytes:
    """The route by which the edge itself lists the models of a class."""
    get = route.HeaderMatcher(name=":method", string_match=matcher.StringMatcher(exact="GET"))
    match = route.RouteMatch(path=_MODELS_PATH, headers=[get, *class_matchers(floor, data_class)])
    action, headers = replies.model_list(models)
    return _direct(match, action, headers)


@lru_cache(maxsize=512)
def served(floor: DataClass, data_class: DataClass, affinity: Affinity | None, *, named: bool, metered: bool) -> bytes:
    """The route of a row, with no clusters yet: for requests that name some model, or that name none."""
    fields = {"class": data_class.value, "policy": "", "model": ""}
    mark = protobuf.Struct(fields={key: protobuf.Value(string_value=text) for key, text in fields.items()})
    return bytes(
        route.Route(
            match=_match(floor, data_class, _row_model(named=named)),
            metadata=core.Metadata(filter_metadata={METADATA: mark}),
            route=route.RouteAction(
                weighted_clusters=route.WeightedCluster(use_hash_policy=True if affinity else None),
                hash_policy=hash_policy(affinity) if affinity else [],
                # No limit on the whole of a stream; the listener limits its silence.
                timeout=timedelta(0),
                auto_host_rewrite=True,
                retry_policy=_retry_policy(),
            ),
            # Envoy applies it to answers as well; the limit of requests is the buffer filter's, before any route's.
            request_body_buffer_limit=LONGEST_ANSWER if metered else None,
            # What the backend is told is the class we route by, whatever the client said.
            request_headers_to_add=[replies.header(CLASS_HEADER, data_class.value)],
            response_headers_to_add=[
                replies.header(replies.CLUSTER_HEADER, f"%UPSTREAM_METADATA({METADATA}:{CLUSTER_KEY})%"),
                replies.header(replies.ATTEMPTS_HEADER, "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"),
            ],
        )
    )


@lru_cache(maxsize=64)
def refused(floor: DataClass, data_class: DataClass, error: replies.Error, *, named: bool) -> bytes:
    """The route of a row that no cluster may serve: 503 with the reason."""
    return _direct(_match(floor, data_class, _row_model(named=named)), *replies.refuse(error))


@lru_cache(maxsize=64)
def unknown_model(floor: DataClass, data_class: DataClass) -> bytes:
    """The route of requests for a model that no policy has: 404."""
    return _direct(_match(floor, data_class, model_named(named=True)), *replies.unknown_model())


@lru_cache(maxsize=64)
def no_policy(floor: DataClass, data_class: DataClass) -> bytes:
    """The route of all other requests of the class: 404."""
    return _direct(_match(floor, data_class), *replies.refuse(replies.NO_POLICY))


def _match(floor: DataClass, data_class: DataClass, *metadata: matcher.MetadataMatcher) -> route.RouteMatch:
    return route.RouteMatch(prefix="/", headers=class_matchers(floor, data_class), dynamic_metadata=list(metadata))


def _row_model(*, named: bool) -> matcher.MetadataMatcher:
    return model_is(_SOME_MODEL) if named else model_named(named=False)


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


def _direct(
    match: route.RouteMatch, action: route.DirectResponseAction, headers: list[core.HeaderValueOption]
) -> bytes:
    return bytes(route.Route(match=match, direct_response=action, response_headers_to_add=headers))
