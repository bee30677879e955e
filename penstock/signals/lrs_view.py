"""The load report as this program reads it: the fields that are used, and nothing else of the message.

Every report of an Envoy repeats its whole ``Node``, with the name of each of its some 500 extensions: 61 kB, where what
is reported takes one or two. So the message is read through a type of our own, made of the real one's field numbers,
in which the node, addresses, localities and times are bytes that nobody looks into (the wire format does not tell a
message from bytes), or that are looked into once and remembered. Fields it has not are skipped by the parser in C.
"""

from typing import Any, Final

from envoy.service.load_stats.v3 import lrs_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE: Final = "penstock.lrs"

# Message by message, what is read. Those marked are messages, taken as bytes.
_METRIC: Final = ("metric_name", "num_requests_finished_with_metric", "total_metric_value")
_UNNAMED_METRIC: Final = ("num_requests_finished_with_metric", "total_metric_value")
_COUNTS: Final = (
    "total_successful_requests",
    "total_requests_in_progress",
    "total_error_requests",
    "total_issued_requests",
)
_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "LoadStatsRequest": ("node", "cluster_stats"),
    "ClusterStats": (
        "cluster_name",
        "upstream_locality_stats",
        "total_dropped_requests",
        "load_report_interval",
        "dropped_requests",
    ),
    "DroppedRequests": ("category", "dropped_count"),
    "UpstreamLocalityStats": (
        "locality",
        *_COUNTS,
        "load_metric_stats",
        "upstream_endpoint_stats",
        "cpu_utilization",
        "mem_utilization",
        "application_utilization",
    ),
    "UpstreamEndpointStats": ("address", *_COUNTS, "load_metric_stats"),
    "EndpointLoadMetricStats": _METRIC,
    "UnnamedEndpointLoadMetricStats": _UNNAMED_METRIC,
}
_AS_BYTES: Final = frozenset({"node", "address", "locality", "load_report_interval"})


def _lean_file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="penstock/lrs.proto", package=_PACKAGE, syntax="proto3")
    waiting = [lrs_pb2.LoadStatsRequest.DESCRIPTOR]
    made: set[str] = set()
    while waiting:
        real = waiting.pop()
        if real.name in made:
            continue
        made.add(real.name)
        message = file.message_type.add(name=real.name)
        for name in _FIELDS[real.name]:
            of = real.fields_by_name[name]
            field = message.field.add(name=name, number=of.number, type=of.type)
            field.label = field.LABEL_REPEATED if of.is_repeated else field.LABEL_OPTIONAL
            if name in _AS_BYTES:
                field.type = field.TYPE_BYTES
            elif of.message_type is not None:
                field.type_name = f".{_PACKAGE}.{of.message_type.name}"
                waiting.append(of.message_type)
    return file


def _lean_type() -> Any:  # noqa: ANN401 - a class made at run time
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(_lean_file().SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.LoadStatsRequest"))


LeanRequest: Final = _lean_type()
"""A ``LoadStatsRequest`` with the fields that are read. ``FromString`` raises
:class:`google.protobuf.message.DecodeError` for what are not the bytes of one."""
