"""Resources that expire: kept alive while the server is there, at little cost, for clients that understand."""

import math

import pytest

from penstock_xds import Resource, Variant
from penstock_xds.core.features import BASE_PROTOCOL, Features
from penstock_xds.core.messages import Nacked
from penstock_xds.errors import InvalidTtlError
from penstock_xds.protos import DeltaDiscoveryResponse, DiscoveryResponse, ResourceProto
from penstock_xds.types import CLUSTER, ENDPOINT, ROUTE, RUNTIME, SECRET, VIRTUAL_HOST
from penstock_xds.wire import ResponseEncoder
from tests.xds.transcript import Client

EXPIRES = Features(ttl=True, wrapped=True)

both = pytest.mark.parametrize("variant", list(Variant))
named_types = pytest.mark.parametrize("type_url", [ENDPOINT, ROUTE, RUNTIME, SECRET, "example.com/thing"])


def fleeting(type_url: str, name: str = "x", *, ttl: float | None = 30.0, content: str = "") -> Resource:
    return Resource(type_url, name, f"\x00{content}".encode(), ttl=ttl)


def holding(variant: Variant, *resources: Resource, features: Features = EXPIRES) -> Client:
    client = Client(variant, features=features)
    client.publishes(*resources)
    client.subscribes(resources[0].type_url, *(r.name for r in resources))
    client.receives(resources[0].type_url, *(r.name for r in resources))
    client.acks(resources[0].type_url)
    return client


@named_types
def test_a_heartbeat_follows_at_a_third_of_the_ttl_and_again(type_url: str) -> None:
    client = holding(Variant.DELTA, fleeting(type_url))
    client.time_passes(9.9)
    client.receives_nothing()
    for _ in range(3):
        client.time_comes()
        client.receives(type_url, beats=["x"])
        client.acks(type_url)
    assert client.now == pytest.approx(1030.0)


@both
def test_a_client_that_does_not_know_ttls_is_sent_none(variant: Variant) -> None:
    client = holding(variant, fleeting(ROUTE), features=BASE_PROTOCOL)
    client.time_passes(3600)
    client.receives_nothing()
    assert client.core.next_deadline() is None


def test_a_sotw_client_without_wrappers_is_sent_none() -> None:
    client = holding(Variant.SOTW, fleeting(ROUTE), features=Features(ttl=True))
    client.time_passes(3600)
    client.receives_nothing()


@named_types
def test_in_state_of_the_world_the_body_comes_again(type_url: str) -> None:
    client = holding(Variant.SOTW, fleeting(type_url))
    client.time_comes()
    client.receives(type_url, "x")
    client.acks(type_url)
    assert client.now == 1010.0
    client.receives_nothing()


def test_in_state_of_the_world_full_state_comes_whole() -> None:
    client = holding(Variant.SOTW, fleeting(CLUSTER), Resource(CLUSTER, "lasting", b"\x00"))
    client.time_comes()
    assert [r.name for r in client.receives(CLUSTER).resources] == ["lasting", "x"]


def test_an_envoy_takes_a_virtual_host_without_body_for_an_alias_so_the_body_goes_along() -> None:
    client = holding(Variant.DELTA, fleeting(VIRTUAL_HOST))
    client.time_comes()
    client.receives(VIRTUAL_HOST, "x")


@both
def test_nothing_piles_up_behind_a_response_that_is_not_answered(variant: Variant) -> None:
    client = Client(variant, features=EXPIRES)
    client.publishes(fleeting(ROUTE))
    client.subscribes(ROUTE, "x")
    client.receives(ROUTE, "x")
    client.time_passes(25.0)
    client.receives_nothing()
    client.acks(ROUTE)
    # Since it was sent, most of its time has passed: it may be gone before a heartbeat is read.
    client.receives(ROUTE, "x")
    client.time_passes(3600)
    client.receives_nothing()


def test_a_resource_that_may_have_expired_is_sent_whole() -> None:
    client = holding(Variant.DELTA, fleeting(ROUTE))
    client.time_passes(21.0)
    client.receives(ROUTE, "x")


def test_a_change_starts_the_time_anew() -> None:
    client = holding(Variant.DELTA, fleeting(ROUTE))
    client.time_passes(8.0)
    client.publishes(fleeting(ROUTE, content="new"))
    client.receives(ROUTE, "x")
    client.acks(ROUTE)
    client.time_passes(8.0)
    client.receives_nothing()
    client.time_passes(2.0)
    client.receives(ROUTE, beats=["x"])


