"""What Envoy is really given: random fleets and journeys, decided, compiled, and walked as requests would.

The engine's own weights may be lawful and Envoy still be handed a way out: a stand-in of a leg, a shared endpoint, a
retry, a mirror. The walk here reads the protobufs by itself: it matches requests against routes as Envoy does and
follows route, leg, cluster and endpoint. It knows nothing of how they were made, and nothing of
:mod:`penstock_envoy.residency`, which has to agree with it.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy_data_plane.envoy.extensions.clusters.composite.v3 import ClusterConfig
from hypothesis import given
from hypothesis import strategies as st

from penstock_envoy.compiler import Compiler
from penstock_envoy.residency import prove
from penstock_envoy.resource import EnvoyResource
from penstock_policies.decision import TOTAL_WEIGHT, Decision, HealthState
from penstock_policies.engine import decide
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import ANY_MODEL, PolicySet, RowKey
from penstock_policies.schema import TrafficPolicy
from penstock_policies.words import DataClass, Site
from tests.engine.engine_checks import may_serve
from tests.engine.engine_strategies import (
    NAMES,
    RATES,
    Moment,
    examples,
    fleets,
    garbage,
    journeys,
    observations,
    plain_fleets,
)
from tests.engine.engine_world import CLASSES, MODEL, World

_COMPILER = Compiler()
"""One for all: it is meant to live long, and authors much only once."""
_numbers = itertools.count()
_SAID = (None, *CLASSES, "secret")
"""What clients may say of a request's class."""
_MODELS = (MODEL, "m2", "unheard-of", None)


def named_anew(policy: PolicySet) -> PolicySet:
    """The compiler knows policy sets by their digests, which are of their content outside of tests."""
    return replace(policy, digest=f"xds-{next(_numbers)}")


@dataclass(frozen=True, slots=True)
class Request:
    said: str | None
    path: str
    model: str | None

    def matches(self, match: Any) -> bool:
        """Whether Envoy would take it for a route. Whatever a route might ask beyond what is known here is an error."""
        known = {"prefix", "path", "path_separated_prefix", "headers", "dynamic_metadata"}
        assert {field.name for field, _ in match.ListFields()} <= known
        return (
            self._on_path(match)
            and all(self._in_header(each) for each in match.headers)
            and all(self._in_metadata(each) for each in match.dynamic_metadata)
        )

    def _on_path(self, match: Any) -> bool:
        kind = match.WhichOneof("path_specifier")
        wanted: str = getattr(match, kind)
        if kind == "path_separated_prefix":
            return self.path == wanted or self.path.startswith(f"{wanted}/")
        return self.path == wanted if kind == "path" else self.path.startswith(wanted)

    def _in_header(self, header: Any) -> bool:
        assert header.name in {":method", "x-data-class"}
        text = "POST" if header.name == ":method" else self.said
        if text is None and header.treat_missing_header_as_empty:
            text = ""
        if text is None:
            return False  # Envoy has a header that is not there match nothing, inverted or not
        return _says(header.string_match, text) is not header.invert_match

    def _in_metadata(self, metadata: Any) -> bool:
        assert [metadata.filter, *(each.key for each in metadata.path)] == ["penstock", "model"]
        value = metadata.value
        if value.WhichOneof("match_pattern") == "present_match":
            found = (self.model is not None) is value.present_match
        else:
            found = self.model is not None and _says(value.string_match, self.model)
        return found is not metadata.invert


def _says(wanted: Any, text: str) -> bool:
    kind = wanted.WhichOneof("match_pattern")
    assert kind in {"exact", "safe_regex"}
    assert not wanted.ignore_case
    return text == wanted.exact if kind == "exact" else _pattern(wanted.safe_regex.regex).fullmatch(text) is not None


_pattern = cache(re.compile)


