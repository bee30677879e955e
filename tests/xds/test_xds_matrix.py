"""The same scenarios over every variant, on aggregated and separate streams, for every type.

What a type or variant does otherwise than the rest is told by the three questions that `Asking` answers, so that each
scenario reads as the protocol says it.
"""

from dataclasses import dataclass
from itertools import product

import pytest

from penstock_xds import Resource, SyncStatus, Variant
from penstock_xds.core.messages import Acked, Nacked, Response
from penstock_xds.core.order import rule_for
from penstock_xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, RUNTIME, SECRET
from tests.xds.transcript import Client

OPAQUE = "type.googleapis.com/example.Opaque"
TYPES = (CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, RUNTIME, OPAQUE)


@dataclass(frozen=True)
class Asking:
    """One client that asks for one type in one way."""

    variant: Variant
    aggregated: bool
    type_url: str
    wildcard: bool

    def __str__(self) -> str:
        stream = "ads" if self.aggregated else "separate"
        how = "all" if self.wildcard else "named"
        return f"{self.variant}-{stream}-{self.type_url.rpartition('.')[2]}-{how}"

    @property
    def client(self) -> Client:
        return Client(self.variant, aggregated=self.aggregated)

    @property
    def says_everything(self) -> bool:
        """Every response holds all there is, so absence is removal."""
        return self.variant is Variant.SOTW and rule_for(self.type_url).full_state

    @property
    def tells_of_absence(self) -> bool:
        """A client can be told that a resource is no more."""
        return self.variant is Variant.DELTA or self.says_everything

    @property
    def fills_in(self) -> bool:
        """A missing resource is answered with an empty one, since nothing else would end the client's wait."""
        return self.variant is Variant.SOTW and self.type_url == ENDPOINT

    def one(self, name: str, content: str = "") -> Resource:
        return Resource(self.type_url, name, f"\x00{name} {content}".encode())

    def asks(self, client: Client, *names: str) -> None:
        """Subscribe to these; to all there is, where the client asks by wildcard."""
        if not self.wildcard:
            client.subscribes(self.type_url, *names)
        elif rule_for(self.type_url).legacy_wildcard:
            client.subscribes(self.type_url)
        else:
            client.subscribes(self.type_url, "*")

    def holding(self, *resources: Resource) -> Client:
        """A client that asked for these and has them."""
        client = self.client
        client.publishes(*resources)
        self.asks(client, *(r.name for r in resources))
        client.receives(self.type_url, *(r.name for r in resources))
        client.acks(self.type_url)
        client.receives_nothing()
        return client


ASKING = [
    Asking(variant, aggregated, type_url, wildcard)
    for variant, aggregated, type_url, wildcard in product(Variant, (True, False), TYPES, (True, False))
]
every_way = pytest.mark.parametrize("asking", ASKING, ids=str)
by_name = pytest.mark.parametrize("asking", [a for a in ASKING if not a.wildcard], ids=str)


@every_way
def test_what_is_asked_for_before_there_is_anything_comes_when_it_is_there(asking: Asking) -> None:
    client = asking.client
    asking.asks(client, "a")
    client.receives_nothing()
    client.publishes(asking.one("a"))
    client.receives(asking.type_url, "a")
    client.acks(asking.type_url)
    client.receives_nothing()
    assert client.view(asking.type_url).status is SyncStatus.SYNCED


@every_way
def test_a_change_is_sent_alone_and_once(asking: Asking) -> None:
    client = asking.holding(asking.one("a"), asking.one("b"))
    client.publishes(asking.one("a", "new"), asking.one("b"))
    response = client.receives(asking.type_url, "a")
    assert len(response.resources) == (2 if asking.says_everything else 1)
    client.acks(asking.type_url)
    client.publishes(asking.one("b"), asking.one("a", "new"))
    client.receives_nothing()
    assert client.has(asking.type_url) == {"a": asking.one("a", "new"), "b": asking.one("b")}


@every_way
def test_changes_that_come_faster_than_acknowledgements_are_sent_as_one(asking: Asking) -> None:
    client = asking.holding(asking.one("a"), asking.one("b"))
    client.publishes(asking.one("a", "1"), asking.one("b"))
    client.receives(asking.type_url, "a")
    client.publishes(asking.one("a", "2"), asking.one("b"))
    client.publishes(asking.one("a", "3"), asking.one("b", "3"))
    client.receives_nothing()
    client.acks(asking.type_url)
    client.receives(asking.type_url, "a", "b")
    client.acks(asking.type_url)
    client.receives_nothing()
    assert client.has(asking.type_url) == {"a": asking.one("a", "3"), "b": asking.one("b", "3")}


