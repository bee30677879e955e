"""Access log entries as Envoy 1.40 writes them, and messages of them."""

from typing import Any

from envoy.service.accesslog.v3 import als_pb2

ROUTE = "public/chat/llama-3-70b"


def add_entry(
    message: Any,
    *,
    route: str = ROUTE,
    cluster: str = "onprem-fra",
    status: int = 200,
    answered: bool = True,
    seconds: float = 2.0,
    first_byte_us: str = "150000",
    flags: tuple[str, ...] = (),
    model: str = "llama-3-70b",
    **usage: float,
) -> None:
    """Add an entry; ``usage`` are the figures that Envoy read from the answer, none for an answer that says none."""
    entry = message.http_logs.log_entry.add()
    common = entry.common_properties
    for address in (
        common.downstream_remote_address,
        common.downstream_local_address,
        common.downstream_direct_remote_address,
        common.upstream_remote_address,
        common.upstream_local_address,
    ):
        address.socket_address.address = "192.0.2.7"
        address.socket_address.port_value = 40_000
    common.start_time.FromSeconds(1_790_000_000)
    for interval in (
        "time_to_last_rx_byte",
        "time_to_first_upstream_tx_byte",
        "time_to_last_upstream_tx_byte",
        "time_to_first_downstream_tx_byte",
        "time_to_last_downstream_tx_byte",
    ):
        getattr(common, interval).FromMicroseconds(1500)
    if answered:
        common.time_to_first_upstream_rx_byte.FromMicroseconds(2000)
        common.time_to_last_upstream_rx_byte.FromMicroseconds(2000)
    common.duration.FromMicroseconds(round(seconds * 1e6))
    common.upstream_cluster = cluster
    common.route_name = route
    common.response_flags.SetInParent()
    for flag in flags:
        setattr(common.response_flags, flag, True)
    common.metadata.filter_metadata["penstock"].fields["model"].string_value = model
    if usage:
        fields = common.metadata.filter_metadata["penstock.usage"].fields
        for key, figure in usage.items():
            fields[key].number_value = figure
    if first_byte_us:
        common.custom_tags["first_byte_us"] = first_byte_us
    common.upstream_request_attempt_count = 1
    common.stream_id = "7eff91ce-2248-4175-b769-ca494afe831b"
    common.downstream_wire_bytes_sent = common.upstream_wire_bytes_received = 331
    common.downstream_wire_bytes_received = common.upstream_wire_bytes_sent = 294
    entry.protocol_version = 2
    request, response = entry.request, entry.response
    request.request_method = 3
    request.scheme = "https"
    request.authority = "llm.example.com"
    request.path = "/v1/chat/completions?key=secret"
    request.user_agent = "openai-python"
    request.referer = request.forwarded_for = "192.0.2.7"
    request.request_id = common.stream_id
    request.request_headers_bytes = 294
    request.request_body_bytes = 4_000
    if status:
        response.response_code.value = status
    response.response_headers_bytes = 180
    response.response_body_bytes = 151
    response.response_code_details = "via_upstream"


def message(*entries: dict[str, Any], node_id: str = "", node_cluster: str = "") -> bytes:
    """A message of these entries, from a node that names itself or not."""
    written = als_pb2.StreamAccessLogsMessage()
    if node_id or node_cluster:
        written.identifier.node.id = node_id
        written.identifier.node.cluster = node_cluster
        written.identifier.log_name = "penstock"
    for entry in entries:
        add_entry(written, **entry)
    return bytes(written.SerializeToString())