@dataclass(frozen=True)
class Given:
    """What a group of edges was given."""

    resources: tuple[EnvoyResource, ...]

    def _all(self, kind: str, message: Any) -> dict[str, Any]:
        found = {each.name: message.FromString(each.body) for each in self.resources if each.type_url.endswith(kind)}
        assert len(found) == sum(each.type_url.endswith(kind) for each in self.resources)
        return found

    @cached_property
    def clusters(self) -> dict[str, Any]:
        return self._all(".Cluster", cluster_pb2.Cluster)

    @cached_property
    def endpoints(self) -> dict[str, Any]:
        return self._all(".ClusterLoadAssignment", endpoint_pb2.ClusterLoadAssignment)

    @cached_property
    def routes(self) -> dict[str, list[Any]]:
        """Listener to the routes that its requests are tried against, in order."""
        tables = self._all(".RouteConfiguration", route_pb2.RouteConfiguration)
        found: dict[str, list[Any]] = {}
        for name, listener in self._all(".Listener", listener_pb2.Listener).items():
            assert not listener.HasField("default_filter_chain")
            (chain,) = listener.filter_chains
            (network,) = chain.filters
            manager = http_connection_manager_pb2.HttpConnectionManager()
            assert network.typed_config.Unpack(manager)
            assert manager.WhichOneof("route_specifier") == "rds"
            table = tables[manager.rds.route_config_name]
            (host,) = table.virtual_hosts
            assert list(host.domains) == ["*"]
            assert not host.HasField("matcher")
            assert not (*table.request_mirror_policies, *host.request_mirror_policies)
            found[name] = list(host.routes)
        return found

    def reached(self, name: str, seen: frozenset[str] = frozenset()) -> Iterator[tuple[str, str]]:
        """Every cluster with endpoints, and each of these, that Envoy's cluster ``name`` may lead to, in order."""
        assert name not in seen, "goes round in circles"
        one = self.clusters[name]
        if one.WhichOneof("cluster_discovery_type") == "cluster_type":
            for entry in ClusterConfig.parse(one.cluster_type.typed_config.value).clusters:
                yield from self.reached(entry.name, seen | {name})
            return
        inline = one.type == cluster_pb2.Cluster.STRICT_DNS
        assignment = one.load_assignment if inline else self.endpoints[one.eds_cluster_config.service_name or name]
        for locality in assignment.endpoints:
            for each in locality.lb_endpoints:
                socket = each.endpoint.address.socket_address
                yield name, f"{socket.address}:{socket.port_value}"

    def ways(self, route: Any) -> dict[str, list[tuple[str, str]]]:
        """Each cluster of Envoy's that a route sends or copies requests to, with all that it may lead to."""
        action = route.route
        assert not action.HasField("internal_redirect_policy")
        names = [each.name for each in action.weighted_clusters.clusters]
        names += [each.cluster for each in action.request_mirror_policies]
        return {name: list(self.reached(name)) for name in names}


def served_by(policy: PolicySet, floor: DataClass, request: Request) -> tuple[TrafficPolicy, str] | None:
    """The policy and the model of the row that a request belongs to, by what the documentation says."""
    said = DataClass(request.said) if request.said in set(DataClass) else DataClass.RESTRICTED
    words = list(DataClass)
    wanted = floor if request.said is None else words[max(words.index(floor), words.index(said))]
    for one in policy.policies.values():
        if one.spec.data_class is not wanted or not f"{request.path}/".startswith(one.spec.match.path):
            continue
        model = ANY_MODEL if request.model is None else request.model
        return (one, model) if model in policy.models_of(one) else None
    return None


def check_given(policy: PolicySet, decision: Decision, group: str) -> None:
    """Ask everything of a group's edges that can be asked, and see where it would go."""
    resources = _COMPILER.compile(policy, decision, group)
    given_one = Given(resources)
    region = policy.groups[group].spec.region
    paths = ["/elsewhere", *(f"{one.spec.match.path}chat" for one in policy.policies.values())]
    for listener, routes in given_one.routes.items():
        floor = policy.listeners[listener].spec.data_class
        for request in itertools.starmap(Request, itertools.product(_SAID, paths, _MODELS)):
            route = next(each for each in routes if request.matches(each.match))
            row = served_by(policy, floor, request)
            if row is None:
                assert route.direct_response.status == 404
            else:
                check_row(policy, decision, RowKey(row[0].name, region, row[1]), route, given_one)
    prove(policy, resources, group)


