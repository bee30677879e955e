"""Reading listeners: where requests come in, what is done to them, by which route table they go, what is logged."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.extensions.http.early_header_mutation.header_mutation.v3 import header_mutation_pb2

from penstock_envoy import protos
from penstock_envoy.protos import Message
from penstock_envoy.residency.breach import ResidencyBreach
from penstock_envoy.residency.class_header import HEADER
from penstock_envoy.residency.read_metering import check_log, check_reader
from penstock_envoy.residency.strict import only, packed, parse, require

_REJECT_REQUEST: Final = 2  # HttpConnectionManager.PathWithEscapedSlashesAction


@dataclass(frozen=True, slots=True)
class ListenerFacts:
    """Where a listener listens, and the route tables its connections use."""

    name: str
    address: str
    port: int
    tables: tuple[str, ...]


@lru_cache(maxsize=512)
def read_listener(body: bytes) -> ListenerFacts:
    """A listener.

    Raises:
        ResidencyBreach: it has anything the proof does not know.
    """
    listener = parse(protos.Listener, body, "listener")
    what = f"listener {listener.name}"
    only(
        listener,
        what,
        "name",
        "address",
        "filter_chains",
        "traffic_direction",
        "per_connection_buffer_limit_bytes",
    )
    only(listener.address, what, "socket_address")
    only(listener.address.socket_address, what, "address", "port_value")
    tables = []
    for chain in listener.filter_chains:
        only(chain, what, "filters")
        require(len(chain.filters) == 1, what, "a filter chain has not exactly one filter")
        only(chain.filters[0], what, "name", "typed_config")
        manager = packed(
            chain.filters[0].typed_config, http_connection_manager_pb2.HttpConnectionManager, "network filter"
        )
        try:
            tables.append(_read_manager(manager))
        except ResidencyBreach as breach:
            raise breach.under(what) from None
    socket = listener.address.socket_address
    return ListenerFacts(str(listener.name), str(socket.address), int(socket.port_value), tuple(tables))


def _read_manager(manager: Message) -> str:
    what = "connection manager"
    only(
        manager,
        what,
        "codec_type",
        "stat_prefix",
        "rds",
        "http_filters",
        "stream_idle_timeout",
        "request_timeout",
        "request_headers_timeout",
        "use_remote_address",
        "early_header_mutation_extensions",
        "server_header_transformation",
        "normalize_path",
        "merge_slashes",
        "path_with_escaped_slashes_action",
        "local_reply_config",
        "access_log",
    )
    require(manager.normalize_path.value, what, "does not normalise paths: a path could pass for another policy's")
    require(manager.merge_slashes, what, "does not merge slashes: a path could pass for another policy's")
    require(
        manager.path_with_escaped_slashes_action == _REJECT_REQUEST,
        what,
        "lets escaped slashes pass: a path could pass for another policy's",
    )
    for extension in manager.early_header_mutation_extensions:
        _check_early_mutation(extension)
    require(manager.http_filters, what, "has no HTTP filters")
    *readers, router = manager.http_filters
    for each in readers:
        check_reader(each)
    for log in manager.access_log:
        check_log(log)
    only(router, f"filter {router.name}", "name", "typed_config")
    only(packed(router.typed_config, router_pb2.Router, f"filter {router.name}"), "router", "suppress_envoy_headers")
    only(manager.rds, what, "config_source", "route_config_name")
    only(manager.rds.config_source, what, "ads", "resource_api_version")
    return str(manager.rds.route_config_name)


def _check_early_mutation(extension: Message) -> None:
    what = f"early header mutation {extension.name}"
    config = packed(extension.typed_config, header_mutation_pb2.HeaderMutation, what)
    only(config, what, "mutations")
    for mutation in config.mutations:
        only(mutation, what, "remove_on_match")
        only(mutation.remove_on_match, what, "key_matcher")
        matcher = mutation.remove_on_match.key_matcher
        only(matcher, what, "prefix")
        require(
            matcher.prefix and not HEADER.startswith(matcher.prefix.lower()),
            what,
            f"could remove {HEADER}, and with it what the client asked for",
        )
