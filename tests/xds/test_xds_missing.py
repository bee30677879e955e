"""What is asked for and does not exist: said once, in whatever way the client understands."""

import pytest

from penstock_xds import Resource, Variant
from penstock_xds.core.features import Features
from penstock_xds.core.messages import ResourceError, Response
from penstock_xds.errors import DuplicateResourceError
from penstock_xds.protos import ClusterLoadAssignment, DiscoveryResponse
from penstock_xds.types import CLUSTER, ENDPOINT, EXTENSION_CONFIG, LISTENER, ROUTE, RUNTIME, SECRET
from penstock_xds.wire import ResponseEncoder
from tests.xds.transcript import Client, cluster, endpoints, listener, route

NOT_FOUND, PERMISSION_DENIED = 5, 7
READS_ERRORS = Features(errors=True)

both = pytest.mark.parametrize("variant", list(Variant))
types = pytest.mark.parametrize("type_url", [CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, RUNTIME, "example.com/thing"])


def denied(type_url: str, name: str, message: str = "not yours") -> ResourceError:
    return ResourceError(type_url, name, PERMISSION_DENIED, message)


@types
def test_a_grpc_client_is_told_at_once_that_a_name_does_not_exist(type_url: str) -> None:
    client = Client(Variant.SOTW, features=READS_ERRORS)
    client.publishes(Resource(type_url, "a", b"\x00"))
    client.subscribes(type_url, "a", "ghost")
    response = client.receives(type_url, "a", errors=["ghost"])
    assert response.errors[0].code == NOT_FOUND
    client.acks(type_url)
    client.receives_nothing()
    client.publishes(Resource(type_url, "a", b"\x00new"))
    client.receives(type_url, "a")
    client.acks(type_url)
    client.publishes(Resource(type_url, "a", b"\x00new"), Resource(type_url, "ghost", b"\x00"))
    client.receives(type_url, "ghost")


@types
def test_a_client_that_reads_no_errors_is_sent_none(type_url: str) -> None:
    client = Client(Variant.SOTW)
    client.publishes(Resource(type_url, "a", b"\x00"), errors=[denied(type_url, "ghost")])
    client.subscribes(type_url, "a", "ghost")
    client.receives(type_url, "a", *(["ghost"] if type_url == ENDPOINT else []))


@both
@types
def test_a_stated_reason_is_told(variant: Variant, type_url: str) -> None:
    client = Client(variant, features=READS_ERRORS)
    client.publishes(Resource(type_url, "a", b"\x00"), errors=[denied(type_url, "secret")])
    client.subscribes(type_url, "a", "secret")
    response = client.receives(type_url, "a", errors=["secret"])
    assert response.errors == (denied(type_url, "secret"),)
    client.acks(type_url)
    client.publishes(Resource(type_url, "a", b"\x00"), errors=[denied(type_url, "secret", "since yesterday")])
    client.receives(type_url, errors=["secret"])
    client.acks(type_url)
    client.publishes(Resource(type_url, "a", b"\x00"), Resource(type_url, "secret", b"\x00"))
    client.receives(type_url, "secret")


@both
def test_a_name_that_left_is_told_to_be_missing(variant: Variant) -> None:
    client = Client(variant, features=READS_ERRORS)
    client.publishes(route("r"), route("s"))
    client.subscribes(ROUTE, "r", "s")
    client.receives(ROUTE, "r", "s")
    client.acks(ROUTE)
    client.publishes(route("r"))
    if variant is Variant.DELTA:
        client.receives(ROUTE, gone=["s"])
    else:
        client.receives(ROUTE, errors=["s"])
    client.acks(ROUTE)
    client.receives_nothing()


@both
def test_a_reason_withdrawn_from_a_name_that_still_does_not_exist_becomes_not_found(variant: Variant) -> None:
    client = Client(variant, features=READS_ERRORS)
    client.publishes(route("r"), errors=[denied(ROUTE, "s")])
    client.subscribes(ROUTE, "s")
    client.receives(ROUTE, errors=["s"])
    client.acks(ROUTE)
    client.publishes(route("r"))
    if variant is Variant.DELTA:
        client.receives(ROUTE, gone=["s"])
    else:
        assert client.receives(ROUTE, errors=["s"]).errors[0].code == NOT_FOUND


