"""The proof's own definitions of the filter that reads streams; see :mod:`penstock_envoy.residency.composite` for why.

Messages inside them that ``xds-protos`` does have are taken as the bytes they are on the wire, and parsed with those.
"""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from penstock_envoy.protos import MessageType

_FIELD = descriptor_pb2.FieldDescriptorProto
_FILTER = "envoy.extensions.filters.http.sse_to_metadata.v3"
_PARSER = "envoy.extensions.content_parsers.json.v3"


def _define() -> tuple[MessageType, MessageType]:
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name="penstock/sse_to_metadata.proto", package=_FILTER, syntax="proto3")
    sse = file.message_type.add(name="SseToMetadata")
    rules = sse.nested_type.add(name="ProcessingRules")
    rules.field.add(name="content_parser", number=1, type=_FIELD.TYPE_BYTES, label=_FIELD.LABEL_OPTIONAL)
    rules.field.add(name="max_event_size", number=2, type=_FIELD.TYPE_BYTES, label=_FIELD.LABEL_OPTIONAL)
    sse.field.add(
        name="response_rules",
        number=1,
        type=_FIELD.TYPE_MESSAGE,
        label=_FIELD.LABEL_OPTIONAL,
        type_name=f".{_FILTER}.SseToMetadata.ProcessingRules",
    )
    pool.Add(file)
    file = descriptor_pb2.FileDescriptorProto(name="penstock/json_parser.proto", package=_PARSER, syntax="proto3")
    parser = file.message_type.add(name="JsonContentParser")
    rule = parser.nested_type.add(name="RuleConfig")
    rule.field.add(name="rule", number=1, type=_FIELD.TYPE_BYTES, label=_FIELD.LABEL_OPTIONAL)
    rule.field.add(name="stop_processing_after_matches", number=2, type=_FIELD.TYPE_UINT32, label=_FIELD.LABEL_OPTIONAL)
    parser.field.add(
        name="rules",
        number=1,
        type=_FIELD.TYPE_MESSAGE,
        label=_FIELD.LABEL_REPEATED,
        type_name=f".{_PARSER}.JsonContentParser.RuleConfig",
    )
    pool.Add(file)
    return (
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_FILTER}.SseToMetadata")),
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PARSER}.JsonContentParser")),
    )


SseToMetadata, JsonContentParser = _define()
