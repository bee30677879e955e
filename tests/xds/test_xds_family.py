"""One client that takes each type, and each set of endpoints, on a stream of its own: make before break spans them."""

from dataclasses import dataclass, field

import pytest

from penstock_xds import Snapshot, Variant
from penstock_xds.core.family import Family
from penstock_xds.core.messages import DeltaRequest, Response, SotwRequest
from penstock_xds.core.stream import StreamCore
from penstock_xds.types import CLUSTER, ENDPOINT, ROUTE
from tests.xds.transcript import PHASE_TIMEOUT, cluster, endpoints, route

BOTH = pytest.mark.parametrize("variant", list(Variant))


@dataclass
class Stream:
    """One of the client's streams, with what came on it and is not answered yet."""

    core: StreamCore
    variant: Variant
    type_url: str
    names: tuple[str, ...]
    inbox: list[Response] = field(default_factory=list)


class Separate:
    """The client. Its streams are asked in the worst order: the newest, which are those of the routes, first."""

    def __init__(self, variant: Variant) -> None:
        self.variant = variant
        self.family = Family()
        self.now = 0.0
        self.streams: list[Stream] = []
        self.snapshot: Snapshot | None = None

    def opens(self, type_url: str, *names: str) -> Stream:
        core = StreamCore(
            self.variant,
            nonce_prefix=f"{len(self.streams)}-",
            opened_at=self.now,
            phase_timeout=PHASE_TIMEOUT,
            aggregated=False,
            family=self.family,
        )
        stream = Stream(core, self.variant, type_url, names)
        self.streams.append(stream)
        if self.variant is Variant.SOTW:
            core.receive(SotwRequest(type_url, names=names), self.now)
        else:
            core.receive(DeltaRequest(type_url, subscribe=names), self.now)
        if self.snapshot is not None:
            core.want(self.snapshot, self.now)
        self.polls()
        return stream

    def publishes(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        # One stream hears of it and acts before the others have looked at their mail.
        self.streams[-1].core.want(snapshot, self.now)
        self.polls()

    def polls(self) -> None:
        """When one stream has moved the others look again, until none moves."""
        moved = True
        while moved:
            moved = False
            for stream in reversed(self.streams):
                responses = stream.core.poll(self.now)
                stream.inbox += responses
                moved = moved or bool(responses)

    def receives(self, stream: Stream) -> tuple[list[str], list[str]]:
        """The names that came and those that were removed; acknowledged by `acks`."""
        return (
            sorted(r.name for response in stream.inbox for r in response.resources),
            sorted(name for response in stream.inbox for name in response.removed),
        )

    def acks(self, stream: Stream) -> None:
        for response in stream.inbox:
            if self.variant is Variant.SOTW:
                request: SotwRequest | DeltaRequest = SotwRequest(
                    stream.type_url, version=response.version, nonce=response.nonce, names=stream.names
                )
            else:
                request = DeltaRequest(stream.type_url, nonce=response.nonce)
            stream.core.receive(request, self.now)
        stream.inbox.clear()
        self.polls()


def world(name: str) -> Snapshot:
    return Snapshot.of([cluster(name), endpoints(name), route("r", name)])


def settled(variant: Variant) -> tuple[Separate, Stream, Stream]:
    """A client that has the world of cluster "old"."""
    client = Separate(variant)
    clusters = client.opens(CLUSTER)
    client.publishes(world("old"))
    client.acks(clusters)
    client.acks(client.opens(ENDPOINT, "old"))
    routes = client.opens(ROUTE, "r")
    client.acks(routes)
    return client, clusters, routes


@BOTH
def test_a_route_waits_on_its_stream_for_the_cluster_and_the_endpoints_on_theirs(variant: Variant) -> None:
    client, clusters, routes = settled(variant)
    client.publishes(world("new"))
    assert client.receives(routes) == ([], [])
    assert "new" in client.receives(clusters)[0]
    client.acks(clusters)
    # Confirmed, but of no use to the client before it has endpoints, for which it opens one more stream.
    assert client.receives(routes) == ([], [])
    fed = client.opens(ENDPOINT, "new")
    assert client.receives(fed) == (["new"], [])
    assert client.receives(routes) == ([], [])
    client.acks(fed)
    assert client.receives(routes) == (["r"], [])


@BOTH
def test_a_cluster_goes_when_the_route_on_the_other_stream_has_left_it(variant: Variant) -> None:
    client, clusters, routes = settled(variant)
    client.publishes(world("new"))
    # State of the World removes by silence: the old one is named again as long as it must stay.
    kept = client.receives(clusters)
    assert kept == ((["new", "old"], []) if variant is Variant.SOTW else (["new"], []))
    client.acks(clusters)
    client.acks(client.opens(ENDPOINT, "new"))
    assert client.receives(clusters) == ([], [])
    client.acks(routes)
    assert client.receives(clusters) == ((["new"], []) if variant is Variant.SOTW else ([], ["old"]))


@BOTH
def test_a_client_that_never_asks_for_endpoints_gets_its_routes_when_the_wait_is_over(variant: Variant) -> None:
    client, clusters, routes = settled(variant)
    client.publishes(world("new"))
    client.acks(clusters)
    client.now += PHASE_TIMEOUT
    client.polls()
    assert client.receives(routes) == (["r"], [])


@BOTH
def test_endpoints_come_again_on_their_stream_after_a_change_of_their_cluster(variant: Variant) -> None:
    client = Separate(variant)
    clusters = client.opens(CLUSTER)
    client.publishes(world("old"))
    client.acks(clusters)
    fed = client.opens(ENDPOINT, "old")
    client.acks(fed)
    client.publishes(Snapshot.of([cluster("old", "changed"), endpoints("old"), route("r", "old")]))
    assert client.receives(clusters) == (["old"], [])
    assert client.receives(fed) == (["old"], [])


@BOTH
def test_a_stream_that_ended_holds_nothing_back(variant: Variant) -> None:
    client, clusters, routes = settled(variant)
    client.publishes(world("new"))
    client.acks(clusters)
    client.streams.remove(routes)
    routes.core.leave()
    client.acks(client.opens(ENDPOINT, "new"))
    client.now += PHASE_TIMEOUT
    client.polls()
    assert client.receives(clusters) == ((["new"], []) if variant is Variant.SOTW else ([], ["old"]))
