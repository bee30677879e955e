"""Corners of the protocol that servers are known to get wrong."""

import pytest

from penstock_xds import Resource, Variant
from penstock_xds.core.messages import DeltaRequest, Nacked, Response, SotwRequest
from penstock_xds.protos import DeltaDiscoveryResponse, DiscoveryResponse
from penstock_xds.types import (
    CLUSTER,
    ENDPOINT,
    EXTENSION_CONFIG,
    LISTENER,
    ROUTE,
    RUNTIME,
    SCOPED_ROUTE,
    SECRET,
    VIRTUAL_HOST,
)
from penstock_xds.wire import ResponseEncoder, decode
from tests.xds.test_xds_ordering import connected, world
from tests.xds.transcript import Client, cluster, endpoints, route

both = pytest.mark.parametrize("variant", list(Variant))
every_type = pytest.mark.parametrize(
    "type_url",
    [
        CLUSTER,
        ENDPOINT,
        LISTENER,
        ROUTE,
        SCOPED_ROUTE,
        VIRTUAL_HOST,
        SECRET,
        RUNTIME,
        EXTENSION_CONFIG,
        "example.com/thing",
    ],
)
alone_or_not = pytest.mark.parametrize("aggregated", [True, False], ids=["aggregated", "per-type"])


def one(type_url: str, content: str = "") -> Resource:
    return Resource(type_url, "x", f"\x00{content}".encode())


@both
@alone_or_not
@every_type
def test_the_life_of_a_named_resource(variant: Variant, type_url: str, *, aggregated: bool) -> None:
    client = Client(variant, aggregated=aggregated)
    other = Resource(type_url, "other", b"\x00")
    client.publishes(one(type_url), other)
    client.subscribes(type_url, "x")
    client.receives(type_url, "x")
    client.acks(type_url)
    client.receives_nothing()

    client.publishes(one(type_url, "new"), other)
    client.receives(type_url, "x")
    client.acks(type_url)

    client.publishes(one(type_url, "bad"), other)
    client.receives(type_url, "x")
    client.nacks(type_url, "x: no")
    client.receives_nothing()
    assert client.has(type_url)["x"] == one(type_url, "new")

    client.publishes(one(type_url, "mended"), other)
    client.receives(type_url, "x")
    client.acks(type_url)
    client.unsubscribes(type_url, "x")
    client.receives_nothing()
    client.subscribes(type_url, "x")
    client.receives(type_url, "x")
    client.acks(type_url)
    assert client.view(type_url).nacks == 1


def sotw(client: Client, *names: str, version: str = "", nonce: str = "") -> list[str] | None:
    client.core.receive(SotwRequest(CLUSTER, version, nonce, names), client.now)
    responses = client.core.poll(client.now)
    return [r.name for r in responses[0].resources] if responses else None


def test_the_sequence_of_wildcard_and_names_the_specification_gives() -> None:
    client = Client(Variant.SOTW)
    client.publishes(cluster("A"), cluster("B"))
    assert sotw(client) == ["A", "B"]
    assert sotw(client, "*", "A", version="v", nonce="1-1") == ["A", "B"]
    assert sotw(client, "A", version="v", nonce="1-2") is None
    client.publishes(cluster("A", "new"), cluster("B", "new"))
    assert [r.name for r in client.inbox.pop().resources] == ["A"]
    assert sotw(client, version="v", nonce="1-3") is None
    client.publishes(cluster("A"), cluster("B"))
    assert client.inbox == []


@both
@every_type
def test_a_newer_request_makes_the_older_one_need_no_answer(variant: Variant, type_url: str) -> None:
    client = Client(variant)
    client.subscribes(type_url, "x")
    client.subscribes(type_url, "y")
    client.publishes(one(type_url), Resource(type_url, "y", b"\x00"))
    client.receives(type_url, "x", "y")
    client.receives_nothing()


