"""The access log of a listener: one entry to the control plane for each request that a policy's route took.

Asked for is one tag, a time. What Envoy sends unasked: status, times and byte counts, the names of route and cluster,
the metadata of the request, in which a listener of ours has the model's name and the answer's token counts; and path,
authority, user agent, referer and addresses, which Penstock never reads (:mod:`penstock.signals.access_log_entries`).
Envoy's TCP access log works for HTTP as well and leaves those out, but it keeps every entry that the control plane does
not take: behind one that hangs, 60 000 requests cost 80 MB (measured). The HTTP log keeps one buffer for each worker
and drops the rest, so it is the one to have.

Requests that no policy's route took are not logged, so a model's name here is always one of the policy files, never a
client's invention. No request waits for its entry.
"""

from datetime import timedelta
from typing import Final

from envoy_data_plane.envoy.config.accesslog import v3 as accesslog
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.extensions.access_loggers.filters.cel import v3 as cel
from envoy_data_plane.envoy.extensions.access_loggers.grpc import v3 as grpc_log
from envoy_data_plane.envoy.type.tracing import v3 as tracing
from envoy_data_plane.google import protobuf

from penstock_envoy.bootstrap import XDS_CLUSTER

LOG_NAME: Final = "penstock"
FIRST_BYTE_TAG: Final = "first_byte_us"
"""Microseconds from sending the last attempt to the first byte of its body. Not of its headers, which engines send as
soon as they have read a request."""

# Half a second on average until Penstock knows of a request: budgets and screens want no better.
_FLUSH_EVERY: Final = timedelta(seconds=1)
# About 100 entries. It is also all that a worker keeps for a control plane that does not take it.
_FLUSH_BYTES: Final = 64 * 1024

# The routes of policies are named class/policy/model; those that the edge answers by itself have no slash.
_OF_POLICIES: Final = "xds.route_name.contains('/')"


def access_log() -> accesslog.AccessLog:
    """The access log, the same for all listeners."""
    first_byte = tracing.CustomTag(tag=FIRST_BYTE_TAG, value="%COMMON_DURATION(US_TX_BEG:US_RX_BODY_BEG:us)%")
    config = grpc_log.HttpGrpcAccessLogConfig(
        common_config=grpc_log.CommonGrpcAccessLogConfig(
            log_name=LOG_NAME,
            transport_api_version=core.ApiVersion.V3,
            grpc_service=core.GrpcService(envoy_grpc=core.GrpcServiceEnvoyGrpc(cluster_name=XDS_CLUSTER)),
            buffer_flush_interval=_FLUSH_EVERY,
            buffer_size_bytes=_FLUSH_BYTES,
            custom_tags=[first_byte],
        )
    )
    return accesslog.AccessLog(
        name="envoy.access_loggers.http_grpc",
        filter=accesslog.AccessLogFilter(
            extension_filter=accesslog.ExtensionFilter(
                name="envoy.access_loggers.extension_filters.cel",
                typed_config=protobuf.Any.pack(cel.ExpressionFilter(expression=_OF_POLICIES)),
            )
        ),
        typed_config=protobuf.Any.pack(config),
    )
