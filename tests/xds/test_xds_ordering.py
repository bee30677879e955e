"""Make before break: nothing points at what the client lacks, nothing it points at is taken away."""

import pytest

from penstock_xds import Resource, SyncStatus, Variant
from penstock_xds.core.order import RULES, round_order
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
from tests.xds.transcript import PHASE_TIMEOUT, Client, cluster, endpoints, listener, route

both = pytest.mark.parametrize("variant", list(Variant))


def world(*clusters: str, to: str, content: str = "", listener_content: str = "") -> tuple[Resource, ...]:
    return (
        *(cluster(c, content) for c in clusters),
        *(endpoints(c) for c in clusters),
        listener("l", "r", content=listener_content),
        route("r", to),
    )


def connected(variant: Variant, *resources: Resource) -> Client:
    """A client that has everything, as Envoy fetches it."""
    client = Client(variant)
    client.publishes(*resources)
    client.subscribes(CLUSTER)
    client.receives(CLUSTER, *(r.name for r in resources if r.type_url == CLUSTER))
    names = [r.name for r in resources if r.type_url == ENDPOINT]
    if names:
        client.subscribes(ENDPOINT, *names)
        client.receives(ENDPOINT, *names)
        client.acks(ENDPOINT)
    client.acks(CLUSTER)
    client.subscribes(LISTENER)
    client.receives(LISTENER, "l")
    client.acks(LISTENER)
    client.subscribes(ROUTE, "r")
    client.receives(ROUTE, "r")
    client.acks(ROUTE)
    client.receives_nothing()
    return client


def test_types_are_served_in_the_order_of_the_specification() -> None:
    wanted = [
        CLUSTER,
        ENDPOINT,
        LISTENER,
        ROUTE,
        SCOPED_ROUTE,
        VIRTUAL_HOST,
        SECRET,
        RUNTIME,
        EXTENSION_CONFIG,
        "other",
    ]
    assert sorted([*RULES, "other"], key=round_order) == wanted


@both
def test_a_change_of_routes_alone_goes_out_at_once(variant: Variant) -> None:
    client = connected(variant, *world("a", "b", to="a"))
    client.publishes(*world("a", "b", to="b"))
    client.receives(ROUTE, "r")
    client.acks(ROUTE)
    client.receives_nothing()


@both
def test_a_route_may_use_a_changed_cluster_at_once_as_the_old_one_serves_on(variant: Variant) -> None:
    client = connected(variant, *world("a", "b", to="a"))
    client.publishes(*world("a", "b", to="b", content="new"))
    client.receives(CLUSTER, "a", "b")
    client.receives(ENDPOINT, "a", "b")
    client.receives(ROUTE, "r")


@both
def test_a_cluster_is_replaced_in_three_phases(variant: Variant) -> None:
    client = connected(variant, *world("a", to="a"))
    client.publishes(*world("b", to="b"))

    client.receives(CLUSTER, "b")
    assert client.view(ROUTE).status is SyncStatus.STALE
    client.receives_nothing()
    client.subscribes(ENDPOINT, "b")
    client.receives(ENDPOINT, "b")
    client.acks(ENDPOINT)
    client.receives_nothing()
    client.acks(CLUSTER)

    client.receives(ROUTE, "r")
    client.receives_nothing()
    client.acks(ROUTE)

    client.receives(CLUSTER, gone=["a"])
    client.unsubscribes(ENDPOINT, "a")
    client.acks(CLUSTER)
    client.receives_nothing()
    assert list(client.has(CLUSTER)) == ["b"]
    assert list(client.has(ENDPOINT)) == ["b"]
    assert client.view(CLUSTER).status is SyncStatus.SYNCED


@both
def test_endpoints_never_wait_for_the_ack_of_their_cluster(variant: Variant) -> None:
    client = Client(variant)
    client.publishes(*world("a", to="a"))
    client.subscribes(CLUSTER)
    client.receives(CLUSTER, "a")
    client.subscribes(ENDPOINT, "a")
    client.receives(ENDPOINT, "a")


@both
def test_routes_wait_for_the_endpoints_of_a_new_cluster(variant: Variant) -> None:
    client = connected(variant, *world("a", to="a"))
    client.publishes(*world("a", "b", to="b"))
    client.receives(CLUSTER, "b")
    client.subscribes(ENDPOINT, "b")
    client.receives(ENDPOINT, "b")
    client.acks(CLUSTER)
    client.receives_nothing()
    client.acks(ENDPOINT)
    client.receives(ROUTE, "r")


