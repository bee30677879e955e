"""A new snapshot goes to a few first, and to all when those have accepted it."""

from typing import Any

import pytest

from penstock_xds import Resource, Variant
from penstock_xds.types import CLUSTER, ROUTE
from tests.xds.fleet import GROUP, UNIX_MINUS_MONOTONIC, Envoy, Fleet
from tests.xds.transcript import cluster, route

C = cluster("c")
STABLE = route("r1", "c")
NEW = route("r1", "c", content="new")


def fleet_of(count: int, variant: Variant = Variant.DELTA, **options: Any) -> Fleet:
    fleet = Fleet(**options)
    for _ in range(count):
        fleet.envoy(variant)
    fleet.publish(C, STABLE)
    fleet.settle()
    return fleet


def having(fleet: Fleet, resource: Resource) -> list[Envoy]:
    return [e for e in fleet.envoys if e.has(resource.type_url).get(resource.name) == resource]


def canaries(fleet: Fleet) -> list[Envoy]:
    (run,) = fleet.cache.rollouts()
    return [e for e in fleet.envoys if e.node_id in run.node_ids]


@pytest.mark.parametrize(("share", "expected"), [(0.1, 2), (0.01, 1), (1.0, 11)])
def test_a_share_of_the_streams_gets_it_first_and_all_when_those_accepted_it(share: float, expected: int) -> None:
    fleet = fleet_of(11)
    fleet.publish(C, NEW, canary=share)
    fleet.deliver()
    assert sum(bool(e.inbox) for e in fleet.envoys) == expected
    (run,) = fleet.cache.rollouts()
    assert run.group == GROUP
    assert run.share == share
    assert len(run.node_ids) == expected
    assert run.waiting_for == run.node_ids
    assert run.since == fleet.clock.now + UNIX_MINUS_MONOTONIC
    assert not run.stuck
    trying = canaries(fleet)
    for envoy in trying[:-1]:
        envoy.works()
    assert fleet.served().resources(ROUTE)["r1"] == STABLE
    trying[-1].works()
    assert fleet.cache.rollouts() == ()
    fleet.settle()
    assert having(fleet, NEW) == fleet.envoys


def test_the_choice_is_the_same_for_the_same_version_and_not_for_all() -> None:
    chosen = []
    for content in ("a", "b", "c", "d", "e", "f", "a"):
        fleet = fleet_of(10)
        fleet.publish(C, route("r1", "c", content=content), canary=0.1)
        chosen.append(canaries(fleet)[0].node_id)
    assert chosen[0] == chosen[-1]
    assert len(set(chosen)) > 1


def test_who_a_change_does_not_concern_is_no_canary() -> None:
    fleet = Fleet()
    for number in range(10):
        envoy = fleet.envoy(subscribed=number == 7)
        envoy.subscribes(ROUTE, "r1" if number == 7 else "r2")
    fleet.publish(C, STABLE)
    fleet.settle()
    fleet.publish(C, NEW, canary=0.3)
    assert canaries(fleet) == [fleet.envoys[7]]
    fleet.settle()
    assert fleet.served().resources(ROUTE)["r1"] == NEW


def test_what_concerns_nobody_is_served_at_once() -> None:
    fleet = fleet_of(2)
    fleet.publish(C, STABLE, route("r9", "c"), canary=0.5)
    assert fleet.cache.rollouts() == ()
    assert "r9" in fleet.served().resources(ROUTE)


def test_without_a_stream_or_before_anything_was_served_it_is_served_at_once() -> None:
    fleet = Fleet()
    fleet.publish(C, STABLE, canary=0.5)
    assert fleet.served().resources(ROUTE)["r1"] == STABLE
    fleet.publish(C, NEW, canary=0.5)
    assert fleet.served().resources(ROUTE)["r1"] == NEW
    assert fleet.cache.rollouts() == ()


def test_what_canaries_refuse_goes_to_nobody_and_the_good_rest_spreads() -> None:
    fleet = fleet_of(10)
    bad = route("r1", "c", content="!all")
    fleet.publish(cluster("c", "new"), bad, canary=0.2)
    fleet.settle()
    assert fleet.cache.rollouts() == ()
    assert having(fleet, STABLE) == fleet.envoys
    assert having(fleet, cluster("c", "new")) == fleet.envoys
    (refusal,) = fleet.cache.refusals()
    assert refusal.served_instead == STABLE.version
    assert len(refusal.node_ids) == 2
    assert sum(bool(r.resources) for e in fleet.envoys for r in e.unanswered.values()) == 0


def test_a_canary_that_leaves_is_not_waited_for() -> None:
    fleet = fleet_of(10)
    fleet.publish(C, NEW, canary=0.2)
    first, second = canaries(fleet)
    first.leaves()
    fleet.settle()
    assert NEW.version in second.holds(ROUTE).values()
    assert fleet.cache.rollouts() == ()


def test_when_all_canaries_left_others_are_tried() -> None:
    fleet = fleet_of(10)
    fleet.publish(C, NEW, canary=0.2)
    first = canaries(fleet)
    for envoy in first:
        envoy.leaves()
    second = canaries(fleet)
    assert len(second) == 2
    assert not set(second) & set(first)
    fleet.settle()
    assert fleet.cache.rollouts() == ()
    assert len(having(fleet, NEW)) == 8


