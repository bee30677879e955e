"""Random clients of every kind, with messages that take their time, against a simple model.

Beside what `test_xds_model.py` asks of a client whose messages arrive at once: requests are in flight while responses
are, so that nonces are stale; subscriptions change at any moment; single streams break; types that are in no order
(secrets, opaque ones) come along. Whatever happens:

* a route or listener it accepts names only clusters it has, and on separate streams only such as have their endpoints;
* a cluster it has to drop is named by nothing it holds;
* every unchanged resource that comes has a cause of its own;
* once all is quiet it holds exactly what it subscribes to, but for what it refused.
"""

import re

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from penstock_xds import Resource, Snapshot, Variant
from penstock_xds.core.messages import Response
from penstock_xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET
from tests.xds.transcript import cluster, endpoints, listener, route
from tests.xds.wire_client import PHASE_TIMEOUT, Streams, WireClient

OPAQUE = "type.googleapis.com/example.Opaque"
LOOSE = (SECRET, OPAQUE)

CLUSTERS = st.sampled_from(["c1", "c2", "c3", "c4"])
ROUTES = ("r1", "r2")
ROUTE_NAMES = st.sampled_from(ROUTES)
CONTENT = st.sampled_from(["", "x", "y"])
CONTENT_OR_BAD = st.sampled_from(["", "x", "y", "BAD"])
LOOSE_NAMES = st.sampled_from(["s1", "s2"])


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Resource, ...]:
    names = draw(st.lists(CLUSTERS, unique=True, min_size=1))
    some = st.lists(st.sampled_from(names), unique=True)
    return (
        *(cluster(n, draw(CONTENT)) for n in names),
        *(endpoints(n, draw(CONTENT_OR_BAD)) for n in names if draw(st.booleans())),
        *(listener(n, *draw(some), content=draw(CONTENT)) for n in draw(st.lists(st.just("l"), max_size=1))),
        *(route(n, *draw(some), content=draw(CONTENT_OR_BAD)) for n in draw(st.lists(ROUTE_NAMES, unique=True))),
        *(
            Resource(t, n, f"\x00{n} {draw(CONTENT_OR_BAD)}".encode())
            for t in LOOSE
            for n in draw(st.lists(LOOSE_NAMES, unique=True))
        ),
    )


def named_by(resource: Resource) -> set[str]:
    return set(re.findall(r"<(c\d)>", resource.body.decode(errors="replace")))


def is_bad(resource: Resource) -> bool:
    return b"BAD" in resource.body