@both
def test_endpoints_follow_every_change_of_their_cluster_changed_or_not(variant: Variant) -> None:
    client = connected(variant, *world("a", "b", to="a"))
    client.publishes(cluster("a"), cluster("b", "new"), *world("a", "b", to="a")[2:])
    client.receives(CLUSTER, "b")
    client.receives(ENDPOINT, "b")
    client.acks(ENDPOINT)
    client.acks(CLUSTER)
    client.receives_nothing()


@both
def test_endpoints_follow_a_cluster_that_names_them_otherwise(variant: Variant) -> None:
    from penstock_xds.protos import Cluster  # noqa: PLC0415  # only this test needs a real body

    def service(timeout: int) -> Resource:
        message = Cluster(name="a")
        message.eds_cluster_config.service_name = "a-service"
        message.connect_timeout.seconds = timeout
        return Resource(CLUSTER, "a", message.SerializeToString(deterministic=True))

    client = Client(variant)
    client.publishes(service(1), endpoints("a-service"))
    client.subscribes(CLUSTER)
    client.receives(CLUSTER, "a")
    client.acks(CLUSTER)
    client.subscribes(ENDPOINT, "a-service")
    client.receives(ENDPOINT, "a-service")
    client.acks(ENDPOINT)
    client.publishes(service(2), endpoints("a-service"))
    client.receives(CLUSTER, "a")
    client.receives(ENDPOINT, "a-service")


@both
def test_a_removed_cluster_is_kept_while_its_route_is_refused(variant: Variant) -> None:
    client = connected(variant, *world("a", "b", to="a"))
    client.publishes(*world("b", to="b"))
    client.receives(ROUTE, "r")
    client.nacks(ROUTE)
    client.time_passes(10 * PHASE_TIMEOUT)
    client.receives_nothing()
    client.publishes(*world("b", to="b", listener_content="unrelated"))
    client.receives(LISTENER, "l")
    client.acks(LISTENER)
    client.receives_nothing()
    assert "a" in client.has(CLUSTER)
    client.publishes(cluster("b"), endpoints("b"), listener("l", "r"), route("r", "b", content="mended"))
    client.receives(LISTENER, "l")
    client.receives(ROUTE, "r")
    client.acks(LISTENER)
    client.acks(ROUTE)
    client.receives(CLUSTER, gone=["a"])


@both
def test_a_route_to_a_refused_cluster_is_held_back_and_the_last_good_one_stays(variant: Variant) -> None:
    client = connected(variant, *world("a", to="a"))
    client.publishes(*world("a", "b", to="b"))
    client.receives(CLUSTER, "b")
    client.nacks(CLUSTER, "cluster b: no")
    client.time_passes(10 * PHASE_TIMEOUT)
    client.receives_nothing()
    assert client.view(ROUTE).status is SyncStatus.STALE
    assert client.view(CLUSTER).refused == ("b",)


@both
def test_a_route_that_uses_no_refused_cluster_moves_on(variant: Variant) -> None:
    client = connected(variant, *world("a", "b", to="a"))
    client.publishes(*world("a", "b", "c", to="b"))
    client.receives(CLUSTER, "c")
    client.receives(ROUTE, "r")
    client.nacks(CLUSTER, "no")
    client.acks(ROUTE)
    client.receives_nothing()


@both
def test_a_fresh_client_gets_its_routes_though_a_cluster_was_refused(variant: Variant) -> None:
    client = Client(variant)
    client.publishes(cluster("a"), cluster("bad"), listener("l", "r"), route("r", "a", "bad"))
    client.subscribes(CLUSTER)
    client.receives(CLUSTER, "a", "bad")
    client.nacks(CLUSTER, "Error adding/updating cluster(s) bad: nonsense")
    client.subscribes(LISTENER)
    client.receives(LISTENER, "l")
    client.acks(LISTENER)
    client.subscribes(ROUTE, "r")
    client.receives(ROUTE, "r")


