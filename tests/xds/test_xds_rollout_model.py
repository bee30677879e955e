"""Random groups of model Envoys, each refusing some content, with publications, canaries, reconnects and releases.

Whatever happens:

* nobody is sent a version while it is quarantined, but what it holds or was sent already;
* no target points a route or listener at a cluster that is not in it, if there is an older version that would not;
* once all is quiet, everybody who refuses nothing has the newest of everything that is neither quarantined nor
  held back, and of what is quarantined what is said to be served instead, or something newer that it accepted.
"""

import re
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from penstock_xds import Resource, Snapshot
from penstock_xds.core.messages import Response
from penstock_xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from tests.xds.fleet import GROUP, Envoy, Fleet
from tests.xds.transcript import cluster, endpoints, listener, route

NAMES = st.sampled_from(["c1", "c2", "c3"])
CONTENT = st.sampled_from(["", "x", "y", "!all", "!n0", "!n1 z"])
ENVOYS = 3


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Resource, ...]:
    names = draw(st.lists(NAMES, unique=True, min_size=1))
    some = st.lists(st.sampled_from(names), unique=True)
    routes = draw(st.lists(st.sampled_from(["r1", "r2"]), unique=True))
    return (
        *(cluster(n, draw(CONTENT)) for n in names),
        *(endpoints(n, draw(CONTENT)) for n in names if draw(st.booleans())),
        *(listener("l", *draw(some), content=draw(CONTENT)) for _ in range(draw(st.integers(0, 1)))),
        *(route(n, *draw(some), content=draw(CONTENT)) for n in routes),
    )


def clusters_named_by(resource: Resource) -> set[str]:
    return set(re.findall(r"<(c\d)>", resource.body.decode()))