def test_the_only_stream_is_a_canary_again_when_it_comes_back() -> None:
    fleet = fleet_of(1)
    fleet.publish(C, NEW, canary=0.5)
    fleet.envoys[0].leaves()
    assert fleet.cache.rollouts()[0].stuck
    fleet.envoys[0].comes_back()
    assert canaries(fleet) == fleet.envoys
    fleet.settle()
    assert fleet.cache.rollouts() == ()
    assert having(fleet, NEW) == fleet.envoys


def test_who_joins_meanwhile_gets_the_stable_state() -> None:
    fleet = fleet_of(10)
    fleet.publish(C, NEW, canary=0.1)
    newcomer = fleet.envoy()
    for _ in range(5):
        newcomer.works()
    assert newcomer.has(ROUTE)["r1"] == STABLE
    fleet.settle()
    assert newcomer.has(ROUTE)["r1"] == NEW


def test_a_canary_that_never_answers_is_replaced_by_another() -> None:
    fleet = fleet_of(4, canary_timeout=30.0)
    fleet.publish(C, NEW, canary=0.25)
    (hung,) = canaries(fleet)
    hung.deaf = True
    fleet.settle()
    fleet.pass_time(29.0)
    fleet.settle()
    assert fleet.served().resources(ROUTE)["r1"] == STABLE
    fleet.pass_time(1.5)
    assert len(canaries(fleet)) == 2
    fleet.settle()
    assert fleet.cache.rollouts() == ()
    assert set(having(fleet, NEW)) == set(fleet.envoys) - {hung}


def test_if_nobody_answers_nothing_spreads_and_it_stays_in_sight() -> None:
    fleet = fleet_of(3, canary_timeout=30.0)
    for envoy in fleet.envoys:
        envoy.deaf = True
    fleet.publish(C, NEW, canary=0.5)
    for _ in range(4):
        fleet.settle()
        fleet.pass_time(30.0)
    (run,) = fleet.cache.rollouts()
    assert run.stuck
    assert run.waiting_for == ("n0", "n1", "n2")
    assert fleet.served().resources(ROUTE)["r1"] == STABLE
    assert fleet.clock.pending() == []
    # A newcomer can still prove it.
    fleet.envoy()
    fleet.settle()
    assert fleet.cache.rollouts() == ()
    assert fleet.served().resources(ROUTE)["r1"] == NEW


def test_a_late_acceptance_counts() -> None:
    fleet = fleet_of(1, canary_timeout=30.0)
    fleet.publish(C, NEW, canary=0.5)
    fleet.deliver()
    fleet.pass_time(31.0)
    assert fleet.cache.rollouts()[0].stuck
    fleet.settle()
    assert fleet.cache.rollouts() == ()
    assert fleet.served().resources(ROUTE)["r1"] == NEW


def test_a_newer_publication_takes_its_place() -> None:
    fleet = fleet_of(10)
    fleet.publish(C, NEW, canary=0.1)
    (first,) = canaries(fleet)
    newer = route("r1", "c", content="newer")
    fleet.publish(C, newer, canary=0.2)
    assert first in canaries(fleet)
    assert len(canaries(fleet)) == 2
    newest = route("r1", "c", content="newest")
    fleet.publish(C, newest)
    assert fleet.cache.rollouts() == ()
    fleet.settle()
    assert having(fleet, newest) == fleet.envoys


def test_publishing_the_stable_state_again_calls_it_off() -> None:
    fleet = fleet_of(10)
    fleet.publish(C, NEW, canary=0.1)
    fleet.deliver()
    fleet.publish(C, STABLE, canary=0.1)
    assert fleet.cache.rollouts() == ()
    fleet.settle()
    assert having(fleet, STABLE) == fleet.envoys


def test_publishing_it_again_without_canaries_spreads_it_at_once() -> None:
    fleet = fleet_of(10)
    fleet.publish(C, NEW, canary=0.1)
    fleet.publish(C, NEW, canary=0.1)
    assert len(fleet.cache.rollouts()) == 1
    fleet.publish(C, NEW)
    assert fleet.served().resources(ROUTE)["r1"] == NEW


def test_a_removal_alone_is_served_at_once_as_nobody_can_refuse_it() -> None:
    fleet = fleet_of(4)
    fleet.publish(C, cluster("d"), STABLE)
    fleet.settle()
    fleet.publish(C, STABLE, canary=0.25)
    assert fleet.cache.rollouts() == ()
    assert fleet.served().resources(CLUSTER).keys() == {"c"}


def test_streams_of_one_node_that_opens_one_per_type_are_canaries_together() -> None:
    fleet = fleet_of(5)
    watched: dict[str, list[str]] = {}

    class Wants:
        def confirmed(self, type_url: str, name: str) -> str | None:
            return None

        def subscribes(self, type_url: str, name: str) -> bool:
            return True

    for node in ("a", "b", "c"):
        for kind in ("clusters", "routes"):
            seen = watched.setdefault(node, [])
            fleet.cache.join(
                "other",
                f"{node} {kind}",
                lambda s, seen=seen: seen.append(s.resources(ROUTE)["r1"].version),  # type: ignore[misc]
                node_id=node,
                client=Wants(),
                aggregated=False,
            )
    snapshot = fleet.served()
    fleet.cache.publish("other", snapshot)
    fleet.publish(C, NEW)
    fleet.cache.publish("other", fleet.served(), canary=0.1)
    assert sorted(seen.count(NEW.version) for seen in watched.values()) == [0, 0, 2]


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="canary"):
        Fleet().publish(C, canary=share)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_a_timeout_out_of_range_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="canary_timeout"):
        Fleet(canary_timeout=seconds)