@both
def test_waiting_for_a_silent_client_ends_after_the_phase_timeout(variant: Variant) -> None:
    client = connected(variant, *world("a", to="a"))
    client.publishes(*world("b", to="b"))
    client.receives(CLUSTER, "b")
    client.time_passes(PHASE_TIMEOUT - 0.1)
    client.receives_nothing()
    client.time_comes()
    client.receives(ROUTE, "r")
    client.time_comes()
    client.receives(CLUSTER, gone=["a"])


@both
def test_an_urgent_cluster_change_overtakes_one_that_still_warms(variant: Variant) -> None:
    client = connected(variant, *world("a", "leg", to="leg"))
    client.publishes(*world("a", "leg", "slow", to="leg"))
    client.receives(CLUSTER, "slow")
    client.publishes(
        cluster("leg", "without a"), cluster("slow"), *world("a", "leg", "slow", to="leg")[3:], cluster("a")
    )
    client.receives_nothing()
    client.time_comes()
    client.receives(CLUSTER, "leg")
    client.receives(ENDPOINT, "leg")


@both
def test_a_cluster_leaves_only_after_the_cluster_that_names_it_changed(variant: Variant) -> None:
    client = connected(variant, cluster("leg", "of <a> <b>"), cluster("a"), cluster("b"), *world(to="leg"))
    client.publishes(cluster("leg", "of <b>"), cluster("b"), *world(to="leg"))
    client.receives(CLUSTER, "leg")
    client.receives_nothing()
    client.acks(CLUSTER)
    client.receives(CLUSTER, gone=["a"])


@both
def test_clusters_that_name_each_other_can_leave_together(variant: Variant) -> None:
    client = connected(variant, cluster("x", "<y>"), cluster("y", "<x>"), cluster("a"), *world(to="a"))
    client.publishes(cluster("a"), *world(to="a"))
    client.receives(CLUSTER, gone=["x", "y"])


@both
def test_the_second_of_two_replacements_in_a_row_keeps_what_the_first_route_still_uses(variant: Variant) -> None:
    client = connected(variant, *world("a", "b", "c", to="a"))
    client.publishes(*world("b", "c", to="b"))
    client.receives(ROUTE, "r")
    client.publishes(*world("c", to="c"))
    client.receives_nothing()
    client.acks(ROUTE)
    client.receives(ROUTE, "r")
    client.receives(CLUSTER, gone=["a"])
    client.unsubscribes(ENDPOINT, "a")
    client.acks(CLUSTER)
    client.receives_nothing()
    client.acks(ROUTE)
    client.receives(CLUSTER, gone=["b"])


@both
def test_a_listener_removed_with_its_cluster_goes_first(variant: Variant) -> None:
    two = (listener("l", "r"), listener("m", "straight to <b>"))
    client = Client(variant)
    client.publishes(cluster("a"), cluster("b"), *two, route("r", "a"))
    client.subscribes(CLUSTER)
    client.receives(CLUSTER, "a", "b")
    client.acks(CLUSTER)
    client.subscribes(LISTENER)
    client.receives(LISTENER, "l", "m")
    client.acks(LISTENER)
    client.subscribes(ROUTE, "r")
    client.receives(ROUTE, "r")
    client.acks(ROUTE)
    client.publishes(cluster("a"), two[0], route("r", "a"))
    client.receives(LISTENER, gone=["m"])
    client.receives_nothing()
    client.acks(LISTENER)
    client.receives(CLUSTER, gone=["b"])


@both
def test_separate_streams_have_nothing_to_order(variant: Variant) -> None:
    client = Client(variant, aggregated=False)
    client.publishes(*world("a", "b", to="a"))
    client.subscribes(CLUSTER)
    client.receives(CLUSTER, "a", "b")
    client.acks(CLUSTER)
    client.publishes(*world("a", to="a"))
    client.receives(CLUSTER, gone=["b"])


@both
def test_a_cluster_on_its_way_out_that_is_wanted_again_comes_before_its_route(variant: Variant) -> None:
    client = connected(variant, *world("a", "b", to="a"))
    client.publishes(*world("a", to="a"))
    client.receives(CLUSTER, gone=["b"])
    client.publishes(*world("a", "b", to="b"))
    client.receives_nothing()
    client.unsubscribes(ENDPOINT, "b")
    client.acks(CLUSTER)
    client.receives(CLUSTER, "b")
    client.receives_nothing()
    client.acks(CLUSTER)
    client.receives(ROUTE, "r")
