"""What a client asks for, it gets: the subscription rules of the protocol, over both variants."""

import pytest

from penstock_xds import Resource, SyncStatus, Variant
from penstock_xds.core.messages import DeltaRequest, SotwRequest
from penstock_xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, RUNTIME, SECRET
from tests.xds.transcript import Client, cluster, endpoints, listener, route

pytestmark = pytest.mark.parametrize("variant", list(Variant))


def test_legacy_wildcard_means_everything_for_clusters(variant: Variant) -> None:
    client = Client(variant)
    client.publishes(cluster("a"), cluster("b"))
    client.subscribes(CLUSTER)
    client.receives(CLUSTER, "a", "b")
    client.acks(CLUSTER)
    client.receives_nothing()
    assert client.view(CLUSTER).status is SyncStatus.SYNCED


@pytest.mark.parametrize("type_url", [ENDPOINT, ROUTE, SECRET, RUNTIME])
def test_a_request_without_names_means_nothing_for_other_types(variant: Variant, type_url: str) -> None:
    client = Client(variant)
    client.publishes(Resource(type_url, "a", b"\x00a"))
    client.core.receive(SotwRequest(type_url) if variant is Variant.SOTW else DeltaRequest(type_url), client.now)
    assert client.core.poll(client.now) == []


def test_a_star_means_everything_and_a_name_beside_it_only_that_when_the_star_goes(variant: Variant) -> None:
    client = Client(variant)
    client.publishes(cluster("a"), cluster("b"))
    client.subscribes(CLUSTER, "*", "a")
    client.receives(CLUSTER, "a", "b")
    client.acks(CLUSTER)
    client.unsubscribes(CLUSTER, "*")
    client.receives_nothing()
    client.publishes(cluster("a", "new"), cluster("b", "new"))
    client.receives(CLUSTER, "a", gone=["b"] if variant is Variant.SOTW else [])


def test_an_empty_list_after_any_name_means_nothing(variant: Variant) -> None:
    client = Client(variant)
    client.publishes(cluster("a"))
    client.subscribes(CLUSTER, "a")
    client.receives(CLUSTER, "a")
    client.acks(CLUSTER)
    client.unsubscribes(CLUSTER, "a")
    client.publishes(cluster("a", "new"), cluster("b"))
    client.receives_nothing()


def test_only_subscribed_names_are_sent(variant: Variant) -> None:
    client = Client(variant)
    client.publishes(endpoints("a"), endpoints("b"))
    client.subscribes(ENDPOINT, "a")
    client.receives(ENDPOINT, "a")
    client.acks(ENDPOINT)
    client.publishes(endpoints("a"), endpoints("b", "new"))
    client.receives_nothing()
    client.publishes(endpoints("a", "new"), endpoints("b", "new"))
    client.receives(ENDPOINT, "a")


def test_only_what_changed_is_sent(variant: Variant) -> None:
    client = Client(variant)
    client.publishes(route("r"), route("s"))
    client.subscribes(ROUTE, "r", "s")
    client.receives(ROUTE, "r", "s")
    client.acks(ROUTE)
    client.publishes(route("r"), route("s", content="new"))
    client.receives(ROUTE, "s")


def test_a_name_that_does_not_exist_is_remembered_and_sent_when_it_appears(variant: Variant) -> None:
    client = Client(variant)
    client.publishes(route("a"))
    client.subscribes(ROUTE, "ghost")
    if variant is Variant.DELTA:
        client.receives(ROUTE, gone=["ghost"])
        client.acks(ROUTE)
    client.receives_nothing()
    client.publishes(route("a"), route("ghost"))
    client.receives(ROUTE, "ghost")


def test_a_wildcard_over_nothing_is_answered_with_nothing(variant: Variant) -> None:
    client = Client(variant)
    client.publishes(cluster("a"))
    client.subscribes(LISTENER)
    client.receives(LISTENER)
    client.acks(LISTENER)
    client.receives_nothing()


