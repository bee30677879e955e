"""What notices come to, in the engine's world: nothing is left by the deadline, and what is left serves on."""

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.admin.notices import Notice
from penstock.control.notice_drains import LONGEST_RAMP, MARGIN, Effects, effects, ramp, seen
from penstock.signals.notices import NoticeKind
from penstock_envoy import protos
from penstock_envoy.compiler import Compiler
from penstock_envoy.resource import ENDPOINT
from penstock_policies.decision import Decision, HealthState
from penstock_policies.engine import decide
from penstock_policies.overrides import Drain, Overrides
from penstock_policies.policyset import PolicySet
from tests.engine.engine_strategies import examples
from tests.engine.engine_world import EU, ONPREM, START, US, World, cluster, fleet, onprem, row, traffic

ADDRESSES = ("10.0.1.11", "10.0.1.12")
FIRST, SECOND = (f"{address}:8000" for address in ADDRESSES)


def with_addresses() -> PolicySet:
    """On-prem by addresses: only those are told to Envoy one by one."""
    endpoints = {"endpoints": [{"address": address, "port": 8000} for address in ADDRESSES]}
    return fleet(clusters=(onprem(more=endpoints), cluster(EU), cluster(US)), policies=(traffic(),))


@dataclass
class Noticed:
    """A world that heeds notices as the control plane does."""

    world: World
    notices: list[Notice] = field(default_factory=list)
    operators: dict[str, Drain] = field(default_factory=dict)

    def announce(self, after: float, endpoint: str = "", cluster: str = ONPREM, lasts: float = 900.0) -> Notice:
        now = self.world.now
        way = ramp(now + after, now)
        notice = Notice(
            id=f"n{len(self.notices)}",
            source="plain",
            event="",
            kind=NoticeKind.SPOT_INTERRUPTION,
            cluster=cluster,
            endpoint=endpoint,
            reason="spot",
            received_at=now,
            deadline=now + after,
            since=way.since,
            gone_at=way.gone_at,
            until=now + after + lasts,
            stated="",
        )
        self.notices.append(notice)
        return notice

    def effects(self) -> Effects:
        keys = {name: [each.key for each in one.spec.endpoints] for name, one in self.world.policy.clusters.items()}
        return effects(self.notices, keys, self.world.now)

    def tick(self, seconds: float = 1.0) -> Decision:
        world = self.world
        world.now += seconds
        asked = self.effects()
        observations = seen(world.observations(), asked.out, world.now)
        overrides = Overrides({**asked.drains, **self.operators})
        world.previous = decide(world.policy, observations, overrides, world.previous, world.now)
        return world.previous

    def share(self, name: str = ONPREM) -> int:
        return self.world.weights().get(name, 0)

    def sent_to(self, cluster_name: str = ONPREM) -> set[str]:
        """The endpoints that Envoy is told to send to."""
        assert self.world.previous is not None
        told: set[str] = set()
        for resource in Compiler().compile(
            self.world.policy, self.world.previous, next(iter(self.world.policy.groups))
        ):
            if resource.type_url == ENDPOINT and resource.name.startswith(cluster_name):
                assignment = protos.ClusterLoadAssignment()
                assignment.ParseFromString(resource.body)
                for each in assignment.endpoints[0].lb_endpoints:
                    address = each.endpoint.address.socket_address
                    if not each.health_status:
                        told.add(f"{address.address}:{address.port_value}")
        return told


def busy(rate: float = 100.0) -> Noticed:
    world = World(with_addresses())
    world.rates = {row(): rate}
    world.run(60)
    made = Noticed(world)
    assert made.share() == 10_000
    assert made.sent_to() == {FIRST, SECOND}
    return made


@pytest.mark.parametrize(
    ("left", "gone_after", "begins_after"),
    [(120, 110, 0), (30, 20, 0), (20, 10, 0), (8, 4, 0), (0, 0, 0), (-90, 0, 0), (7200, 7190, 7190 - LONGEST_RAMP)],
)
def test_a_ramp_ends_a_margin_before_the_deadline(left: float, gone_after: float, begins_after: float) -> None:
    way = ramp(START + left, START)
    assert (way.gone_at - START, way.since - START) == (gone_after, begins_after)


def test_a_deadline_that_moves_nearer_goes_on_from_the_share_that_is_left() -> None:
    begun = ramp(START + 120, START)
    moved = ramp(START + 60, START + 20, begun.since)
    assert (moved.since, moved.gone_at) == (START, START + 50)


