"""A client that comes back is sent what it lacks, and little else."""

import pytest

from penstock_xds import SyncStatus, Variant
from penstock_xds.core.messages import SotwRequest
from penstock_xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from tests.xds.test_xds_ordering import connected, world
from tests.xds.transcript import PHASE_TIMEOUT, cluster, endpoints, listener, route

both = pytest.mark.parametrize("variant", list(Variant))


def test_a_restarted_server_with_equal_content_sends_a_delta_client_nothing() -> None:
    client = connected(Variant.DELTA, *world("a", "b", to="a"))
    client.reconnects()
    client.resubscribes()
    client.receives_nothing()
    assert {v.status for v in client.core.views()} == {SyncStatus.SYNCED}
    client.publishes(*world("a", "b", to="b"))
    client.receives(ROUTE, "r")


def test_a_server_without_state_answers_a_reconnecting_client_only_once_it_has_some() -> None:
    client = connected(Variant.DELTA, *world("a", "b", to="a"))
    client.reconnects(to_another_server=True)
    client.resubscribes()
    client.receives_nothing()
    client.publishes(*world("a", "b", to="a"))
    client.receives_nothing()


def test_a_restarted_server_sends_a_sotw_client_no_clusters_and_listeners_it_has() -> None:
    client = connected(Variant.SOTW, *world("a", "b", to="a"))
    client.reconnects()
    client.resubscribes(CLUSTER, LISTENER)
    client.receives_nothing()
    assert client.view(CLUSTER).status is SyncStatus.SYNCED
    client.publishes(*world("a", "b", to="a", content="new"))
    client.receives(CLUSTER, "a", "b")


def test_a_sotw_version_says_nothing_of_named_resources_so_they_are_sent_again() -> None:
    client = connected(Variant.SOTW, *world("a", to="a"))
    client.reconnects()
    client.resubscribes()
    client.receives(ENDPOINT, "a")
    client.acks(ENDPOINT)
    client.receives(ROUTE, "r")
    client.acks(ROUTE)
    client.receives_nothing()


def test_a_sotw_client_of_another_version_is_sent_everything() -> None:
    client = connected(Variant.SOTW, *world("a", to="a"))
    client.reconnects()
    events = client.core.receive(SotwRequest(CLUSTER, version="of another server", nonce="old"), client.now)
    assert events == []
    assert [r.name for response in client.core.poll(client.now) for r in response.resources] == ["a"]


def test_what_changed_while_away_is_sent_and_what_left_is_removed() -> None:
    client = connected(Variant.DELTA, *world("a", "b", to="a"))
    client.reconnects(to_another_server=True)
    client.publishes(*world("a", to="a", listener_content="new"))
    client.resubscribes(CLUSTER, ENDPOINT, LISTENER)
    client.receives(LISTENER, "l")
    client.acks(LISTENER)
    client.receives_nothing()
    client.resubscribes(ROUTE)
    client.receives(CLUSTER, gone=["b"])


def test_a_cluster_replaced_while_away_is_kept_until_the_routes_moved() -> None:
    client = connected(Variant.DELTA, *world("a", to="a"))
    client.reconnects(to_another_server=True)
    client.publishes(*world("b", to="b"))
    client.resubscribes(CLUSTER)
    client.receives(CLUSTER, "b")
    client.acks(CLUSTER)
    client.receives_nothing()
    client.resubscribes(ENDPOINT, LISTENER, ROUTE)
    client.receives(ROUTE, "r")
    client.receives_nothing()
    client.acks(ROUTE)
    client.receives(CLUSTER, gone=["a"])


def test_a_client_that_asks_for_no_routes_loses_removed_clusters_after_the_phase_timeout() -> None:
    client = connected(Variant.DELTA, *world("a", "b", to="a"))
    client.reconnects(to_another_server=True)
    client.publishes(*world("a", to="a"))
    client.resubscribes(CLUSTER)
    client.receives_nothing()
    client.time_passes(PHASE_TIMEOUT)
    client.receives(CLUSTER, gone=["b"])


def test_endpoints_follow_a_cluster_that_changed_while_away_even_if_the_client_has_them() -> None:
    client = connected(Variant.DELTA, *world("a", to="a"))
    client.reconnects(to_another_server=True)
    client.publishes(*world("a", to="a", content="new"))
    client.resubscribes(CLUSTER)
    client.receives(CLUSTER, "a")
    client.resubscribes(ENDPOINT)
    client.receives(ENDPOINT, "a")


@both
def test_endpoints_asked_for_before_clusters_are_answered_and_sent_again_after_a_changed_cluster(
    variant: Variant,
) -> None:
    client = connected(variant, *world("a", to="a"))
    client.reconnects(to_another_server=True)
    client.publishes(cluster("a", "new"), endpoints("a", "new"), *world(to="a"))
    client.resubscribes(ENDPOINT)
    client.receives(ENDPOINT, "a")
    client.acks(ENDPOINT)
    client.resubscribes(CLUSTER)
    client.receives(CLUSTER, "a")
    client.receives(ENDPOINT, "a")


def test_names_a_delta_client_holds_but_no_longer_asks_for_are_left_alone() -> None:
    client = connected(Variant.DELTA, *world("a", "b", to="a"))
    client.types[ENDPOINT].names.discard("b")
    client.reconnects()
    client.resubscribes()
    client.receives_nothing()
    client.publishes(cluster("a"), cluster("b"), endpoints("a"), *world(to="a"))
    client.receives_nothing()


def test_a_missing_route_is_reported_missing_to_a_delta_client_that_held_it() -> None:
    client = connected(Variant.DELTA, *world("a", to="a"))
    client.reconnects(to_another_server=True)
    client.publishes(cluster("a"), endpoints("a"), *world(to="a")[:1], route("other", "a"))
    client.resubscribes()
    client.receives(ROUTE, gone=["r"])


def test_a_listener_that_left_while_away_goes_before_the_cluster_it_uses() -> None:
    client = connected(Variant.DELTA, cluster("a"), cluster("b"), listener("l", "straight to <b>"), route("r", "a"))
    client.reconnects(to_another_server=True)
    client.publishes(cluster("a"), route("r", "a"))
    client.resubscribes(CLUSTER)
    client.receives_nothing()
    client.resubscribes(ENDPOINT, LISTENER, ROUTE)
    client.receives(LISTENER, gone=["l"])
    client.receives_nothing()
    client.acks(LISTENER)
    client.receives(CLUSTER, gone=["b"])


def test_a_returning_sotw_client_keeps_what_its_routes_may_use_until_it_was_sent_the_new_ones() -> None:
    client = connected(Variant.SOTW, *world("a", "b", to="b"))
    client.reconnects()
    client.resubscribes(CLUSTER)
    client.publishes(*world("a", to="a"))
    client.receives_nothing()
    client.resubscribes(LISTENER, ROUTE)
    client.receives(ROUTE, "r")
    client.receives_nothing()
    client.acks(ROUTE)
    client.receives(CLUSTER, gone=["b"])