def check_row(policy: PolicySet, decision: Decision, key: RowKey, route: Any, given_one: Given) -> None:
    row = decision.rows[key]
    if not row.weights:
        reasons = [
            each.header.value for each in route.response_headers_to_add if each.header.key == "x-penstock-reason"
        ]
        assert (route.direct_response.status, reasons) == (503, [row.refusal])
        return
    assert route.route.WhichOneof("cluster_specifier") == "weighted_clusters"
    legs = route.route.weighted_clusters.clusters
    assert sum(each.weight.value for each in legs) == TOTAL_WEIGHT
    ways = given_one.ways(route)
    assert {ways[each.name][0][0]: each.weight.value for each in legs} == row.weights
    check_ways(policy, decision, key, {each for way in ways.values() for each in way})
    down = {name for name in row.weights if decision.health[name].state is HealthState.DOWN}
    for each in legs:
        assert each.weight.value == 0 or ways[each.name][0][0] not in down or down == set(row.weights)


def check_ways(policy: PolicySet, decision: Decision, key: RowKey, ends: set[tuple[str, str]]) -> None:
    one = policy.policies[key.policy]
    for name, address in ends:
        assert decision.draining.get(name, 1.0) > 0, "drained"
        homes = {
            home
            for home, each in policy.clusters.items()
            if address in {endpoint.key for endpoint in each.spec.endpoints}
        }
        assert name in homes
        for home in homes:
            assert may_serve(policy, one, home, key.model)
            assert one.spec.data_class is not DataClass.RESTRICTED or policy.clusters[home].spec.site is Site.ON_PREM


FULL = fleets().filter(lambda policy: bool(policy.clusters)).map(named_anew)
PLAIN = st.booleans().flatmap(lambda numeric: plain_fleets(classes=CLASSES, numeric=numeric)).map(named_anew)


@examples(30)
@given(journeys(FULL, least=2, most=5))
def test_every_request_goes_where_the_decision_says_and_nowhere_else(journey: list[Moment]) -> None:
    for moment in (journey[0], journey[-1]):
        for group in moment.policy.groups:
            check_given(moment.policy, moment.decision, group)


@examples(30)
@given(journeys(PLAIN, least=3, most=8))
def test_so_it_does_through_outages_drains_and_recoveries(journey: list[Moment]) -> None:
    for moment in journey:
        check_given(moment.policy, moment.decision, "edge-eu-west")


@examples(30)
@given(FULL, st.data())
def test_and_when_all_that_was_seen_is_garbage(policy: PolicySet, data: st.DataObject) -> None:
    decision: Decision | None = None
    world = World(policy)
    for _ in range(2):
        world.now += 1
        seen = data.draw(observations(policy, world.now, garbage))
        decision = decide(policy, seen, Overrides(), decision, world.now)
    assert decision is not None
    check_given(policy, decision, min(policy.groups))


@examples(30)
@given(
    PLAIN, st.lists(RATES, min_size=3, max_size=3), st.lists(st.sampled_from(["drain", "die"]), min_size=4, max_size=4)
)
def test_with_nobody_left_on_prem_no_restricted_request_finds_a_way_to_a_cloud(
    policy: PolicySet, rates: list[float], fates: list[str]
) -> None:
    world = World(policy, rates=dict(zip(policy.rows(), rates, strict=True)))
    world.run(3)
    on_prem = [name for name in NAMES if name in policy.clusters and policy.clusters[name].spec.site is Site.ON_PREM]
    for name, fate in zip(on_prem, fates, strict=False):
        if fate == "drain":
            world.drain(name)
        else:
            world.failing.add(name)
            world.erring.add(name)
    for _ in range(2):
        decision = world.tick()
        check_given(policy, decision, "edge-eu-west")
        restricted = decision.rows[RowKey("restricted", "eu-west", MODEL)]
        assert bool(restricted.refusal) is all(fate == "drain" for fate in fates[: len(on_prem)])