@examples(25)
@given(left=st.floats(MARGIN + 0.5, 150.0), rate=st.sampled_from([5.0, 100.0, 300.0]))
@example(left=30.0, rate=300.0)
@example(left=700.0, rate=100.0)
def test_nothing_is_sent_to_a_cluster_by_its_deadline_however_near_and_busy(left: float, rate: float) -> None:
    made = Noticed(World(with_addresses()))
    made.world.rates = {row(): rate}
    made.world.run(60)
    notice = made.announce(left)
    while made.world.now < notice.gone_at:
        made.tick()
    made.tick()
    assert made.world.now < notice.deadline
    assert made.share() == 0
    decision = made.tick()
    assert ONPREM not in {name for legs in decision.rows[row()].legs.values() for name in legs}


def test_the_share_sinks_evenly_and_does_not_fall_off_a_cliff() -> None:
    made = busy()
    made.announce(30)
    shares = [10_000]
    for _ in range(20):
        made.tick()
        shares.append(made.share())
    steps = [before - after for before, after in pairwise(shares)]
    assert shares[-1] == 0
    assert max(steps) <= 700


def test_a_past_deadline_drains_at_once() -> None:
    made = busy()
    made.announce(-5)
    made.tick()
    assert made.share() == 0


def test_a_far_deadline_takes_nothing_yet() -> None:
    made = busy()
    notice = made.announce(7200)
    made.tick()
    assert made.share() == 10_000
    made.world.now = notice.since
    made.tick(LONGEST_RAMP / 2)
    assert 0 < made.share() < 10_000


def test_one_of_two_endpoints_is_taken_out_and_the_other_serves_on_with_half_the_capacity() -> None:
    made = busy()
    before = made.tick().clusters[ONPREM].capacity
    made.announce(120, FIRST)
    decision = made.tick()
    assert made.sent_to() == {SECOND}
    assert decision.clusters[ONPREM].capacity == pytest.approx(before / 2, rel=0.01)
    assert decision.health[ONPREM].state is HealthState.UP
    assert decision.draining == {}
    for _ in range(20):
        made.tick()
    assert 0 < made.share() < 10_000


def test_the_last_endpoints_stay_in_while_the_cluster_is_drained_by_their_deadline() -> None:
    made = busy()
    first, second = made.announce(120, FIRST), made.announce(120, SECOND)
    decision = made.tick()
    assert decision.health[ONPREM].state is HealthState.UP
    assert made.sent_to() == {FIRST, SECOND}
    while made.world.now < second.gone_at:
        made.tick()
    assert first.gone_at == second.gone_at
    assert made.share() == 0


def test_of_two_endpoints_the_one_that_goes_first_is_out_and_the_other_is_drained() -> None:
    made = busy()
    made.announce(60, FIRST)
    made.tick()
    second = made.announce(120, SECOND)
    decision = made.tick()
    assert made.sent_to() == {SECOND}
    assert 0 < decision.draining[ONPREM] < 1
    while made.world.now < second.gone_at:
        made.tick()
    assert made.share() == 0


def test_what_was_taken_out_comes_back_by_itself_when_its_notice_is_over() -> None:
    made = busy()
    made.announce(20, FIRST, lasts=30)
    for _ in range(49):
        made.tick()
    assert made.sent_to() == {SECOND}
    made.tick()
    made.tick()
    assert made.sent_to() == {FIRST, SECOND}


def test_a_machine_that_did_go_stays_out_by_its_probes() -> None:
    made = busy()
    made.announce(20, FIRST, lasts=30)
    made.world.failing = {FIRST}
    for _ in range(80):
        made.tick()
    assert made.sent_to() == {SECOND}


def test_several_notices_of_a_cluster_go_by_the_nearest_deadline() -> None:
    made = busy()
    made.announce(600)
    near = made.announce(30)
    while made.world.now < near.gone_at:
        made.tick()
    assert made.share() == 0


def test_a_silent_prober_is_still_seen_to_be_silent_under_a_notice() -> None:
    made = busy()
    made.announce(600, FIRST)
    made.tick()
    probes = made.world.observations().probes
    made.world.now += 60
    told = seen(made.world.observations().__class__(probes=probes), made.effects().out, made.world.now)
    assert max(probe.at for probe in told.probes[ONPREM].values()) < made.world.now - 50