class ClientAndServer(RuleBasedStateMachine):
    variant: Variant
    streams: Streams

    def __init__(self) -> None:
        super().__init__()
        self.client = WireClient(self.variant, self.streams)
        self.came_back = False

    @initialize()
    def connect(self) -> None:
        self.client.ask_all(CLUSTER)

    @rule(world=worlds())
    def publish(self, world: tuple[Resource, ...]) -> None:
        if self.variant is Variant.SOTW:
            # It cannot tell a client that a route is gone: routes end with the listener that names them.
            routes = {r.name for r in world if r.type_url == ROUTE}
            world += tuple(route(n) for n in ROUTES if n not in routes)
        self.client.publish(Snapshot.of(world))

    # Messages arrive, in the order of their stream and in any between streams

    @precondition(lambda self: self.client.with_requests())
    @rule(data=st.data())
    def a_request_arrives(self, data: st.DataObject) -> None:
        self.client.deliver_request(data.draw(st.sampled_from(self.client.with_requests())))

    @precondition(lambda self: self.client.with_responses())
    @rule(data=st.data())
    def a_response_arrives(self, data: st.DataObject) -> None:
        self._handle(data.draw(st.sampled_from(self.client.with_responses())))

    def _handle(self, key: tuple[str, str]) -> None:
        client = self.client
        response = client.hear(key)
        self._check_causes(response)
        bad = {r.name for r in response.resources if is_bad(r)}
        if response.type_url in (LISTENER, ROUTE):
            for resource in response.resources:
                if resource.name not in bad and resource.name not in self._unchanged(response):
                    self._check_usable(resource)
        if bad:
            client.refuse(key, response, bad)
            return
        if response.type_url == CLUSTER:
            self._check_nothing_broken(client.losses(response))
        before = set(client.sub(CLUSTER).held)
        client.accept(key, response)
        if response.type_url == CLUSTER:
            self._follow_clusters(before, response)
        self._ask_next(response.type_url)

    def _ask_next(self, accepted: str) -> None:
        """As Envoy starts: listeners when it has its clusters, routes when it has its listeners."""
        if accepted == CLUSTER and LISTENER not in self.client.subs:
            self.client.ask_all(LISTENER)
        elif accepted == LISTENER and ROUTE not in self.client.subs:
            self.client.ask(ROUTE, *ROUTES)

    def _follow_clusters(self, before: set[str], response: Response) -> None:
        client = self.client
        after = set(client.sub(CLUSTER).held)
        asked = client.sub(ENDPOINT).names
        # A warming cluster waits for its endpoints, so they come again with it.
        client.causes.update((ENDPOINT, r.name) for r in response.resources)
        lost = (before - after) & asked
        if lost:
            client.give_up(ENDPOINT, *lost)
            client.sub(ENDPOINT).answered -= lost
        if after - asked:
            client.ask(ENDPOINT, *(after - asked))

    # The client changes its mind

    @rule(name=CLUSTERS)
    def drop_endpoints_and_ask_again(self, name: str) -> None:
        if name in self.client.sub(ENDPOINT).names:
            self.client.give_up(ENDPOINT, name)
            self.client.ask(ENDPOINT, name)

    @rule(type_url=st.sampled_from(LOOSE), name=LOOSE_NAMES)
    def change_a_loose_subscription(self, type_url: str, name: str) -> None:
        if name in self.client.sub(type_url).names:
            self.client.give_up(type_url, name)
        else:
            self.client.ask(type_url, name)

    @rule(seconds=st.sampled_from([0.01, 0.3]))
    def time_passes(self, seconds: float) -> None:
        self.client.pass_time(seconds)

    @rule()
    def an_hour_passes_in_peace(self) -> None:
        self.settle()
        self.client.pass_time(3600)
        self.settle()

    # Accidents

    @precondition(lambda self: self.client.snapshot is not None)
    @rule(data=st.data(), one=st.booleans())
    def streams_break(self, data: st.DataObject, *, one: bool) -> None:
        client = self.client
        # State of the World does not tell what a client holds, so it cannot be spared a break between two worlds.
        if self.variant is Variant.SOTW:
            self.settle()
            assert client.snapshot is not None
            if client.sub(CLUSTER).held != client.snapshot.resources(CLUSTER):
                return
        self.came_back = True
        client.reconnect(data.draw(st.sampled_from(sorted(client.streams))) if one else None)
        # Nor can a server order what it was not asked for yet: clusters come first, in whatever way they are asked for.
        for key in client.with_requests():
            while (self.variant is Variant.SOTW or key[0] == CLUSTER) and client.streams[key].requests:
                client.deliver_request(key)

    # What must hold

    def _unchanged(self, response: Response) -> set[str]:
        held = self.client.sub(response.type_url).held
        return {r.name for r in response.resources if held.get(r.name) == r}

    def _check_causes(self, response: Response) -> None:
        client = self.client
        names = [r.name for r in response.resources]
        assert len(set(names)) == len(names), "a name came twice in one response"
        if client.is_full(response.type_url):
            return
        for name in self._unchanged(response):
            assert client.causes[response.type_url, name] > 0, f"{response.type_url} {name} came again for nothing"
            client.causes[response.type_url, name] -= 1

    def _check_usable(self, resource: Resource) -> None:
        client = self.client
        assert named_by(resource) <= client.sub(CLUSTER).held.keys(), "pointed at what it does not have"
        if self.streams is Streams.ONE:
            return
        assert client.snapshot is not None
        awaited = client.snapshot.resources(ENDPOINT).keys() - client.sub(ENDPOINT).answered
        assert not named_by(resource) & awaited, "pointed at a cluster that waits for its endpoints"

    def _check_nothing_broken(self, dropped: set[str]) -> None:
        for type_url in (LISTENER, ROUTE):
            for resource in self.client.sub(type_url).held.values():
                assert not named_by(resource) & dropped, f"{resource} lost what it points at"

    @rule()
    def settle(self) -> None:
        """Deliver all there is, until client and server are at rest, and compare."""
        client = self.client
        for _ in range(2000):
            if client.with_requests():
                client.deliver_request(client.with_requests()[0])
            elif client.with_responses():
                self._handle(client.with_responses()[0])
            elif (deadline := client.next_deadline()) is not None:
                assert deadline > client.now, "the core's deadline has passed"
                client.pass_time(deadline - client.now)
            else:
                break
        else:
            raise AssertionError("client and server never come to rest")
        if client.snapshot is not None:
            self._compare(client.snapshot)

    def _compare(self, snapshot: Snapshot) -> None:
        client = self.client
        refused = {r.name for r in snapshot.resources(ENDPOINT).values() if is_bad(r)}
        for type_url in (ENDPOINT, LISTENER, ROUTE, *LOOSE):
            sub = client.sub(type_url)
            for name, wanted in snapshot.resources(type_url).items():
                # What would lead to something it refused waits, while it has an older version to go on with.
                waits = name in sub.held and named_by(wanted) & refused
                if (sub.wildcard or name in sub.names) and not is_bad(wanted) and not waits:
                    assert sub.held.get(name) == wanted, f"{type_url} {name}"
        held = client.sub(CLUSTER).held
        wanted_clusters = snapshot.resources(CLUSTER)
        assert {n: held.get(n) for n in wanted_clusters} == dict(wanted_clusters)
        self._compare_leftovers(snapshot)

    def _compare_leftovers(self, snapshot: Snapshot) -> None:
        """What left the snapshot is kept for what the client has to go on with, and for nothing else."""
        outdated = [
            resource
            for type_url in (LISTENER, ROUTE)
            for resource in self.client.sub(type_url).held.values()
            if snapshot.resources(type_url).get(resource.name) != resource
        ]
        still_named = {name for resource in outdated for name in named_by(resource)}
        refused_routes = any(is_bad(r) for r in snapshot.resources(ROUTE).values())
        # Of what came from an earlier stream the server does not know what it names.
        unknown = outdated or (refused_routes and self.variant is Variant.SOTW)
        told = (CLUSTER, ENDPOINT, LISTENER, ROUTE, *LOOSE) if self.variant is Variant.DELTA else (CLUSTER, LISTENER)
        for type_url in told:
            left = self.client.sub(type_url).held.keys() - snapshot.resources(type_url).keys()
            kept = type_url in (CLUSTER, ENDPOINT) and (left <= still_named or (unknown and self.came_back))
            assert kept or not left, f"{type_url} {left} kept for nothing"


