"""Reading route tables: who can match a route, and where it leads."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from penstock_envoy import protos
from penstock_envoy.protos import Message
from penstock_envoy.residency.breach import ResidencyBreach
from penstock_envoy.residency.class_header import EVERY_STATE, HEADER, ClassMatcher, exact, pattern
from penstock_envoy.residency.strict import only, parse, require

NAMESPACE: Final = "penstock"

_LOAD_HEADER: Final = "endpoint-load-metrics-format"
"""Asks an engine for its load. Any other header that a whole table sets might tell backends another class."""


@dataclass(frozen=True, slots=True)
class RouteFacts:
    """What a route says of itself, and what it does."""

    name: str
    mask: int
    """The states of the class header it matches."""
    catch_all: bool
    """Whether it matches every request in those states, so that none reaches the routes after it."""
    path: str
    """Its path prefix, with no slash at the end; empty for all. An exact path is shown as such a prefix."""
    models: frozenset[str] | None
    """The models it is for; None when it does not ask, or asks that none be named."""
    policy: str
    """The policy it claims to serve."""
    targets: tuple[str, ...]
    """The clusters it leads to; none when Envoy answers by itself."""


@lru_cache(maxsize=512)
def read_table(body: bytes) -> tuple[str, tuple[tuple[str, tuple[bytes, ...]], ...]]:
    """The name of a route table, and of each virtual host its name and routes, serialised without weights.

    Weights decide how often, never whether: leaving them out lets readings of routes be remembered between decisions.

    Raises:
        ResidencyBreach: it has anything the proof does not know.
    """
    table = parse(protos.RouteConfiguration, body, "route table")
    what = f"routes {table.name}"
    only(
        table,
        what,
        "name",
        "virtual_hosts",
        "response_headers_to_remove",
        "request_headers_to_remove",
        "request_headers_to_add",
        "max_direct_response_body_size_bytes",
    )
    for added in table.request_headers_to_add:
        require(added.header.key == _LOAD_HEADER, what, f"sets the header {added.header.key}, which is not known")
    hosts = []
    for host in table.virtual_hosts:
        only(host, f"virtual host {host.name}", "name", "domains", "routes")
        routes = []
        for route in host.routes:
            for weighted in route.route.weighted_clusters.clusters if route.HasField("route") else ():
                weighted.ClearField("weight")
            routes.append(route.SerializeToString(deterministic=True))
        hosts.append((host.name, tuple(routes)))
    return table.name, tuple(hosts)


@lru_cache(maxsize=32768)
def read_route(body: bytes) -> RouteFacts:
    """A route.

    Raises:
        ResidencyBreach: it has anything the proof does not know.
    """
    route = parse(protos.Route, body, "route")
    what = f"route {route.name or '(unnamed)'}"
    only(
        route,
        what,
        "name",
        "match",
        "route",
        "direct_response",
        "metadata",
        "request_headers_to_add",
        "response_headers_to_add",
        "request_body_buffer_limit",
    )
    try:
        matchers, narrowed = _header_matchers(route.match)
        path, whole_path = _path(route.match)
        models = _models(route.match)
        targets = _targets(route)
        policy = _policy(route)
    except ResidencyBreach as breach:
        raise breach.under(what) from None
    mask = EVERY_STATE
    for matcher in matchers:
        mask &= matcher.mask
    return RouteFacts(
        name=route.name,
        mask=mask,
        catch_all=path == "" and whole_path and not narrowed and not route.match.dynamic_metadata,
        path=path,
        models=models,
        policy=policy,
        targets=targets,
    )


def _header_matchers(match: Message) -> tuple[list[ClassMatcher], bool]:
    """The matchers on the class header, and whether there are others."""
    only(match, "match", "prefix", "path", "path_separated_prefix", "headers", "dynamic_metadata")
    matchers = []
    for header in match.headers:
        if header.name.lower() != HEADER:
            continue
        only(header, HEADER, "name", "string_match", "treat_missing_header_as_empty")
        only(header.string_match, HEADER, "exact", "safe_regex")
        absent_is_empty = header.treat_missing_header_as_empty
        if header.string_match.HasField("safe_regex"):
            only(header.string_match.safe_regex, HEADER, "regex")
            matchers.append(pattern(header.string_match.safe_regex.regex, absent_is_empty=absent_is_empty))
        else:
            require(header.string_match.WhichOneof("match_pattern") == "exact", HEADER, "matches nothing in particular")
            matchers.append(exact(header.string_match.exact, absent_is_empty=absent_is_empty))
    return matchers, len(matchers) < len(match.headers)


def _path(match: Message) -> tuple[str, bool]:
    """The path prefix, with no slash at the end, and whether it stands for everything below it."""
    kind = match.WhichOneof("path_specifier")
    require(kind in ("prefix", "path", "path_separated_prefix"), "match", "has no path")
    return getattr(match, kind).rstrip("/"), kind != "path"


def _models(match: Message) -> frozenset[str] | None:
    named: frozenset[str] | None = None
    for metadata in match.dynamic_metadata:
        if metadata.invert or not metadata.value.HasField("string_match"):
            continue
        require(metadata.filter == NAMESPACE, "match", f"metadata of {metadata.filter} is not known")
        only(metadata.value.string_match, "match", "exact")
        asked = frozenset({metadata.value.string_match.exact})
        named = asked if named is None else named & asked
    return named


def _policy(route: Message) -> str:
    if not route.HasField("metadata"):
        return ""
    only(route.metadata, "metadata", "filter_metadata")
    return str(route.metadata.filter_metadata[NAMESPACE].fields["policy"].string_value)


def _targets(route: Message) -> tuple[str, ...]:
    action = route.WhichOneof("action")
    if action == "direct_response":
        return ()
    require(action == "route", "action", f"{action or 'none'} is not an action the proof knows")
    # A hash policy decides among the targets, which are all judged; it can name none.
    only(
        route.route,
        "action",
        "cluster",
        "weighted_clusters",
        "timeout",
        "auto_host_rewrite",
        "retry_policy",
        "hash_policy",
    )
    _check_retries(route.route.retry_policy)
    kind = route.route.WhichOneof("cluster_specifier")
    if kind == "cluster":
        return (str(route.route.cluster),)
    require(kind == "weighted_clusters", "action", f"{kind or 'no cluster'} does not name clusters")
    only(route.route.weighted_clusters, "weighted_clusters", "clusters", "use_hash_policy")
    for weighted in route.route.weighted_clusters.clusters:
        only(weighted, f"weighted cluster {weighted.name}", "name")
    targets = tuple(str(weighted.name) for weighted in route.route.weighted_clusters.clusters)
    require(targets, "weighted_clusters", "names no cluster")
    return targets


def _check_retries(policy: Message) -> None:
    only(
        policy,
        "retry_policy",
        "retry_on",
        "num_retries",
        "retry_host_predicate",
        "host_selection_retry_max_attempts",
        "retriable_status_codes",
        "retry_back_off",
    )
    for predicate in policy.retry_host_predicate:
        require(
            predicate.typed_config.type_url.endswith(
                "/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
            ),
            "retry_policy",
            f"host predicate {predicate.name} is not known",
        )