@both
def test_asking_again_is_answered_again(variant: Variant) -> None:
    client = Client(variant, features=READS_ERRORS)
    client.publishes(route("r"), errors=[denied(ROUTE, "s")])
    client.subscribes(ROUTE, "r", "s")
    client.receives(ROUTE, "r", errors=["s"])
    client.acks(ROUTE)
    client.unsubscribes(ROUTE, "s")
    client.receives_nothing()
    client.subscribes(ROUTE, "s")
    client.receives(ROUTE, errors=["s"])


@both
def test_a_wildcard_is_told_of_no_errors(variant: Variant) -> None:
    client = Client(variant, features=READS_ERRORS)
    client.publishes(listener("l"), errors=[denied(LISTENER, "m")])
    client.subscribes(LISTENER)
    client.receives(LISTENER, "l")
    client.acks(LISTENER)
    client.publishes(listener("l"), errors=[denied(LISTENER, "n")])
    client.receives_nothing()


def test_full_state_goes_along_with_an_error() -> None:
    client = Client(Variant.SOTW, features=READS_ERRORS)
    client.publishes(cluster("a"))
    client.subscribes(CLUSTER, "a")
    client.receives(CLUSTER, "a")
    client.acks(CLUSTER)
    client.subscribes(CLUSTER, "ghost")
    assert client.receives(CLUSTER, errors=["ghost"]).resources == (cluster("a"),)


def test_a_name_cannot_be_both_served_and_in_error() -> None:
    with pytest.raises(DuplicateResourceError):
        Client(Variant.SOTW).publishes(route("r"), errors=[denied(ROUTE, "r")])


def test_on_the_wire_an_error_has_name_code_and_message() -> None:
    response = Response(ROUTE, "v", "1", (), errors=(denied(ROUTE, "r"),))
    data, _ = ResponseEncoder("test").encode(Variant.SOTW, response)
    (entry,) = DiscoveryResponse.FromString(data).resource_errors
    told = (entry.resource_name.name, entry.error_detail.code, entry.error_detail.message)
    assert told == ("r", PERMISSION_DENIED, "not yours")


def test_missing_endpoints_are_answered_with_an_empty_assignment_so_that_the_cluster_stops_warming() -> None:
    client = Client(Variant.SOTW)
    client.publishes(cluster("a"), cluster("b"), endpoints("a"))
    client.subscribes(CLUSTER)
    client.receives(CLUSTER, "a", "b")
    client.subscribes(ENDPOINT, "a", "b")
    response = client.receives(ENDPOINT, "a", "b")
    stand_in = ClusterLoadAssignment.FromString(next(r.body for r in response.resources if r.name == "b"))
    assert stand_in == ClusterLoadAssignment(cluster_name="b")
    client.acks(ENDPOINT)
    client.acks(CLUSTER)
    client.publishes(cluster("a"), cluster("b", "changed"), endpoints("a"))
    client.receives(CLUSTER, "b")
    client.receives(ENDPOINT, "b")
    client.acks(ENDPOINT)
    client.publishes(cluster("a"), cluster("b", "changed"), endpoints("a"), endpoints("b"))
    client.receives(ENDPOINT, "b")


def test_a_client_that_may_hold_endpoints_keeps_them() -> None:
    client = Client(Variant.SOTW)
    client.publishes(cluster("a"), endpoints("a"))
    client.subscribes(ENDPOINT, "a")
    client.receives(ENDPOINT, "a")
    client.acks(ENDPOINT)
    client.reconnects(to_another_server=True)
    client.publishes(cluster("a"))
    client.resubscribes()
    client.receives_nothing()


def test_a_changed_cluster_whose_endpoints_left_goes_on_with_the_last_it_had() -> None:
    client = Client(Variant.SOTW)
    client.publishes(cluster("a"), endpoints("a"))
    client.subscribes(CLUSTER)
    client.receives(CLUSTER, "a")
    client.acks(CLUSTER)
    client.subscribes(ENDPOINT, "a")
    client.receives(ENDPOINT, "a")
    client.acks(ENDPOINT)
    client.publishes(cluster("a", "changed"))
    client.receives(CLUSTER, "a")
    assert client.receives(ENDPOINT, "a").resources == (endpoints("a"),)


def test_an_extension_configuration_is_not_removed_under_the_filter_that_uses_it() -> None:
    client = Client(Variant.DELTA)
    client.publishes(Resource(EXTENSION_CONFIG, "e", b"\x00"))
    client.subscribes(EXTENSION_CONFIG, "e")
    client.receives(EXTENSION_CONFIG, "e")
    client.acks(EXTENSION_CONFIG)
    client.publishes(listener("l"))
    client.time_passes(3600)
    client.receives_nothing()