@both
def test_a_ttl_that_is_added_changed_or_dropped_is_a_change_sent_whole(variant: Variant) -> None:
    client = holding(variant, fleeting(ROUTE, ttl=None))
    for ttl in (30.0, 60.0, None):
        client.publishes(fleeting(ROUTE, ttl=ttl))
        assert client.receives(ROUTE, "x").resources[0].ttl == ttl
        client.acks(ROUTE)
    client.time_passes(3600)
    client.receives_nothing()


def test_those_due_soon_go_along_with_the_one_that_is_due() -> None:
    client = holding(Variant.DELTA, fleeting(ROUTE, "a"), fleeting(ROUTE, "b", ttl=60.0), fleeting(ROUTE, "c", ttl=600))
    client.time_comes()
    client.receives(ROUTE, beats=["a", "b"])


def test_a_refused_heartbeat_is_followed_by_the_whole_resource_a_third_later() -> None:
    client = holding(Variant.DELTA, fleeting(ROUTE))
    client.time_comes()
    client.receives(ROUTE, beats=["x"])
    client.nacks(ROUTE, "what is that?")
    assert isinstance(client.events[-1], Nacked)
    assert client.events[-1].names == ("x",)
    client.receives_nothing()
    client.time_comes()
    client.receives(ROUTE, "x")


def test_only_what_the_client_has_confirmed_is_prolonged() -> None:
    client = holding(Variant.DELTA, fleeting(ROUTE))
    client.publishes(fleeting(ROUTE, content="bad"))
    client.receives(ROUTE, "x")
    client.nacks(ROUTE)
    client.time_comes()
    assert client.receives(ROUTE, beats=["x"]).heartbeats == (fleeting(ROUTE),)


def test_no_heartbeat_for_what_the_client_gave_up() -> None:
    client = holding(Variant.DELTA, fleeting(ROUTE))
    client.unsubscribes(ROUTE, "x")
    client.time_passes(3600)
    client.receives_nothing()


@both
def test_a_client_that_comes_back_is_sent_the_whole_of_what_expires(variant: Variant) -> None:
    client = holding(variant, fleeting(CLUSTER), Resource(CLUSTER, "y", b"\x00"))
    client.reconnects()
    client.resubscribes()
    assert fleeting(CLUSTER) in client.takes_next().resources


@pytest.mark.parametrize("ttl", [0.0, -1.0, math.nan, math.inf])
def test_a_ttl_that_is_no_time_is_refused(ttl: float) -> None:
    with pytest.raises(InvalidTtlError):
        fleeting(ROUTE, ttl=ttl)


def test_on_the_wire_a_delta_resource_has_its_ttl_and_a_heartbeat_no_body() -> None:
    client = holding(Variant.DELTA, fleeting(ROUTE, ttl=1.5, content="body"))
    client.time_comes()
    response = client.receives(ROUTE, beats=["x"])
    data, _ = ResponseEncoder("test").encode(Variant.DELTA, response)
    (entry,) = DeltaDiscoveryResponse.FromString(data).resources
    assert (entry.name, entry.version, entry.ttl.ToMilliseconds()) == ("x", response.heartbeats[0].version, 1500)
    assert not entry.HasField("resource")


def test_on_the_wire_a_sotw_resource_is_wrapped_if_it_expires() -> None:
    client = Client(Variant.SOTW, features=EXPIRES)
    client.publishes(fleeting(ROUTE, "a", ttl=1.5), fleeting(ROUTE, "b", ttl=None))
    client.subscribes(ROUTE, "a", "b")
    data, _ = ResponseEncoder("test").encode(Variant.SOTW, client.receives(ROUTE, "a", "b"))
    wrapped, bare = DiscoveryResponse.FromString(data).resources
    wrapper = ResourceProto()
    assert wrapped.Unpack(wrapper)
    assert (wrapper.name, wrapper.resource.type_url, wrapper.ttl.ToMilliseconds()) == ("a", ROUTE, 1500)
    assert bare.type_url == ROUTE


def test_on_the_wire_a_client_that_does_not_know_ttls_sees_none() -> None:
    client = Client(Variant.SOTW)
    client.publishes(fleeting(ROUTE))
    client.subscribes(ROUTE, "x")
    data, _ = ResponseEncoder("test").encode(Variant.SOTW, client.receives(ROUTE, "x"))
    assert [r.type_url for r in DiscoveryResponse.FromString(data).resources] == [ROUTE]


def test_features_are_read_from_the_node() -> None:
    envoy = Features.of(["xds.config.supports-resource-ttl", "xds.config.resource-in-sotw"], "envoy")
    assert envoy == Features(ttl=True, wrapped=True, errors=False)
    grpc = Features.of(["envoy.lb.does_not_support_overprovisioning", "xds.config.resource-in-sotw"], "gRPC Go")
    assert grpc == Features(ttl=False, wrapped=True, errors=True)
    assert Features.of([]) == BASE_PROTOCOL