@both
def test_types_on_one_stream_have_nonces_and_acks_of_their_own(variant: Variant) -> None:
    client = Client(variant)
    client.publishes(cluster("a"), endpoints("a"))
    client.subscribes(CLUSTER)
    of_clusters = client.receives(CLUSTER, "a")
    client.subscribes(ENDPOINT, "a")
    of_endpoints = client.receives(ENDPOINT, "a")
    assert of_clusters.nonce != of_endpoints.nonce
    client.says_with_nonce(ENDPOINT, of_clusters.nonce)
    assert client.events == []
    client.acks(ENDPOINT)
    assert client.view(CLUSTER).acked_version == ""


@both
def test_a_nack_that_reports_the_present_version_is_a_nack_all_the_same(variant: Variant) -> None:
    client = Client(variant)
    client.publishes(route("r", content="bad"))
    client.subscribes(ROUTE, "r")
    response = client.receives(ROUTE, "r")
    client.types[ROUTE].version = response.version
    client.nacks(ROUTE)
    assert isinstance(client.events[-1], Nacked)


@both
def test_rolling_back_after_a_refusal_works_though_the_version_was_seen_before(variant: Variant) -> None:
    client = Client(variant)
    client.publishes(route("r", content="A"))
    client.subscribes(ROUTE, "r")
    client.receives(ROUTE, "r")
    client.acks(ROUTE)
    client.publishes(route("r", content="B"))
    client.receives(ROUTE, "r")
    client.acks(ROUTE)
    client.publishes(route("r", content="A"))
    client.receives(ROUTE, "r")
    client.acks(ROUTE)
    assert client.has(ROUTE)["r"] == route("r", content="A")


@both
def test_what_is_asked_for_is_answered_though_other_things_the_snapshot_has_are_not_asked_for(
    variant: Variant,
) -> None:
    client = Client(variant)
    client.publishes(endpoints("a"), endpoints("b"), endpoints("c"))
    client.subscribes(ENDPOINT, "b")
    client.receives(ENDPOINT, "b")


@both
def test_a_type_nobody_asked_for_is_not_sent(variant: Variant) -> None:
    client = Client(variant)
    client.publishes(*world("a", to="a"))
    client.subscribes(CLUSTER)
    client.receives(CLUSTER, "a")
    client.acks(CLUSTER)
    client.receives_nothing()


@both
def test_a_resource_on_demand_is_no_part_of_the_wildcard_and_served_by_its_name(variant: Variant) -> None:
    client = Client(variant)
    shy = Resource(CLUSTER, "shy", b"\x00", on_demand=True)
    client.publishes(cluster("a"), shy)
    client.subscribes(CLUSTER, "*")
    client.receives(CLUSTER, "a")
    client.acks(CLUSTER)
    client.subscribes(CLUSTER, "shy")
    client.receives(CLUSTER, "shy")
    client.acks(CLUSTER)
    client.publishes(cluster("a"), Resource(CLUSTER, "shy", b"\x00new", on_demand=True))
    client.receives(CLUSTER, "shy")
    client.acks(CLUSTER)
    client.unsubscribes(CLUSTER, "shy")
    client.receives(CLUSTER, gone=["shy"])


@both
def test_a_resource_that_becomes_on_demand_leaves_the_wildcard(variant: Variant) -> None:
    client = Client(variant)
    client.publishes(cluster("a"), cluster("b"))
    client.subscribes(CLUSTER)
    client.receives(CLUSTER, "a", "b")
    client.acks(CLUSTER)
    client.publishes(cluster("a"), Resource(CLUSTER, "b", cluster("b").body, on_demand=True))
    client.receives(CLUSTER, gone=["b"])


@both
def test_xdstp_names_are_names_like_any_other(variant: Variant) -> None:
    name = "xdstp://authority/envoy.config.route.v3.RouteConfiguration/r?a=1&b=2"
    client = Client(variant)
    client.publishes(Resource(ROUTE, name, b"\x00"))
    client.subscribes(ROUTE, name)
    client.receives(ROUTE, name)


