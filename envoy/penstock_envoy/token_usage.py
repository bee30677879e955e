"""Filters that read from answers how many tokens they took, and leave the numbers for the access log.

Numbers only: a rule takes a figure by its exact place in the answer and Envoy turns it into a number or drops it, so no
text of an answer can come by here. Read are the forms of OpenAI's chat, completions, embeddings and responses APIs and
of Anthropic's messages API, from JSON bodies and from streams of server-sent events; what an answer says later wins,
which is right for streams that count up.

An answer in JSON is held until its end to be read. Envoy fails what outgrows a stream's buffer, so routes of listeners
that meter let it grow to :data:`LONGEST_ANSWER`. Streams pass through as they come.
"""

from typing import Final

from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.extensions.content_parsers.json import v3 as json_parser
from envoy_data_plane.envoy.extensions.filters.http.json_to_metadata import v3 as json_to_metadata
from envoy_data_plane.envoy.extensions.filters.http.sse_to_metadata import v3 as sse_to_metadata
from envoy_data_plane.envoy.type.matcher import v3 as matcher
from envoy_data_plane.google import protobuf

USAGE: Final = "penstock.usage"
"""The namespace of what answers came to. Not the one of requests: nothing a client sends may land here."""

PROMPT_KEY: Final = "prompt"
OUTPUT_KEY: Final = "output"
CACHED_KEY: Final = "cached"
"""Of the prompt tokens, those found in a cache; they are among ``prompt``."""
CACHE_READ_KEY: Final = "cache_read"
CACHE_WRITE_KEY: Final = "cache_write"
"""Anthropic's: prompt tokens read from and written to a cache, which its ``input_tokens`` leave out."""
STREAM_KEY: Final = "stream"
"""There when the answer was a stream of events, so that its first byte is a first token."""

_OPENAI: Final = (
    ("usage.prompt_tokens", PROMPT_KEY),
    ("usage.completion_tokens", OUTPUT_KEY),
    ("usage.prompt_tokens_details.cached_tokens", CACHED_KEY),
)
_READ_FROM_BODIES: Final = (
    *_OPENAI,
    # The responses API, and Anthropic's messages.
    ("usage.input_tokens", PROMPT_KEY),
    ("usage.output_tokens", OUTPUT_KEY),
    ("usage.input_tokens_details.cached_tokens", CACHED_KEY),
    ("usage.cache_read_input_tokens", CACHE_READ_KEY),
    ("usage.cache_creation_input_tokens", CACHE_WRITE_KEY),
)
# Each is looked for in every event, for 0.15 microseconds: no more than some API's stream really has.
_READ_FROM_STREAMS: Final = (
    *_OPENAI,
    ("response.usage.input_tokens", PROMPT_KEY),
    ("response.usage.output_tokens", OUTPUT_KEY),
    ("response.usage.input_tokens_details.cached_tokens", CACHED_KEY),
    # Anthropic's first event tells the prompt, later ones count the output up.
    ("message.usage.input_tokens", PROMPT_KEY),
    ("message.usage.cache_read_input_tokens", CACHE_READ_KEY),
    ("message.usage.cache_creation_input_tokens", CACHE_WRITE_KEY),
    ("usage.output_tokens", OUTPUT_KEY),
)

# OpenAI's `response.completed` repeats the whole answer; Envoy's own 8 kB would leave its usage unread.
_MAX_EVENT: Final = 1 << 20

LONGEST_ANSWER: Final = 64 * 1024 * 1024
"""Bytes of an answer in JSON. Ten images in one are half of that."""


def answer_rules(json_types: tuple[str, ...], pattern: str) -> json_to_metadata.JsonToMetadataMatchRules:
    """What to read from JSON bodies, whose content type is one of ``json_types`` or matches a pattern.

    Rules for the filter that reads requests, not a filter of their own, which would cost 2 microseconds a request.
    """
    return json_to_metadata.JsonToMetadataMatchRules(
        allow_content_types=list(json_types),
        allow_content_types_regex=matcher.RegexMatcher(regex=pattern),
        rules=[_rule(path, key) for path, key in _READ_FROM_BODIES],
    )


def stream_reader() -> sse_to_metadata.SseToMetadata:
    """The filter that reads streams."""
    rules = [json_parser.JsonContentParserRuleConfig(rule=_rule(path, key)) for path, key in _READ_FROM_STREAMS]
    # Nearly every API's first event has a kind, which is when the mark is set; else it is set when the stream ends.
    mark = json_to_metadata.JsonToMetadataKeyValuePair(
        metadata_namespace=USAGE, key=STREAM_KEY, value=protobuf.Value(number_value=1.0)
    )
    rules.append(
        json_parser.JsonContentParserRuleConfig(
            rule=json_to_metadata.JsonToMetadataRule(
                selectors=[json_to_metadata.JsonToMetadataSelector(key="object")], on_present=mark, on_missing=mark
            ),
            stop_processing_after_matches=1,
        )
    )
    return sse_to_metadata.SseToMetadata(
        response_rules=sse_to_metadata.SseToMetadataProcessingRules(
            content_parser=core.TypedExtensionConfig(
                name="envoy.content_parsers.json",
                typed_config=protobuf.Any.pack(json_parser.JsonContentParser(rules=rules)),
            ),
            max_event_size=_MAX_EVENT,
        )
    )


def _rule(path: str, key: str) -> json_to_metadata.JsonToMetadataRule:
    return json_to_metadata.JsonToMetadataRule(
        selectors=[json_to_metadata.JsonToMetadataSelector(key=step) for step in path.split(".")],
        on_present=json_to_metadata.JsonToMetadataKeyValuePair(
            metadata_namespace=USAGE, key=key, type=json_to_metadata.JsonToMetadataValueType.NUMBER
        ),
    )
