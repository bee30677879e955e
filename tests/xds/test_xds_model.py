"""Random clients, publishers and accidents against a simple model.

The client behaves as Envoy does: it asks for all clusters and listeners, for the endpoints of the clusters it has and
for two routes. It takes responses in order but when it likes, and refuses resources whose content is bad. Whatever
happens:

* a route or listener it accepts names only clusters it has (never a route before its cluster);
* a cluster it has to drop is named by nothing it holds (never break before make);
* nothing is sent twice unchanged without a cause;
* once all is quiet it holds exactly what it subscribes to, but for what it refused.
"""

import re

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from penstock_xds import Resource, Variant
from penstock_xds.core.messages import Response
from penstock_xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from tests.xds.transcript import Client, cluster, endpoints, listener, route

NAMES = st.sampled_from(["c1", "c2", "c3", "c4"])
CONTENT = st.sampled_from(["", "x", "y"])
CONTENT_OR_BAD = st.sampled_from(["", "x", "y", "BAD"])


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Resource, ...]:
    names = draw(st.lists(NAMES, unique=True, min_size=1))
    some = st.lists(st.sampled_from(names), unique=True)
    routes = draw(st.lists(st.sampled_from(["r1", "r2"]), unique=True))
    return (
        *(cluster(n, draw(CONTENT)) for n in names),
        *(endpoints(n, draw(CONTENT_OR_BAD)) for n in names if draw(st.booleans())),
        *(listener(n, *draw(some), content=draw(CONTENT)) for n in draw(st.lists(st.just("l"), max_size=1))),
        *(route(n, *draw(some), content=draw(CONTENT_OR_BAD)) for n in routes),
    )


def named_by(resource: Resource) -> set[str]:
    return set(re.findall(r"<(c\d)>", resource.body.decode()))