@both
@pytest.mark.parametrize("parent_type", [CLUSTER, LISTENER])
def test_secrets_follow_what_names_them_as_it_waits_for_them(variant: Variant, parent_type: str) -> None:
    def parent(content: str) -> Resource:
        return Resource(parent_type, "p", f"\x00uses <tls> {content}".encode())

    secrets = (Resource(SECRET, "tls", b"\x00"), Resource(SECRET, "unrelated", b"\x00"))
    client = Client(variant)
    client.publishes(parent("one"), *secrets)
    client.subscribes(parent_type)
    client.receives(parent_type, "p")
    client.acks(parent_type)
    client.subscribes(SECRET, "tls", "unrelated")
    client.receives(SECRET, "tls", "unrelated")
    client.acks(SECRET)
    client.publishes(parent("two"), *secrets)
    client.receives(parent_type, "p")
    client.receives(SECRET, "tls")


def test_secrets_of_a_cluster_that_changed_while_away_are_sent_though_the_client_has_them() -> None:
    client = Client(Variant.DELTA)
    secret = Resource(SECRET, "tls", b"\x00")
    client.publishes(cluster("a", "<tls>"), secret)
    client.subscribes(CLUSTER)
    client.receives(CLUSTER, "a")
    client.acks(CLUSTER)
    client.subscribes(SECRET, "tls")
    client.receives(SECRET, "tls")
    client.acks(SECRET)
    client.reconnects(to_another_server=True)
    client.publishes(cluster("a", "<tls> changed"), secret)
    client.resubscribes(CLUSTER)
    client.receives(CLUSTER, "a")
    client.resubscribes(SECRET)
    client.receives(SECRET, "tls")


@both
def test_a_listener_waits_for_no_route_the_client_has(variant: Variant) -> None:
    client = connected(variant, *world("a", to="a"))
    client.publishes(*world("a", to="a", listener_content="new"))
    client.receives(LISTENER, "l")
    client.acks(LISTENER)
    client.receives_nothing()


def test_a_delta_resource_has_name_and_version_and_its_own_type_inside() -> None:
    response = Response(ROUTE, "v", "1", (route("r"),), removed=("s",))
    message = DeltaDiscoveryResponse.FromString(ResponseEncoder("me").encode(Variant.DELTA, response)[0])
    (entry,) = message.resources
    assert (entry.name, entry.version, entry.resource.type_url) == ("r", route("r").version, message.type_url)
    assert (list(message.removed_resources), message.nonce, message.control_plane.identifier) == (["s"], "1", "me")


def test_a_sotw_resource_has_the_type_of_its_response() -> None:
    response = Response(ROUTE, "v", "1", (route("r"),))
    message = DiscoveryResponse.FromString(ResponseEncoder("me").encode(Variant.SOTW, response)[0])
    assert ([r.type_url for r in message.resources], message.version_info) == ([message.type_url], "v")
    assert (message.nonce, message.control_plane.identifier) == ("1", "me")


def test_equal_responses_share_their_bytes_but_for_the_nonce() -> None:
    encoder = ResponseEncoder("me")
    shared = (route("r"),)
    first, first_seconds = encoder.encode(Variant.DELTA, Response(ROUTE, "v", "1", shared))
    second, second_seconds = encoder.encode(Variant.DELTA, Response(ROUTE, "v", "2", tuple(shared)))
    assert first_seconds is not None
    assert second_seconds is None
    assert first[:-1] == second[:-1]
    other, _ = encoder.encode(Variant.DELTA, Response(ROUTE, "v", "1", (route("r", content="other"),)))
    assert other != first


def test_a_virtual_host_bears_the_alias_it_was_asked_for_by() -> None:
    response = Response(VIRTUAL_HOST, "v", "1", (Resource(VIRTUAL_HOST, "routes/host", b""),))
    message = DeltaDiscoveryResponse.FromString(ResponseEncoder("me").encode(Variant.DELTA, response)[0])
    assert list(message.resources[0].aliases) == ["routes/host"]


def test_an_endless_refusal_is_cut() -> None:
    request = DeltaRequest(ROUTE, nonce="1", error="x" * 100_000)
    from penstock_xds.protos import DeltaDiscoveryRequest  # noqa: PLC0415  # only this test writes a request

    message = DeltaDiscoveryRequest(type_url=request.type_url, response_nonce=request.nonce)
    message.error_detail.message = request.error or ""
    decoded = decode(Variant.DELTA, message.SerializeToString())
    assert decoded.error is not None
    assert len(decoded.error) == 4096