def test_nothing_is_answered_before_the_first_snapshot(variant: Variant) -> None:
    client = Client(variant)
    client.subscribes(CLUSTER)
    client.subscribes(ENDPOINT, "a")
    client.receives_nothing()
    client.publishes(cluster("a"), endpoints("a"))
    client.receives(CLUSTER, "a")
    client.receives(ENDPOINT, "a")


def test_unsubscribing_and_subscribing_again_sends_again(variant: Variant) -> None:
    client = Client(variant)
    client.publishes(endpoints("a"), endpoints("b"))
    client.subscribes(ENDPOINT, "a", "b")
    client.receives(ENDPOINT, "a", "b")
    client.acks(ENDPOINT)
    client.unsubscribes(ENDPOINT, "a")
    client.receives_nothing()
    client.subscribes(ENDPOINT, "a")
    client.receives(ENDPOINT, "a")


def test_a_new_name_riding_on_an_ack_is_answered(variant: Variant) -> None:
    client = Client(variant)
    client.publishes(endpoints("a"), endpoints("b"))
    client.subscribes(ENDPOINT, "a")
    client.receives(ENDPOINT, "a")
    client.acks(ENDPOINT, subscribing=["b"])
    client.receives(ENDPOINT, "b")


def test_a_new_name_riding_on_a_stale_nonce_is_answered_once_the_answer_under_way_is_acked(variant: Variant) -> None:
    client = Client(variant)
    client.publishes(endpoints("a"), endpoints("b"))
    client.subscribes(ENDPOINT, "a")
    client.receives(ENDPOINT, "a")
    client.says_with_nonce(ENDPOINT, "of long ago", subscribing=["b"])
    client.receives_nothing()
    assert client.events == []
    client.acks(ENDPOINT)
    client.receives(ENDPOINT, "b")


def test_a_nonce_from_an_earlier_stream_in_the_first_request_is_accepted(variant: Variant) -> None:
    client = Client(variant)
    client.publishes(endpoints("a"))
    client.says_with_nonce(ENDPOINT, "of an earlier stream", subscribing=["a"])
    client.receives(ENDPOINT, "a")


def test_one_response_of_a_type_is_under_way_and_what_comes_meanwhile_coalesces(variant: Variant) -> None:
    client = Client(variant)
    client.publishes(route("r"))
    client.subscribes(ROUTE, "r")
    client.receives(ROUTE, "r")
    for content in ("1", "2", "3"):
        client.publishes(route("r", content=content))
        client.receives_nothing()
    client.acks(ROUTE)
    client.receives(ROUTE, "r")
    client.acks(ROUTE)
    client.receives_nothing()
    assert client.has(ROUTE)["r"] == route("r", content="3")


def test_publishing_what_is_held_already_sends_nothing(variant: Variant) -> None:
    client = Client(variant)
    client.publishes(cluster("a"))
    client.subscribes(CLUSTER)
    client.receives(CLUSTER, "a")
    client.publishes(cluster("a", "briefly"))
    client.publishes(cluster("a"))
    client.acks(CLUSTER)
    client.receives_nothing()


def test_a_removed_listener_is_removed_from_the_client(variant: Variant) -> None:
    client = Client(variant)
    client.publishes(listener("l"), listener("m"))
    client.subscribes(LISTENER)
    client.receives(LISTENER, "l", "m")
    client.acks(LISTENER)
    client.publishes(listener("l"))
    client.receives(LISTENER, gone=["m"])
    client.acks(LISTENER)
    assert list(client.has(LISTENER)) == ["l"]


def test_types_unknown_to_the_library_are_served_by_name(variant: Variant) -> None:
    client = Client(variant)
    client.publishes(Resource("example.com/thing", "a", b"\x00a"))
    client.subscribes("example.com/thing", "a")
    client.receives("example.com/thing", "a")