class EnvoyAndServer(RuleBasedStateMachine):
    variant: Variant

    def __init__(self) -> None:
        super().__init__()
        self.client = Client(self.variant)
        self.may_resend: set[tuple[str, str]] = set()
        self.came_back = False

    @initialize()
    def connect(self) -> None:
        self.client.subscribes(CLUSTER)
        self.client.subscribes(LISTENER)
        self.client.subscribes(ROUTE, "r1", "r2")
        self.may_resend |= {(ROUTE, "r1"), (ROUTE, "r2")}

    @rule(world=worlds())
    def publish(self, world: tuple[Resource, ...]) -> None:
        if self.variant is Variant.SOTW:
            # It cannot tell a client that a route is gone: routes end with the listener that names them.
            routes = {r.name for r in world if r.type_url == ROUTE}
            world += tuple(route(n) for n in ("r1", "r2") if n not in routes)
        self.client.publishes(*world)

    @precondition(lambda self: self.client.inbox)
    @rule()
    def handle_next(self) -> None:
        client = self.client
        response = client.takes_next()
        type_url = response.type_url
        self._check_cause(response)
        bad = [r.name for r in response.resources if b"BAD" in r.body]
        if bad:
            # Envoy keeps what it had, but for the good ones of the same response.
            good = [r for r in response.resources if b"BAD" not in r.body]
            client.nacks(type_url, f"bad: {', '.join(bad)}")
            client.has(type_url).update({r.name: r for r in good})
            return
        if type_url == CLUSTER:
            self._check_nothing_broken(response)
        elif type_url in (LISTENER, ROUTE):
            for resource in response.resources:
                assert named_by(resource) <= client.has(CLUSTER).keys(), "pointed at what it does not have"
        before = set(client.has(CLUSTER))
        client.acks(type_url)
        if type_url == CLUSTER:
            self._follow_clusters(before, response)

    def _follow_clusters(self, before: set[str], response: Response) -> None:
        after = set(self.client.has(CLUSTER))
        # A warming cluster waits for its endpoints, so they may come again with every cluster sent.
        self.may_resend |= {(ENDPOINT, r.name) for r in response.resources}
        if after - before:
            self.client.subscribes(ENDPOINT, *sorted(after - before))
        if before - after:
            self.client.unsubscribes(ENDPOINT, *sorted(before - after))

    @rule(name=NAMES)
    def drop_and_ask_again(self, name: str) -> None:
        held = self.client.types.get(ENDPOINT)
        if held is not None and name in held.names:
            self.client.unsubscribes(ENDPOINT, name)
            self.client.subscribes(ENDPOINT, name)
            self.may_resend.add((ENDPOINT, name))

    @rule(seconds=st.sampled_from([0.01, 0.3]))
    def wait_a_little(self, seconds: float) -> None:
        self.client.time_passes(seconds)

    @precondition(lambda self: self.client.snapshot is not None)
    @rule()
    def reconnect(self) -> None:
        client = self.client
        # State of the World does not tell what the client holds, so it cannot be spared a break between two worlds.
        if self.variant is Variant.SOTW:
            self.settle()
            assert client.snapshot is not None
            if client.has(CLUSTER) != client.snapshot.resources(CLUSTER):
                return
            # Nor that it holds anything, of a type whose every response it refused in part.
            if any(held.resources and not held.version for held in client.types.values()):
                return
            self.may_resend |= {(t, n) for t in (ENDPOINT, ROUTE) for n in client.has(t)}
        self.came_back = True
        client.reconnects()
        client.resubscribes(*(t for t in (CLUSTER, ENDPOINT, LISTENER, ROUTE) if t in client.types))

    def _check_cause(self, response: Response) -> None:
        """Every resource sent is news, or is sent again for a cause."""
        held = self.client.has(response.type_url)
        full = self.variant is Variant.SOTW and response.type_url in (CLUSTER, LISTENER)
        for resource in response.resources:
            key = (response.type_url, resource.name)
            if held.get(resource.name) == resource and not full and response.type_url != ENDPOINT:
                assert key in self.may_resend, f"{resource} was sent again for nothing"

    def _check_nothing_broken(self, response: Response) -> None:
        dropped = set(self.client.loses(response))
        for type_url in (LISTENER, ROUTE):
            if type_url in self.client.types:
                for resource in self.client.has(type_url).values():
                    assert not named_by(resource) & dropped, f"{resource} lost what it points at"

    @rule()
    def settle(self) -> None:
        """Let the client catch up with everything, and compare."""
        for _ in range(200):
            if self.client.inbox:
                self.handle_next()
            elif self.client.core.next_deadline() is not None:
                self.client.time_comes()
            else:
                break
        else:
            raise AssertionError("client and server never come to rest")
        self._compare()

    def _compare(self) -> None:
        client, snapshot = self.client, self.client.snapshot
        if snapshot is None:
            return
        refused = {r.name for r in snapshot.resources(ENDPOINT).values() if b"BAD" in r.body}
        for type_url in (ENDPOINT, LISTENER, ROUTE):
            held = client.types.get(type_url)
            if held is None:
                continue
            for name, wanted in snapshot.resources(type_url).items():
                # What would lead to something it refused waits, while it has an older version to go on with.
                waits = name in held.resources and named_by(wanted) & refused
                if (held.wildcard or name in held.names) and b"BAD" not in wanted.body and not waits:
                    assert held.resources.get(name) == wanted
        clusters = client.has(CLUSTER)
        wanted_clusters = snapshot.resources(CLUSTER)
        assert {n: clusters.get(n) for n in wanted_clusters} == dict(wanted_clusters)
        outdated = [
            resource
            for type_url in (LISTENER, ROUTE)
            for resource in client.has(type_url).values()
            if snapshot.resources(type_url).get(resource.name) != resource
        ]
        still_named = {name for resource in outdated for name in named_by(resource)}
        # What an outdated resource from an earlier stream names is not known, so everything is kept for it; and in
        # State of the World not even whether there is one, if the server's own was refused.
        refused_routes = any(b"BAD" in r.body for r in snapshot.resources(ROUTE).values())
        unknown = outdated or (refused_routes and self.variant is Variant.SOTW)
        assert clusters.keys() - wanted_clusters.keys() <= still_named or (unknown and self.came_back)

    @invariant()
    def never_more_said_than_asked(self) -> None:
        for response in self.client.inbox:
            held = self.client.types[response.type_url]
            assert len({r.name for r in response.resources}) == len(response.resources)
            assert held.asked


class SotwEnvoy(EnvoyAndServer):
    variant = Variant.SOTW


class DeltaEnvoy(EnvoyAndServer):
    variant = Variant.DELTA


_SETTINGS = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    # Not the phase that explains failures: it traces every line.
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow],
)

SotwEnvoy.TestCase.settings = _SETTINGS
DeltaEnvoy.TestCase.settings = _SETTINGS
TestSotwModel = SotwEnvoy.TestCase
TestDeltaModel = DeltaEnvoy.TestCase
