"""A version that is tolerated: who holds it keeps it, everybody else is served another."""

import pytest

from penstock_xds import Resource, Snapshot, SyncStatus, Variant
from penstock_xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET
from tests.xds.transcript import Client, cluster, endpoints, route

both = pytest.mark.parametrize("variant", list(Variant))
types = pytest.mark.parametrize("type_url", [CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, "example.com/thing"])

OTHER = "other"


def resource(type_url: str, content: str) -> Resource:
    return Resource(type_url, "x", f"\x00{content}".encode())


def holding_new(variant: Variant, type_url: str) -> Client:
    client = Client(variant)
    client.publishes(resource(type_url, "old"), Resource(type_url, OTHER, b"\x00"))
    client.subscribes(type_url, "x", OTHER)
    client.receives(type_url, "x", OTHER)
    client.acks(type_url)
    client.publishes(resource(type_url, "new"), Resource(type_url, OTHER, b"\x00"))
    client.receives(type_url, "x")
    client.acks(type_url)
    return client


def tolerating(type_url: str) -> dict[tuple[str, str], str]:
    return {(type_url, "x"): resource(type_url, "new").version}


@both
@types
def test_a_client_that_holds_the_tolerated_version_is_sent_nothing_and_keeps_it(
    variant: Variant, type_url: str
) -> None:
    client = holding_new(variant, type_url)
    client.publishes(resource(type_url, "old"), Resource(type_url, OTHER, b"\x00"), tolerated=tolerating(type_url))
    client.receives_nothing()
    assert client.view(type_url).status is SyncStatus.SYNCED
    client.publishes(
        resource(type_url, "old"), Resource(type_url, OTHER, b"\x00changed"), tolerated=tolerating(type_url)
    )
    client.receives(type_url, OTHER)
    client.acks(type_url)
    assert client.has(type_url)["x"] == resource(type_url, "new")


@both
@types
def test_everybody_else_is_served_what_the_snapshot_says(variant: Variant, type_url: str) -> None:
    client = Client(variant)
    client.publishes(resource(type_url, "old"), tolerated=tolerating(type_url))
    client.subscribes(type_url, "x")
    assert client.receives(type_url, "x").resources == (resource(type_url, "old"),)


@both
@types
def test_when_it_is_tolerated_no_longer_the_client_is_moved_to_what_is_served(variant: Variant, type_url: str) -> None:
    client = holding_new(variant, type_url)
    others = Resource(type_url, OTHER, b"\x00")
    client.publishes(resource(type_url, "old"), others, tolerated=tolerating(type_url))
    client.receives_nothing()
    client.publishes(resource(type_url, "old"), others)
    client.receives(type_url, "x")
    client.acks(type_url)
    assert client.has(type_url)["x"] == resource(type_url, "old")


@both
def test_a_newer_version_moves_everybody_on(variant: Variant) -> None:
    client = holding_new(variant, ROUTE)
    client.publishes(resource(ROUTE, "old"), Resource(ROUTE, OTHER, b"\x00"), tolerated=tolerating(ROUTE))
    client.publishes(resource(ROUTE, "newest"), Resource(ROUTE, OTHER, b"\x00"))
    client.receives(ROUTE, "x")


@both
def test_a_client_that_refuses_what_came_to_be_tolerated_meanwhile_is_moved_to_what_is_served(
    variant: Variant,
) -> None:
    client = Client(variant)
    client.publishes(route("r", content="new"))
    client.subscribes(ROUTE, "r")
    client.receives(ROUTE, "r")
    client.publishes(route("r", content="old"), tolerated={(ROUTE, "r"): route("r", content="new").version})
    client.receives_nothing()
    client.nacks(ROUTE)
    assert client.receives(ROUTE, "r").resources == (route("r", content="old"),)


@both
def test_a_refusal_that_comes_after_another_response_overtook_still_leads_to_what_is_served(variant: Variant) -> None:
    client = Client(variant)
    client.publishes(cluster("c", "bad"), cluster("d"))
    client.subscribes(CLUSTER)
    first = client.receives(CLUSTER, "c", "d")
    client.publishes(cluster("c", "good"), cluster("d", "new"), tolerated={(CLUSTER, "c"): cluster("c", "bad").version})
    client.time_passes(1.0)
    second = client.receives(CLUSTER, "d")
    client.unanswered[CLUSTER] = first
    client.nacks(CLUSTER, "c is bad")
    client.unanswered[CLUSTER] = second
    client.acks(CLUSTER)
    assert cluster("c", "good") in client.takes_next().resources


@both
def test_what_is_kept_is_what_is_sent_when_the_client_waits_for_it_again(variant: Variant) -> None:
    client = Client(variant)
    client.publishes(cluster("a"), endpoints("a", "new"))
    client.subscribes(CLUSTER)
    client.receives(CLUSTER, "a")
    client.acks(CLUSTER)
    client.subscribes(ENDPOINT, "a")
    client.receives(ENDPOINT, "a")
    client.acks(ENDPOINT)
    kept = {(ENDPOINT, "a"): endpoints("a", "new").version}
    client.publishes(cluster("a", "changed"), endpoints("a", "old"), tolerated=kept)
    client.receives(CLUSTER, "a")
    assert client.receives(ENDPOINT, "a").resources == (endpoints("a", "new"),)


def test_a_delta_client_that_comes_back_with_it_keeps_it() -> None:
    client = holding_new(Variant.DELTA, ROUTE)
    client.reconnects(to_another_server=True)
    client.publishes(resource(ROUTE, "old"), Resource(ROUTE, OTHER, b"\x00"), tolerated=tolerating(ROUTE))
    client.resubscribes()
    client.receives_nothing()


@both
@types
def test_a_tolerated_name_that_is_not_served_at_all_is_kept_by_who_holds_it(variant: Variant, type_url: str) -> None:
    client = holding_new(variant, type_url)
    client.publishes(Resource(type_url, OTHER, b"\x00"), tolerated=tolerating(type_url))
    client.time_passes(3600)
    client.receives_nothing()
    client.publishes(Resource(type_url, OTHER, b"\x00changed"), tolerated=tolerating(type_url))
    client.receives(type_url, OTHER)
    client.acks(type_url)
    assert client.has(type_url)["x"] == resource(type_url, "new")


def test_what_is_tolerated_is_part_of_what_a_snapshot_is() -> None:
    plain = Snapshot.of([route("r")])
    tolerant = Snapshot.of([route("r")], tolerated={(ROUTE, "r"): "v"})
    again = Snapshot.of([route("r")], tolerated={(ROUTE, "r"): "v"})
    assert plain != tolerant == again
    assert hash(tolerant) == hash(again)
    assert tolerant.changes_since(plain) == {ROUTE: {"r"}}
