"""Reading what a listener lets out to the control plane: its access log, and the filters that fill it.

The log is the one way on which anything of a request goes elsewhere than to a policy's clusters. It may go to the
control plane and nowhere else, and may be asked for nothing but a time: whatever could put a header, or text of a body,
into it is a breach.
"""

from typing import Final

from envoy.config.core.v3 import extension_pb2
from envoy.extensions.access_loggers.grpc.v3 import als_pb2
from envoy.extensions.filters.http.buffer.v3 import buffer_pb2
from envoy.extensions.filters.http.json_to_metadata.v3 import json_to_metadata_pb2

from penstock_envoy.protos import Message
from penstock_envoy.residency.breach import ResidencyBreach
from penstock_envoy.residency.sse_to_metadata import JsonContentParser, SseToMetadata
from penstock_envoy.residency.strict import only, packed, parse, require

CONTROL_PLANE: Final = "penstock/xds"
"""The one cluster that a listener may name. It comes with the bootstrap, and no policy can name it."""

_TYPES: Final = "type.googleapis.com/"
_NUMBER: Final = 2  # JsonToMetadata.ValueType
_MODEL: Final = ["model"]
# The one of Envoy's commands that is asked for. Others quote headers and users.
_FIRST_BYTE: Final = "%COMMON_DURATION(US_TX_BEG:US_RX_BODY_BEG:us)%"


def check_log(log: Message) -> None:
    """Check an access log.

    Raises:
        ResidencyBreach: it goes elsewhere than to the control plane, or could carry more than numbers.
    """
    what = f"access log {log.name}"
    only(log, what, "name", "filter", "typed_config")
    config = packed(log.typed_config, als_pb2.HttpGrpcAccessLogConfig, what)
    only(config, what, "common_config")
    common = config.common_config
    only(
        common,
        what,
        "log_name",
        "grpc_service",
        "transport_api_version",
        "buffer_flush_interval",
        "buffer_size_bytes",
        "custom_tags",
    )
    only(common.grpc_service, what, "envoy_grpc")
    only(common.grpc_service.envoy_grpc, what, "cluster_name")
    target = common.grpc_service.envoy_grpc.cluster_name
    require(target == CONTROL_PLANE, what, f"goes to {target or 'no cluster'}, not to the control plane")
    for tag in common.custom_tags:
        only(tag, what, "tag", "value")
        require(tag.value == _FIRST_BYTE, what, f"tag {tag.tag} could carry more than a number: {tag.value}")


def check_reader(http_filter: Message) -> None:
    """Check a filter before the router: one that only reads, and keeps nothing but the model's name and numbers.

    Raises:
        ResidencyBreach: it is another, or keeps more.
    """
    what = f"filter {http_filter.name}"
    only(http_filter, what, "name", "typed_config")
    holder = http_filter.typed_config
    kind = holder.type_url
    if kind == f"{_TYPES}{buffer_pb2.Buffer.DESCRIPTOR.full_name}":
        return
    if kind == f"{_TYPES}{SseToMetadata.DESCRIPTOR.full_name}":
        _check_streams(packed(holder, SseToMetadata, what), what)
    elif kind == f"{_TYPES}{json_to_metadata_pb2.JsonToMetadata.DESCRIPTOR.full_name}":
        _check_json(packed(holder, json_to_metadata_pb2.JsonToMetadata, what), what)
    else:
        raise ResidencyBreach((what,), f"{kind} is not known")


def _check_json(reader: Message, what: str) -> None:
    only(reader, what, "request_rules", "response_rules")
    for rule in reader.request_rules.rules:
        only(rule, what, "selectors", "on_present")
        require([each.key for each in rule.selectors] == _MODEL, what, "keeps more of a request than its model")
    for rule in reader.response_rules.rules:
        _check_number(rule, what)


def _check_streams(reader: Message, what: str) -> None:
    only(reader, what, "response_rules")
    only(reader.response_rules, what, "content_parser", "max_event_size")
    parser = parse(extension_pb2.TypedExtensionConfig, reader.response_rules.content_parser, what)
    config = packed(parser.typed_config, JsonContentParser, what)
    for rule in config.rules:
        _check_number(parse(json_to_metadata_pb2.JsonToMetadata.Rule, rule.rule, what), what)


def _check_number(rule: Message, what: str) -> None:
    only(rule, what, "selectors", "on_present", "on_missing")
    for action in ("on_present", "on_missing"):
        if not rule.HasField(action):
            continue
        kept = getattr(rule, action)
        only(kept, what, "metadata_namespace", "key", "value", "type")
        constant = kept.HasField("value") and kept.value.WhichOneof("kind") == "number_value"
        taken = not kept.HasField("value") and kept.type == _NUMBER
        require(constant or taken, what, f"keeps {kept.key} of an answer, which could be text")
