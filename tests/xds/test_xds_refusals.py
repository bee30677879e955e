"""A client that refuses something keeps its last good version and is not sent the same again until it changes."""

import pytest

from penstock_xds import SyncStatus, Variant
from penstock_xds.core.messages import Acked, Nacked
from penstock_xds.types import CLUSTER, ENDPOINT, ROUTE
from tests.xds.transcript import Client, cluster, endpoints, route

pytestmark = pytest.mark.parametrize("variant", list(Variant))


def with_route(variant: Variant) -> Client:
    client = Client(variant)
    client.publishes(route("r"), route("s"))
    client.subscribes(ROUTE, "r", "s")
    client.receives(ROUTE, "r", "s")
    client.acks(ROUTE)
    return client


def test_a_refusal_is_told_with_names_version_and_message(variant: Variant) -> None:
    client = with_route(variant)
    client.publishes(route("r", content="bad"), route("s"))
    response = client.receives(ROUTE, "r")
    client.nacks(ROUTE, "no such thing")
    refused = (route("r", content="bad"),)
    assert client.events[-1] == Nacked(ROUTE, ("r",), response.version, "no such thing", refused)
    view = client.view(ROUTE)
    assert (view.status, view.last_error, view.nacks) == (SyncStatus.NACKED, "no such thing", 1)
    assert view.acked_version != view.sent_version == response.version


def test_a_refused_version_is_not_sent_again_until_its_content_changes(variant: Variant) -> None:
    client = with_route(variant)
    client.publishes(route("r", content="bad"), route("s"))
    client.receives(ROUTE, "r")
    client.nacks(ROUTE)
    client.time_passes(3600)
    client.receives_nothing()
    client.publishes(route("r", content="bad"), route("s", content="new"))
    client.receives(ROUTE, "s")
    client.acks(ROUTE)
    client.receives_nothing()
    assert client.view(ROUTE).status is SyncStatus.NACKED
    client.publishes(route("r", content="good"), route("s", content="new"))
    client.receives(ROUTE, "r")
    client.acks(ROUTE)
    assert client.view(ROUTE).status is SyncStatus.SYNCED
    assert client.view(ROUTE).last_error == ""


def test_rolling_back_to_the_last_good_version_sends_nothing_and_heals(variant: Variant) -> None:
    client = with_route(variant)
    client.publishes(route("r", content="bad"), route("s"))
    client.receives(ROUTE, "r")
    client.nacks(ROUTE)
    client.publishes(route("r"), route("s"))
    client.receives_nothing()
    assert client.view(ROUTE).status is SyncStatus.SYNCED


def test_a_refused_cluster_does_not_hold_up_the_others(variant: Variant) -> None:
    client = Client(variant)
    client.publishes(cluster("a"), cluster("bad"))
    client.subscribes(CLUSTER)
    client.receives(CLUSTER, "a", "bad")
    client.nacks(CLUSTER, "Error adding/updating cluster(s) bad: nonsense")
    assert client.events[-1] == Nacked(
        CLUSTER,
        ("bad",),
        client.view(CLUSTER).sent_version,
        client.view(CLUSTER).last_error,
        resources=(cluster("bad"),),
        accepted=(cluster("a"),),
    )
    client.publishes(cluster("a", "new"), cluster("bad"))
    response = client.receives(CLUSTER, "a")
    assert [r.name for r in response.resources] == ["a"]


def test_the_last_good_version_of_a_refused_cluster_is_what_full_state_goes_on_showing(variant: Variant) -> None:
    client = Client(variant)
    client.publishes(cluster("a"), cluster("b"))
    client.subscribes(CLUSTER)
    client.receives(CLUSTER, "a", "b")
    client.acks(CLUSTER)
    client.publishes(cluster("a"), cluster("b", "bad"))
    client.receives(CLUSTER, "b")
    client.nacks(CLUSTER, "b is bad")
    client.publishes(cluster("a", "new"), cluster("b", "bad"))
    client.receives(CLUSTER, "a")
    client.acks(CLUSTER)
    assert client.has(CLUSTER) == {"a": cluster("a", "new"), "b": cluster("b")}


def test_a_name_asked_for_on_a_nack_is_answered(variant: Variant) -> None:
    client = Client(variant)
    client.publishes(endpoints("a", "bad"), endpoints("b"))
    client.subscribes(ENDPOINT, "a")
    client.receives(ENDPOINT, "a")
    client.nacks(ENDPOINT, subscribing=["b"])
    client.receives(ENDPOINT, "b")


def test_asking_again_for_a_refused_name_sends_it_again(variant: Variant) -> None:
    client = Client(variant)
    client.publishes(endpoints("a", "bad"))
    client.subscribes(ENDPOINT, "a")
    client.receives(ENDPOINT, "a")
    client.nacks(ENDPOINT)
    client.unsubscribes(ENDPOINT, "a")
    client.subscribes(ENDPOINT, "a")
    client.receives(ENDPOINT, "a")


def test_a_changed_cluster_brings_the_last_good_endpoints_when_the_newest_were_refused(variant: Variant) -> None:
    client = Client(variant)
    client.publishes(cluster("a"), endpoints("a"))
    client.subscribes(CLUSTER)
    client.receives(CLUSTER, "a")
    client.acks(CLUSTER)
    client.subscribes(ENDPOINT, "a")
    client.receives(ENDPOINT, "a")
    client.acks(ENDPOINT)
    client.publishes(cluster("a"), endpoints("a", "bad"))
    client.receives(ENDPOINT, "a")
    client.nacks(ENDPOINT)
    client.publishes(cluster("a", "new"), endpoints("a", "bad"))
    client.receives(CLUSTER, "a")
    assert client.receives(ENDPOINT, "a").resources == (endpoints("a"),)


def test_an_ack_tells_how_long_the_content_took_from_its_publishing(variant: Variant) -> None:
    client = with_route(variant)
    client.publishes(route("r", content="1"), route("s"))
    client.receives(ROUTE, "r")
    client.time_passes(1.0)
    client.publishes(route("r", content="2"), route("s"))
    client.time_passes(2.0)
    client.acks(ROUTE)
    assert isinstance(client.events[-1], Acked)
    assert client.events[-1].seconds == 3.0
    client.receives(ROUTE, "r")
    client.time_passes(0.5)
    client.acks(ROUTE)
    assert isinstance(client.events[-1], Acked)
    assert client.events[-1].seconds == 2.5


def test_the_same_nack_twice_is_told_once(variant: Variant) -> None:
    client = with_route(variant)
    client.publishes(route("r", content="bad"), route("s"))
    response = client.receives(ROUTE, "r")
    client.nacks(ROUTE)
    client.unanswered[ROUTE] = response
    client.nacks(ROUTE)
    assert client.view(ROUTE).nacks == 1
    assert len([e for e in client.events if isinstance(e, Nacked)]) == 1


def test_a_removal_in_a_refused_response_comes_again_with_the_next_change_and_not_before(variant: Variant) -> None:
    client = Client(variant)
    client.publishes(cluster("a"), cluster("b"))
    client.subscribes(CLUSTER)
    client.receives(CLUSTER, "a", "b")
    client.acks(CLUSTER)
    client.publishes(cluster("a"))
    client.receives(CLUSTER, gone=["b"])
    client.nacks(CLUSTER)
    client.time_passes(3600)
    client.receives_nothing()
    client.publishes(cluster("a", "new"))
    client.receives(CLUSTER, "a")
    client.acks(CLUSTER)
    client.receives(CLUSTER, gone=["b"])
