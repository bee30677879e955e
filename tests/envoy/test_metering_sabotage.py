"""Whatever could let text of a request or answer out by the access log, or the log go elsewhere, is a breach."""

from collections.abc import Callable
from typing import Any

import pytest
from envoy.config.core.v3 import extension_pb2
from envoy.extensions.access_loggers.grpc.v3 import als_pb2
from envoy.extensions.filters.http.json_to_metadata.v3 import json_to_metadata_pb2

from penstock_envoy.compiler import Compiler
from penstock_envoy.residency import ResidencyBreach, prove
from penstock_envoy.residency.sse_to_metadata import JsonContentParser, SseToMetadata
from tests.envoy.fleet import GROUP, decision, fleet
from tests.envoy.sabotage import edited_manager

POLICY = fleet()
GOOD = Compiler().compile(POLICY, decision(POLICY), GROUP)
TEXT = json_to_metadata_pb2.JsonToMetadata.STRING
ANYTHING = json_to_metadata_pb2.JsonToMetadata.PROTOBUF_VALUE

Change = Callable[[Any], Any]


def packed(holder: Any, message_type: Any, change: Change) -> None:
    message = message_type.FromString(holder.value)
    change(message)
    holder.value = message.SerializeToString(deterministic=True)


def in_log(change: Change) -> Change:
    def tampered(manager: Any) -> None:
        packed(manager.access_log[0].typed_config, als_pb2.HttpGrpcAccessLogConfig, change)

    return tampered


def in_json(change: Change) -> Change:
    def tampered(manager: Any) -> None:
        packed(manager.http_filters[1].typed_config, json_to_metadata_pb2.JsonToMetadata, change)

    return tampered


def in_stream_rules(change: Change) -> Change:
    def in_rules(parser: Any) -> None:
        rule = json_to_metadata_pb2.JsonToMetadata.Rule.FromString(parser.rules[0].rule)
        change(rule)
        parser.rules[0].rule = rule.SerializeToString()

    def in_filter(reader: Any) -> None:
        holder = extension_pb2.TypedExtensionConfig.FromString(reader.response_rules.content_parser)
        packed(holder.typed_config, JsonContentParser, in_rules)
        reader.response_rules.content_parser = holder.SerializeToString()

    return lambda manager: packed(manager.http_filters[2].typed_config, SseToMetadata, in_filter)


def another_kind_of_log(manager: Any) -> None:
    name = als_pb2.TcpGrpcAccessLogConfig.DESCRIPTOR.full_name
    manager.access_log[0].typed_config.type_url = f"type.googleapis.com/{name}"


SABOTAGE: dict[str, Change] = {
    "the log goes to a cluster of the policies": in_log(
        lambda log: setattr(log.common_config.grpc_service.envoy_grpc, "cluster_name", "cloud-us-east")
    ),
    "the log goes to an address of its own": in_log(
        lambda log: setattr(log.common_config.grpc_service.google_grpc, "target_uri", "192.0.2.1:443")
    ),
    "the log carries a header": in_log(
        lambda log: log.common_config.custom_tags.add(tag="secret", value="%REQ(authorization)%")
    ),
    "the log carries a header by another way": in_log(
        lambda log: setattr(log.common_config.custom_tags.add(tag="secret").request_header, "name", "authorization")
    ),
    "the log carries the path": in_log(lambda log: setattr(log.common_config.custom_tags[0], "value", "%PATH%")),
    "the log carries filter state": in_log(lambda log: log.common_config.filter_state_objects_to_log.append("prompt")),
    "the log is asked for headers": in_log(lambda log: log.additional_request_headers_to_log.append("authorization")),
    "the log is asked for headers of answers": in_log(
        lambda log: log.additional_response_headers_to_log.append("set-cookie")
    ),
    "the log is of a kind that has no bound": another_kind_of_log,
    "a second log": lambda manager: manager.access_log.add(name="file"),
    "a prompt is kept": in_json(lambda reader: setattr(reader.request_rules.rules[0].selectors[0], "key", "messages")),
    "more of a request is kept": in_json(
        lambda reader: reader.request_rules.rules.add(on_present={"key": "user"}, selectors=[{"key": "user"}])
    ),
    "text of an answer is kept": in_json(
        lambda reader: setattr(reader.response_rules.rules[0].on_present, "type", TEXT)
    ),
    "anything of an answer is kept": in_json(
        lambda reader: setattr(reader.response_rules.rules[0].on_present, "type", ANYTHING)
    ),
    "text of a stream is kept": in_stream_rules(lambda rule: setattr(rule.on_present, "type", TEXT)),
    "a stream is read by what is not known": in_stream_rules(lambda rule: setattr(rule.on_error, "key", "x")),
}


@pytest.mark.parametrize("name", SABOTAGE)
def test_a_way_out_is_caught(name: str) -> None:
    with pytest.raises(ResidencyBreach):
        prove(POLICY, edited_manager(GOOD, "public", SABOTAGE[name]), GROUP)


@pytest.mark.parametrize("change", [in_log, in_json, in_stream_rules])
def test_the_tampering_alone_is_not_what_is_caught(change: Callable[[Change], Change]) -> None:
    prove(POLICY, edited_manager(GOOD, "public", change(lambda _: None)), GROUP)