@every_way
def test_every_response_is_acknowledged_under_a_nonce_of_its_own(asking: Asking) -> None:
    client = asking.holding(asking.one("a"))
    nonces: list[str] = []
    for content in ("1", "2", "3"):
        client.publishes(asking.one("a", content))
        response: Response = client.receives(asking.type_url, "a")
        nonces.append(response.nonce)
        client.acks(asking.type_url)
        assert isinstance(client.events[-1], Acked)
        assert client.events[-1].version == response.version
    assert len(set(nonces)) == 3


@every_way
def test_an_acknowledgement_is_timed_from_the_publishing_of_what_it_confirms(asking: Asking) -> None:
    client = asking.holding(asking.one("a"))
    for content in ("1", "2"):
        client.time_passes(100)
        client.publishes(asking.one("a", content))
        client.receives(asking.type_url, "a")
        client.time_passes(1)
        client.acks(asking.type_url)
        assert isinstance(client.events[-1], Acked)
        assert client.events[-1].seconds == 1


@every_way
def test_a_refused_change_is_told_and_waits_for_another(asking: Asking) -> None:
    client = asking.holding(asking.one("a"), asking.one("b"))
    client.publishes(asking.one("a", "bad"), asking.one("b"))
    client.receives(asking.type_url, "a")
    client.nacks(asking.type_url, "no good: a")
    event = client.events[-1]
    assert isinstance(event, Nacked)
    assert (event.type_url, event.names, event.message) == (asking.type_url, ("a",), "no good: a")
    client.time_passes(3600)
    client.receives_nothing()
    client.publishes(asking.one("a", "bad"), asking.one("b", "new"))
    client.receives(asking.type_url, "b")
    client.acks(asking.type_url)
    client.receives_nothing()
    client.publishes(asking.one("a", "good"), asking.one("b", "new"))
    client.receives(asking.type_url, "a")
    client.acks(asking.type_url)
    assert client.has(asking.type_url) == {"a": asking.one("a", "good"), "b": asking.one("b", "new")}
    assert client.view(asking.type_url).status is SyncStatus.SYNCED


@every_way
def test_of_a_refusal_that_names_one_the_other_counts_as_taken(asking: Asking) -> None:
    client = asking.holding(asking.one("a"), asking.one("b"))
    client.publishes(asking.one("a", "bad"), asking.one("b", "good"))
    client.receives(asking.type_url, "a", "b")
    client.nacks(asking.type_url, "no good: a")
    client.has(asking.type_url)["b"] = asking.one("b", "good")
    client.receives_nothing()
    client.publishes(asking.one("a"), asking.one("b"))
    client.receives(asking.type_url, "b")


@every_way
def test_after_a_refusal_that_names_none_of_several_the_client_is_brought_back_to_what_is_published(
    asking: Asking,
) -> None:
    client = asking.holding(asking.one("a"), asking.one("b"))
    client.publishes(asking.one("a", "new"), asking.one("b", "bad"))
    client.receives(asking.type_url, "a", "b")
    client.nacks(asking.type_url, "something is wrong somewhere")
    # Envoy takes the good ones of a refused response: with most types it does not say which.
    client.has(asking.type_url)["a"] = asking.one("a", "new")
    while client.inbox:
        response = client.takes_next()
        if any(b"bad" in r.body for r in response.resources):
            client.nacks(asking.type_url, "something is wrong somewhere")
        else:
            client.acks(asking.type_url)
    client.publishes(asking.one("a"), asking.one("b"))
    while client.inbox:
        client.takes_next()
        client.acks(asking.type_url)
    assert client.has(asking.type_url) == {"a": asking.one("a"), "b": asking.one("b")}


@by_name
def test_given_up_and_asked_for_again_it_comes_again(asking: Asking) -> None:
    client = asking.holding(asking.one("a"), asking.one("b"))
    client.unsubscribes(asking.type_url, "a")
    client.receives_nothing()
    client.publishes(asking.one("a", "unseen"), asking.one("b"))
    client.receives_nothing()
    client.publishes(asking.one("a"), asking.one("b"))
    client.subscribes(asking.type_url, "a")
    client.receives(asking.type_url, "a")
    client.acks(asking.type_url)
    client.receives_nothing()


@by_name
def test_given_up_and_asked_for_again_while_a_response_is_under_way_it_comes_again(asking: Asking) -> None:
    client = asking.holding(asking.one("a"), asking.one("b"))
    client.publishes(asking.one("a", "new"), asking.one("b"))
    client.receives(asking.type_url, "a")
    client.unsubscribes(asking.type_url, "a")
    client.subscribes(asking.type_url, "a")
    client.receives_nothing()
    client.acks(asking.type_url)
    assert [r for r in client.takes_next().resources if r.name == "a"] == [asking.one("a", "new")]
    client.acks(asking.type_url)
    client.receives_nothing()


