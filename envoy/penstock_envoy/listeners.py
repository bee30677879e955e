"""A listener of the edge: HTTP in, the model's name read from the body, routes by RDS, tokens read from the answers."""

from datetime import timedelta
from typing import Final

from envoy_data_plane.envoy.config.common.mutation_rules import v3 as mutation_rules
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.config.listener import v3 as listener
from envoy_data_plane.envoy.extensions.filters.http.buffer import v3 as buffer
from envoy_data_plane.envoy.extensions.filters.http.json_to_metadata import v3 as json_to_metadata
from envoy_data_plane.envoy.extensions.filters.http.router import v3 as router
from envoy_data_plane.envoy.extensions.filters.http.sse_to_metadata import v3 as sse_to_metadata
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from envoy_data_plane.envoy.extensions.http.early_header_mutation.header_mutation import v3 as header_mutation
from envoy_data_plane.envoy.type.matcher import v3 as matcher
from envoy_data_plane.google import protobuf

from penstock_envoy.access_logs import access_log
from penstock_envoy.matching import METADATA, MODEL_KEY
from penstock_envoy.replies import local_replies
from penstock_envoy.token_usage import answer_rules, stream_reader
from penstock_policies.schema import Listener

# Per connection and direction, for everything but the request body: small, so that a thousand slow readers of streams
# cost memory in megabytes. The body has its own limit, by the buffer filter.
_CONNECTION_BUFFER: Final = 64 * 1024

# A stream that is silent for this long is dead; a long prefill is not.
_STREAM_IDLE: Final = timedelta(minutes=5)
# Bounds on slow senders, who hold buffers: headers, and the whole request (the largest prompts on slow lines).
_HEADERS_TIMEOUT: Final = timedelta(seconds=10)
_REQUEST_TIMEOUT: Final = timedelta(minutes=5)

# Case-insensitive; `+json` types too. Other bodies (audio, forms) are routed as naming no model. The usual spellings
# first, which Envoy looks up and need no pattern.
_JSON: Final = ("application/json", "application/json; charset=utf-8")
_JSON_TYPES: Final = r"(?i)application/([a-z0-9.+-]+\+)?json\s*(;.*)?"

# Headers that steer Envoy or that are ours to say. A client that could send them would set its own retries and
# timeouts.
_CONTROL_HEADERS: Final = ("x-envoy-", "x-penstock-")


def author_listener(document: Listener) -> bytes:
    """The Envoy listener of a policy listener."""
    manager = _connection_manager(document)
    return bytes(
        listener.Listener(
            name=document.name,
            address=core.Address(
                socket_address=core.SocketAddress(address=document.spec.address, port_value=document.spec.port)
            ),
            traffic_direction=core.TrafficDirection.INBOUND,
            per_connection_buffer_limit_bytes=_CONNECTION_BUFFER,
            filter_chains=[
                listener.FilterChain(
                    filters=[
                        listener.Filter(
                            name="envoy.filters.network.http_connection_manager",
                            typed_config=protobuf.Any.pack(manager),
                        )
                    ]
                )
            ],
        )
    )


def _connection_manager(document: Listener) -> hcm.HttpConnectionManager:
    metering = document.spec.metering
    return hcm.HttpConnectionManager(
        stat_prefix=document.name,
        codec_type=hcm.HttpConnectionManagerCodecType.AUTO,
        rds=hcm.Rds(
            route_config_name=document.name,
            config_source=core.ConfigSource(ads=core.AggregatedConfigSource(), resource_api_version=core.ApiVersion.V3),
        ),
        http_filters=[
            # First, because it raises the body's limit for all that follow and answers 413 above it.
            _http_filter("envoy.filters.http.buffer", buffer.Buffer(max_request_bytes=document.spec.max_request_bytes)),
            _http_filter("envoy.filters.http.json_to_metadata", _json_reader(answers=metering)),
            *([_http_filter("envoy.filters.http.sse_to_metadata", stream_reader())] if metering else []),
            _http_filter("envoy.filters.http.router", router.Router(suppress_envoy_headers=True)),
        ],
        stream_idle_timeout=_STREAM_IDLE,
        request_timeout=_REQUEST_TIMEOUT,
        request_headers_timeout=_HEADERS_TIMEOUT,
        use_remote_address=True,
        early_header_mutation_extensions=[
            core.TypedExtensionConfig(
                name="envoy.http.early_header_mutation.header_mutation",
                typed_config=protobuf.Any.pack(_strip_control_headers()),
            )
        ],
        # The backend's own name and version are nobody's business; the routes remove the header.
        server_header_transformation=hcm.HttpConnectionManagerServerHeaderTransformation.PASS_THROUGH,
        # What is matched must be what the backend will see, or a path could reach another policy's clusters.
        normalize_path=True,
        merge_slashes=True,
        path_with_escaped_slashes_action=hcm.HttpConnectionManagerPathWithEscapedSlashesAction.REJECT_REQUEST,
        local_reply_config=local_replies(),
        access_log=[access_log()] if metering else [],
    )


def _http_filter(
    name: str,
    config: buffer.Buffer | json_to_metadata.JsonToMetadata | sse_to_metadata.SseToMetadata | router.Router,
) -> hcm.HttpFilter:
    return hcm.HttpFilter(name=name, typed_config=protobuf.Any.pack(config))


def _json_reader(*, answers: bool) -> json_to_metadata.JsonToMetadata:
    return json_to_metadata.JsonToMetadata(
        request_rules=json_to_metadata.JsonToMetadataMatchRules(
            allow_content_types=list(_JSON),
            allow_content_types_regex=matcher.RegexMatcher(regex=_JSON_TYPES),
            allow_empty_content_type=True,
            rules=[
                json_to_metadata.JsonToMetadataRule(
                    selectors=[json_to_metadata.JsonToMetadataSelector(key=MODEL_KEY)],
                    # Nothing on_missing or on_error: such a request names no model, and says so by having no metadata.
                    on_present=json_to_metadata.JsonToMetadataKeyValuePair(metadata_namespace=METADATA, key=MODEL_KEY),
                )
            ],
        ),
        response_rules=answer_rules(_JSON, _JSON_TYPES) if answers else None,
    )


def _strip_control_headers() -> header_mutation.HeaderMutation:
    return header_mutation.HeaderMutation(
        mutations=[
            mutation_rules.HeaderMutation(
                remove_on_match=mutation_rules.HeaderMutationRemoveOnMatch(
                    key_matcher=matcher.StringMatcher(prefix=prefix)
                )
            )
            for prefix in _CONTROL_HEADERS
        ]
    )