class Group(RuleBasedStateMachine):
    options: dict[str, Any]

    def __init__(self) -> None:
        super().__init__()
        self.fleet = Fleet(**self.options)
        self.newest: Snapshot | None = None
        self.accepted: dict[tuple[str, str], dict[str, Resource]] = {}

    @initialize()
    def connect(self) -> None:
        for _ in range(ENVOYS):
            envoy = self.fleet.envoy()
            envoy.watch_sends = self.check_sent
            envoy.watch_targets = self.check_target

    @rule(world=worlds(), canary=st.sampled_from([0.0, 0.0, 0.3, 0.7]))
    def publish(self, world: tuple[Resource, ...], canary: float) -> None:
        self.newest = self.fleet.publish(*world, canary=canary)

    @rule(number=st.integers(0, ENVOYS - 1))
    def work(self, number: int) -> None:
        self.fleet.envoys[number].works()

    @rule()
    def deliver(self) -> None:
        self.fleet.deliver()

    @rule(number=st.integers(0, ENVOYS - 1))
    def reconnect(self, number: int) -> None:
        self.fleet.envoys[number].comes_back()

    @rule(number=st.integers(0, ENVOYS - 1))
    def leave(self, number: int) -> None:
        if self.fleet.envoys[number].membership is not None:
            self.fleet.envoys[number].leaves()

    @precondition(lambda self: self.fleet.cache.refusals())
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        refusal = data.draw(st.sampled_from(self.fleet.cache.refusals()))
        assert self.fleet.cache.release(GROUP, refusal.type_url, refusal.name, refusal.version)

    def check_sent(self, envoy: Envoy, response: Response) -> None:
        banned = {(r.type_url, r.name, r.version) for r in self.fleet.cache.refusals()}
        held = envoy.has(response.type_url)
        sent = {r for other in (*envoy.inbox, *envoy.unanswered.values()) for r in other.resources}
        for resource in response.resources:
            if (resource.type_url, resource.name, resource.version) in banned:
                assert held.get(resource.name) == resource or resource in sent, f"{resource} was sent again"

    @invariant()
    def remember_what_was_accepted(self) -> None:
        for envoy in self.fleet.envoys:
            for type_url in (CLUSTER, ENDPOINT, LISTENER, ROUTE):
                for resource in envoy.has(type_url).values():
                    self.accepted.setdefault((type_url, resource.name), {})[resource.version] = resource

    def check_target(self, envoy: Envoy, target: Snapshot) -> None:
        clusters = target.resources(CLUSTER)
        self.remember_what_was_accepted()
        refused = {(r.type_url, r.name, r.version) for r in self.fleet.told.quarantined}
        refused |= {(r.type_url, r.name, r.version) for r in self.fleet.cache.refusals()}
        for type_url in (LISTENER, ROUTE):
            for resource in target.resources(type_url).values():
                missing = clusters_named_by(resource) - clusters.keys()
                # Whoever holds what is left out for others is served all of it.
                missing -= envoy.has(CLUSTER).keys()
                for name in missing:
                    # Nor is there any version of it that could be served.
                    servable = [v for v in self.accepted.get((CLUSTER, name), ()) if (CLUSTER, name, v) not in refused]
                    assert (CLUSTER, name) in target.tolerated or not servable, f"{resource} leads nowhere"

    @rule()
    def settle(self) -> None:
        for envoy in self.fleet.envoys:
            if envoy.membership is None:
                envoy.comes_back()
        self.fleet.settle()
        for _ in range(4):
            if self.fleet.cache.rollouts():
                self.fleet.pass_time(61.0)
                self.fleet.settle()
        if self.newest is None:
            return
        assert self.fleet.cache.rollouts() == ()
        self.remember_what_was_accepted()
        for envoy in self.fleet.envoys:
            self._check_settled(envoy, self.newest)

    def _check_settled(self, envoy: Envoy, newest: Snapshot) -> None:
        refusals = {(r.type_url, r.name): r for r in self.fleet.cache.refusals()}
        held_back = {key for r in refusals.values() for key in r.held_back}
        for type_url in (CLUSTER, ENDPOINT, LISTENER, ROUTE):
            for name, wanted in newest.resources(type_url).items():
                held = envoy.has(type_url).get(name)
                if not envoy.core.subscribes(type_url, name):
                    continue
                refusal = refusals.get((type_url, name))
                if refusal is not None:
                    if envoy.refuses(wanted):
                        assert held != wanted
                    elif held is not None and held != wanted:
                        assert not envoy.refuses(held)
                    if refusal.served_instead and not self._refuses_version(envoy, type_url, name, refusal):
                        assert held is not None, f"{type_url} {name} was lost"
                elif envoy.refuses(wanted):
                    assert held != wanted
                elif (type_url, name) not in held_back and not self._waits(envoy, wanted):
                    assert held == wanted, f"{envoy.node_id} has {held}, not {wanted}"

    def _waits(self, envoy: Envoy, wanted: Resource) -> bool:
        """What leads to something this very client refused, or that is left out, and has nothing of waits."""
        if wanted.type_url not in (LISTENER, ROUTE):
            return False
        left_out = {r.name for r in self.fleet.cache.refusals() if r.type_url == ENDPOINT and not r.served_instead}
        lacking = clusters_named_by(wanted) & left_out - envoy.has(ENDPOINT).keys()
        return (
            bool(lacking)
            or not clusters_named_by(wanted) <= envoy.has(CLUSTER).keys()
            or any(v.refused for v in envoy.core.views() if v.type_url in (CLUSTER, ENDPOINT))
        )

    def _refuses_version(self, envoy: Envoy, type_url: str, name: str, refusal: Any) -> bool:
        served = self.accepted.get((type_url, name), {}).get(refusal.served_instead)
        return served is not None and envoy.refuses(served)


class StrictGroup(Group):
    options = {}  # noqa: RUF012  # read only


class TolerantGroup(Group):
    options = {"refusal_tolerance": 0.4}  # noqa: RUF012  # read only


_SETTINGS = settings(
    max_examples=80,
    report_multiple_bugs=False,
    stateful_step_count=30,
    deadline=None,
    # The same examples every time: what a search at random finds belongs in a test of its own.
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)

StrictGroup.TestCase.settings = _SETTINGS
TolerantGroup.TestCase.settings = _SETTINGS

TestStrictGroup = StrictGroup.TestCase
TestTolerantGroup = TolerantGroup.TestCase