@by_name
def test_a_name_that_rides_on_a_stale_nonce_is_answered_and_acknowledges_nothing(asking: Asking) -> None:
    client = asking.holding(asking.one("a"))
    events = list(client.events)
    client.publishes(asking.one("a", "new"), asking.one("b"))
    client.receives(asking.type_url, "a")
    client.says_with_nonce(asking.type_url, "stale", subscribing=["b"])
    client.receives_nothing()
    assert client.events == events
    client.acks(asking.type_url)
    client.receives(asking.type_url, "b")


@by_name
def test_a_name_that_does_not_exist_yet_comes_when_it_appears(asking: Asking) -> None:
    client = asking.client
    client.publishes(asking.one("a"))
    client.subscribes(asking.type_url, "a", "ghost")
    client.receives(
        asking.type_url,
        *(("a", "ghost") if asking.fills_in else ("a",)),
        gone=["ghost"] if asking.variant is Variant.DELTA else [],
    )
    client.acks(asking.type_url)
    client.receives_nothing()
    client.publishes(asking.one("a"), asking.one("ghost"))
    client.receives(asking.type_url, "ghost")
    client.acks(asking.type_url)
    client.receives_nothing()
    assert client.has(asking.type_url).keys() == {"a", "ghost"}


@every_way
def test_what_is_no_more_goes_where_the_client_can_be_told_and_comes_back(asking: Asking) -> None:
    client = asking.holding(asking.one("a"), asking.one("b"))
    client.publishes(asking.one("a"))
    if asking.tells_of_absence:
        client.receives(asking.type_url, gone=["b"])
        client.acks(asking.type_url)
    client.receives_nothing()
    client.publishes(asking.one("a"), asking.one("b", "back"))
    client.receives(asking.type_url, "b")
    client.acks(asking.type_url)
    client.receives_nothing()
    assert client.has(asking.type_url)["b"] == asking.one("b", "back")


@every_way
def test_the_client_is_brought_from_anything_to_nothing_and_back(asking: Asking) -> None:
    client = asking.holding(asking.one("a"))
    client.publishes()
    if asking.tells_of_absence:
        client.receives(asking.type_url, gone=["a"])
        client.acks(asking.type_url)
    client.receives_nothing()
    client.publishes(asking.one("a", "new"))
    client.receives(asking.type_url, "a")
    client.acks(asking.type_url)
    client.receives_nothing()


@every_way
def test_a_client_that_comes_back_is_sent_nothing_it_is_known_to_hold(asking: Asking) -> None:
    client = asking.holding(asking.one("a"), asking.one("b"))
    client.reconnects()
    client.resubscribes()
    if asking.variant is Variant.SOTW and not (asking.says_everything and asking.wildcard):
        # A version does not say which names it stands for.
        response = client.takes_next()
        assert {r.name for r in response.resources} == {"a", "b"}
        client.acks(asking.type_url)
    client.receives_nothing()
    assert client.view(asking.type_url).status is SyncStatus.SYNCED
    client.publishes(asking.one("a", "new"), asking.one("b"))
    client.receives(asking.type_url, "a")


@every_way
def test_a_client_that_comes_back_is_sent_what_changed_meanwhile(asking: Asking) -> None:
    client = asking.holding(asking.one("a"), asking.one("b"), asking.one("c"))
    client.reconnects(to_another_server=True)
    client.publishes(asking.one("a", "new"), asking.one("b"))
    client.resubscribes()
    while client.inbox:
        client.takes_next()
        client.acks(asking.type_url)
    # Nothing else of the client's could hold on to what is gone.
    client.time_passes(3600)
    while client.inbox:
        client.takes_next()
        client.acks(asking.type_url)
    held = {"a": asking.one("a", "new"), "b": asking.one("b")}
    if not asking.tells_of_absence:
        held["c"] = asking.one("c")
    assert client.has(asking.type_url) == held


@every_way
def test_a_client_without_an_answer_to_its_first_request_comes_back_and_is_answered(asking: Asking) -> None:
    client = asking.client
    client.publishes(asking.one("a"))
    asking.asks(client, "a")
    client.receives(asking.type_url, "a")
    client.reconnects()
    client.resubscribes()
    client.receives(asking.type_url, "a")
    client.acks(asking.type_url)
    client.receives_nothing()
