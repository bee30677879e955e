"""What people are shown of a stream: each resource, and what was spared."""

import pytest

from penstock_xds import SyncStatus, Variant
from penstock_xds.core.messages import ResourceView
from penstock_xds.types import CLUSTER, ENDPOINT, ROUTE
from tests.xds.transcript import Client, cluster, endpoints, route

both = pytest.mark.parametrize("variant", list(Variant))


def shown(client: Client, type_url: str) -> dict[str, ResourceView]:
    return {view.name: view for view in client.core.resource_views(type_url)}


@both
def test_a_resource_is_stale_until_confirmed_and_then_in_sync(variant: Variant) -> None:
    client = Client(variant)
    client.publishes(route("r"))
    assert client.core.resource_views(ROUTE) == ()
    client.subscribes(ROUTE, "r", "ghost")
    client.takes_next()
    assert (shown(client, ROUTE)["r"].status, shown(client, ROUTE)["r"].version) == (SyncStatus.STALE, "")
    client.time_passes(1.0)
    client.acks(ROUTE)
    assert shown(client, ROUTE)["r"] == ResourceView(
        "r", SyncStatus.SYNCED, route("r").version, route("r").body, "", None, "", 1001.0
    )
    assert shown(client, ROUTE)["ghost"].status is SyncStatus.NOT_SENT


@both
def test_a_refused_resource_shows_what_is_held_what_was_refused_and_why(variant: Variant) -> None:
    client = Client(variant)
    client.publishes(route("r"), route("s"))
    client.subscribes(ROUTE, "r", "s")
    client.receives(ROUTE, "r", "s")
    client.acks(ROUTE)
    bad = route("r", content="bad")
    client.publishes(bad, route("s"))
    client.receives(ROUTE, "r")
    client.time_passes(5.0)
    client.nacks(ROUTE, "no r like that")
    assert shown(client, ROUTE)["r"] == ResourceView(
        "r", SyncStatus.NACKED, route("r").version, route("r").body, bad.version, bad.body, "no r like that", 1005.0
    )
    assert (shown(client, ROUTE)["s"].status, shown(client, ROUTE)["s"].updated_at) == (SyncStatus.SYNCED, 1000.0)


def test_of_what_a_client_brought_along_the_version_is_known_until_the_snapshot_tells_more() -> None:
    client = Client(Variant.DELTA)
    client.publishes(route("r"))
    client.subscribes(ROUTE, "r")
    client.receives(ROUTE, "r")
    client.acks(ROUTE)
    client.reconnects(to_another_server=True)
    client.resubscribes()
    assert (shown(client, ROUTE)["r"].version, shown(client, ROUTE)["r"].body) == (route("r").version, None)
    client.publishes(route("r"))
    assert shown(client, ROUTE)["r"].body == route("r").body


@both
def test_a_wildcard_shows_all_there_is_and_what_waits(variant: Variant) -> None:
    client = Client(variant)
    client.publishes(cluster("a"))
    client.subscribes(CLUSTER)
    client.receives(CLUSTER, "a")
    client.publishes(cluster("a"), cluster("b"))
    assert {n: v.status for n, v in shown(client, CLUSTER).items()} == {
        "a": SyncStatus.STALE,
        "b": SyncStatus.STALE,
    }


def test_resends_a_delta_client_was_spared_are_counted_once_each() -> None:
    client = Client(Variant.DELTA)
    client.publishes(endpoints("a"), endpoints("b"))
    client.subscribes(ENDPOINT, "a", "b")
    client.receives(ENDPOINT, "a", "b")
    client.acks(ENDPOINT)
    assert client.core.take_suppressed() == {}
    client.reconnects()
    client.resubscribes()
    assert client.core.take_suppressed() == {ENDPOINT: 2}
    assert client.core.take_suppressed() == {}
    assert client.view(ENDPOINT).suppressed == 2


def test_resends_a_sotw_client_was_spared_are_counted() -> None:
    client = Client(Variant.SOTW)
    client.publishes(cluster("a"), cluster("b"))
    client.subscribes(CLUSTER)
    client.receives(CLUSTER, "a", "b")
    client.acks(CLUSTER)
    client.reconnects()
    client.resubscribes()
    assert client.core.take_suppressed() == {CLUSTER: 2}


@both
def test_a_stream_is_settled_once_the_client_confirmed_all_it_should_have(variant: Variant) -> None:
    client = Client(variant)
    client.publishes(route("r"))
    client.subscribes(ROUTE, "r")
    assert not client.core.settled
    client.receives(ROUTE, "r")
    client.acks(ROUTE)
    assert client.core.settled