class SotwAds(ClientAndServer):
    variant, streams = Variant.SOTW, Streams.ONE


class SotwPerType(ClientAndServer):
    variant, streams = Variant.SOTW, Streams.PER_TYPE


class SotwPerResource(ClientAndServer):
    variant, streams = Variant.SOTW, Streams.PER_RESOURCE


class DeltaAds(ClientAndServer):
    variant, streams = Variant.DELTA, Streams.ONE


class DeltaPerType(ClientAndServer):
    variant, streams = Variant.DELTA, Streams.PER_TYPE


class DeltaPerResource(ClientAndServer):
    variant, streams = Variant.DELTA, Streams.PER_RESOURCE


_SETTINGS = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    # Not the phase that explains failures: it traces every line.
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow],
)

SotwAds.TestCase.settings = _SETTINGS
SotwPerType.TestCase.settings = _SETTINGS
SotwPerResource.TestCase.settings = _SETTINGS
DeltaAds.TestCase.settings = _SETTINGS
DeltaPerType.TestCase.settings = _SETTINGS
DeltaPerResource.TestCase.settings = _SETTINGS

TestSotwAds = SotwAds.TestCase
TestSotwPerType = SotwPerType.TestCase
TestSotwPerResource = SotwPerResource.TestCase
TestDeltaAds = DeltaAds.TestCase
TestDeltaPerType = DeltaPerType.TestCase
TestDeltaPerResource = DeltaPerResource.TestCase


@pytest.mark.parametrize("variant", list(Variant))
@pytest.mark.parametrize("streams", [Streams.PER_TYPE, Streams.PER_RESOURCE])
def test_on_separate_streams_a_new_route_waits_no_longer_than_the_phase_timeout_for_endpoints_that_never_come(
    variant: Variant, streams: Streams
) -> None:
    client = WireClient(variant, streams)
    client.ask_all(CLUSTER)
    client.ask(ENDPOINT, "c1")
    client.ask(ROUTE, "r1", "r2")
    first = (cluster("c1"), endpoints("c1"), route("r1", "c1"))
    client.publish(Snapshot.of(first))
    client.settle()
    client.pass_time(3600)
    # The client is slow to ask for the endpoints of c2.
    client.publish(Snapshot.of((*first, cluster("c2"), endpoints("c2"), route("r2", "c2"))))
    client.settle()
    assert client.sub(ROUTE).held.keys() == {"r1", "r2"}
    assert client.now <= 1000 + 3600 + 2 * PHASE_TIMEOUT
