"""Subscription rules that only Delta can express."""

from penstock_xds import Variant
from penstock_xds.core.messages import DeltaRequest
from penstock_xds.types import CLUSTER, ENDPOINT
from tests.xds.transcript import Client, cluster, endpoints


def test_unsubscribing_a_name_under_a_wildcard_is_answered_with_it() -> None:
    client = Client(Variant.DELTA)
    client.publishes(cluster("a"))
    client.subscribes(CLUSTER, "*", "a", "ghost")
    client.receives(CLUSTER, "a", gone=["ghost"])
    client.acks(CLUSTER)
    client.unsubscribes(CLUSTER, "a", "ghost")
    client.receives(CLUSTER, "a", gone=["ghost"])


def test_a_phantom_unsubscribe_is_ignored() -> None:
    client = Client(Variant.DELTA)
    client.publishes(endpoints("a"))
    client.subscribes(ENDPOINT, "a")
    client.receives(ENDPOINT, "a")
    client.acks(ENDPOINT)
    client.unsubscribes(ENDPOINT, "never asked for")
    client.receives_nothing()


def test_subscribing_again_without_unsubscribing_sends_again() -> None:
    client = Client(Variant.DELTA)
    client.publishes(endpoints("a"))
    client.subscribes(ENDPOINT, "a")
    client.receives(ENDPOINT, "a")
    client.acks(ENDPOINT)
    client.subscribes(ENDPOINT, "a")
    client.receives(ENDPOINT, "a")


def test_subscribing_to_and_from_the_star_at_once_means_nothing() -> None:
    client = Client(Variant.DELTA)
    client.publishes(cluster("a"))
    client.core.receive(DeltaRequest(CLUSTER, subscribe=("*",), unsubscribe=("*",)), client.now)
    assert client.core.poll(client.now) == []


def test_a_later_name_keeps_the_legacy_wildcard() -> None:
    client = Client(Variant.DELTA)
    client.publishes(cluster("a"), cluster("b"))
    client.subscribes(CLUSTER)
    client.receives(CLUSTER, "a", "b")
    client.acks(CLUSTER, subscribing=["a"])
    client.receives(CLUSTER, "a")
    client.acks(CLUSTER)
    client.publishes(cluster("a"), cluster("b", "new"))
    client.receives(CLUSTER, "b")
