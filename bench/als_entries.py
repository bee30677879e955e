"""Messages of access logs as the Envoys of a fleet send them: the entries of Envoy 1.40 for the example policies."""

from functools import cache
from typing import Any, Final

from envoy.service.accesslog.v3 import als_pb2

from bench.datapath_config import example_policy
from penstock_envoy import names
from penstock_envoy.access_logs import FIRST_BYTE_TAG
from penstock_envoy.token_usage import CACHED_KEY, OUTPUT_KEY, PROMPT_KEY, STREAM_KEY, USAGE
from penstock_policies.policyset import PolicySet

ENTRIES: Final = 100
"""To a message: what Envoy's 64 kB hold."""

_TIMES: Final = (
    "time_to_last_rx_byte",
    "time_to_first_upstream_tx_byte",
    "time_to_last_upstream_tx_byte",
    "time_to_first_upstream_rx_byte",
    "time_to_last_upstream_rx_byte",
    "time_to_first_downstream_tx_byte",
    "time_to_last_downstream_tx_byte",
    "duration",
)


@cache
def policy() -> PolicySet:
    """The example policies, with nobody behind them."""
    return example_policy({"onprem-fra": (8000, 8001), "cloud-eu-west": (8002,)})


@cache
def message(number: int) -> bytes:
    """A message; the first of a stream (0) names its node."""
    written: Any = als_pb2.StreamAccessLogsMessage()
    if number == 0:
        written.identifier.node.id = "edge"
        written.identifier.node.cluster = "edge"
    kinds = [
        (names.route(each.spec.data_class, each.name, model), cluster, model)
        for each in policy().policies.values()
        for model in policy().models_of(each)
        for cluster in each.spec.clusters
    ]
    for index in range(ENTRIES):
        _fill(written.http_logs.log_entry.add(), *kinds[(number + index) % len(kinds)], index)
    return bytes(written.SerializeToString())


def _fill(entry: Any, route: str, cluster: str, model: str, index: int) -> None:  # noqa: ANN401 - no stubs
    common = entry.common_properties
    for address in (
        common.downstream_remote_address,
        common.downstream_local_address,
        common.downstream_direct_remote_address,
        common.upstream_remote_address,
        common.upstream_local_address,
    ):
        address.socket_address.address = f"10.0.{index}.7"
        address.socket_address.port_value = 40_000 + index
    common.start_time.FromMicroseconds(1_790_000_000_000_000 + index)
    for name in _TIMES:
        getattr(common, name).FromMicroseconds(150_000 + index)
    common.upstream_cluster = cluster
    common.route_name = route
    common.response_flags.SetInParent()
    common.metadata.filter_metadata["penstock"].fields["model"].string_value = model
    usage = common.metadata.filter_metadata[USAGE].fields
    for key, figure in ((PROMPT_KEY, 812), (CACHED_KEY, 512), (OUTPUT_KEY, 120 + index), (STREAM_KEY, 1)):
        usage[key].number_value = figure
    common.custom_tags[FIRST_BYTE_TAG] = str(180_000 + index)
    common.upstream_request_attempt_count = 1
    common.stream_id = "7eff91ce-2248-4175-b769-ca494afe831b"
    common.downstream_wire_bytes_sent = common.upstream_wire_bytes_received = 40_331
    common.downstream_wire_bytes_received = common.upstream_wire_bytes_sent = 3_294
    request, response = entry.request, entry.response
    request.request_method = 3
    request.scheme = "https"
    request.authority = "llm.example.com"
    request.path = "/v1/chat/completions"
    request.user_agent = "OpenAI/Python 2.8.1"
    request.request_id = common.stream_id
    request.request_headers_bytes = 294
    request.request_body_bytes = 3_000
    response.response_code.value = 200
    response.response_headers_bytes = 180
    response.response_body_bytes = 40_151
    response.response_code_details = "via_upstream"
