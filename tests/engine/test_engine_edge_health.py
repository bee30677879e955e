"""Clusters probed from the edge have a health for each region: what one region cannot reach, others go on using."""

from dataclasses import replace

import pytest

from penstock_policies.decision import Decision, HealthState
from penstock_policies.engine import decide, optimum
from penstock_policies.engine.suppositions import parse_suppositions
from penstock_policies.engine.verify import VerifyError, verify
from penstock_policies.engine.whatif import World as Supposed
from penstock_policies.engine.whatif import placement
from penstock_policies.observations import EndpointProbe, Load, Observations
from penstock_policies.observations_serial import observations_from_json, observations_to_json
from penstock_policies.overrides import Overrides
from penstock_policies.serial import from_json, material_digest, to_json
from tests.engine.edge_world import EAST, WEST, EdgeWorld, busy, edge_fleet
from tests.engine.engine_world import EU, ONPREM, START, US, World, fleet, row, traffic

UP, PROBATION, RAMP, DOWN = HealthState.UP, HealthState.PROBATION, HealthState.RAMP, HealthState.DOWN


def notes_of(decision: Decision, message: str) -> list[dict[str, str | float | int]]:
    return [dict(note.fields) for note in decision.notes if note.message == message]


def test_a_cluster_out_of_reach_of_one_region_gets_nothing_from_there_and_goes_on_for_the_others() -> None:
    world = busy(EdgeWorld())
    world.run(5)
    assert world.share(WEST, ONPREM) > 0
    assert world.share(EAST, ONPREM) > 0
    world.unreachable = {WEST: {ONPREM}}
    decision = world.tick()
    assert (world.seen(WEST, ONPREM).state, world.seen(EAST, ONPREM).state) == (DOWN, UP)
    assert world.share(WEST, ONPREM) == 0
    assert world.share(EAST, ONPREM) > 0
    assert decision.rows[row("chat", WEST)].excluded[ONPREM].startswith("down: 2 of 2 endpoints fail their probes")
    assert ONPREM not in decision.rows[row("chat", EAST)].excluded
    assert decision.frozen == ""
    assert decision.frozen_regions == {}


def test_what_one_region_cannot_reach_keeps_its_capacity_for_the_others() -> None:
    world = busy(EdgeWorld(), rate=60)
    world.run(5)
    assert world.previous is not None
    whole = world.previous.clusters[ONPREM].capacity
    world.unreachable = {WEST: {ONPREM}}
    decision = world.run(5)
    assert decision.clusters[ONPREM].capacity == whole
    assert decision.health[ONPREM].state is UP
    assert decision.health[ONPREM].reason == f"DOWN from {WEST}"
    # What the region that lost it leaves free is there for the other one.
    assert world.share(EAST, ONPREM) == 1.0


def test_an_endpoint_is_lost_to_the_fleet_only_if_no_region_reaches_it() -> None:
    world = EdgeWorld()
    world.run(3)
    assert world.previous is not None
    whole = world.previous.clusters[ONPREM].capacity
    first = f"{ONPREM}-0.example.com:8000"
    world.unreachable = {WEST: {first}}
    assert world.tick().clusters[ONPREM].capacity == whole
    assert world.seen(WEST, ONPREM).unhealthy_endpoints == (first,)
    assert world.seen(EAST, ONPREM).unhealthy_endpoints == ()
    world.unreachable = {WEST: {first}, EAST: {first}}
    assert world.tick().clusters[ONPREM].capacity == pytest.approx(whole / 2)


def test_a_region_comes_back_by_its_own_ramp() -> None:
    world = busy(EdgeWorld())
    world.unreachable = {WEST: {ONPREM}}
    world.run(10)
    world.unreachable = {}
    world.tick()
    assert world.seen(WEST, ONPREM).state is PROBATION
    assert world.share(WEST, ONPREM) <= 0.01
    assert world.share(EAST, ONPREM) > 0.9
    shares = [world.share(WEST, ONPREM)]
    for _ in range(90):
        world.tick()
        assert world.share(WEST, ONPREM) <= world.seen(WEST, ONPREM).ceiling
        shares.append(world.share(WEST, ONPREM))
    assert world.seen(WEST, ONPREM).state is UP
    assert shares == sorted(shares)
    assert shares[-1] > 0.9


def test_a_region_from_which_most_clusters_fail_is_itself_cut_off_and_frozen() -> None:
    # Too few requests to prove anything: where they do, they are believed.
    world = busy(EdgeWorld(), rate=0.5)
    before = world.run(5)
    world.unreachable = {WEST: {ONPREM, EU}}
    decision = world.tick()
    assert decision.frozen == ""
    assert "2 of 3 clusters failed together" in decision.frozen_regions[WEST]
    assert EAST not in decision.frozen_regions
    key = row("chat", WEST)
    assert decision.rows[key].weights == before.rows[key].weights
    assert "held because probes of 2 of 3" in decision.rows[key].reason
    assert all(decision.edge_health[WEST][name].state is UP for name in (ONPREM, EU, US))
    # A minute on it still is, and the other region follows its prices all the while.
    world.prices[US] = 0.01
    decision = world.run(60)
    assert decision.rows[key].weights == before.rows[key].weights
    assert "held" not in decision.rows[row("chat", EAST)].reason
    world.unreachable = {}
    assert world.tick().frozen_regions == {}


def test_what_fails_from_everywhere_is_down_however_many_there_are() -> None:
    world = busy(EdgeWorld())
    world.run(5)
    world.unreachable = {WEST: {ONPREM, EU}, EAST: {ONPREM, EU}}
    decision = world.tick()
    assert decision.frozen_regions == {}
    for region in (WEST, EAST):
        assert world.share(region, US) == 1.0
    assert decision.health[ONPREM].state is DOWN
    assert decision.health[US].state is UP


def test_when_everything_fails_from_everywhere_the_probing_is_doubted() -> None:
    world = busy(EdgeWorld(), rate=0.5)
    before = world.run(5)
    world.failing = {ONPREM, EU, US}
    decision = world.tick()
    assert set(decision.frozen_regions) == {WEST, EAST}
    assert {key: one.weights for key, one in decision.rows.items()} == {
        key: one.weights for key, one in before.rows.items()
    }


def test_two_regions_of_three_that_lose_most_clusters_are_cut_off_together() -> None:
    policy = edge_fleet()
    third = "eu-north"
    world = EdgeWorld(replace(policy, groups={**policy.groups, **fleet(regions=(third,)).groups}))
    world.run(3)
    world.unreachable = {WEST: {ONPREM, EU}, third: {ONPREM, EU}}
    decision = world.tick()
    assert set(decision.frozen_regions) == {WEST, third}
    assert decision.edge_health[EAST][ONPREM].state is UP


def test_the_requests_of_a_region_outrank_its_probes_and_nobody_elses() -> None:
    world = busy(EdgeWorld())
    world.run(5)
    world.unreachable = {WEST: {ONPREM}, EAST: {ONPREM}}
    seen = world.observations()
    # Requests from the west succeed at on-prem, those from the east all fail.
    well = Load(world.now + 1, 5, request_rate=20, error_rate=0, success_rate=20)
    ill = replace(well, error_rate=20, success_rate=0)
    seen = replace(seen, load={WEST: {ONPREM: well}, EAST: {ONPREM: ill}})
    decision = decide(world.policy, seen, Overrides(), world.previous, world.now + 1)
    assert decision.edge_health[WEST][ONPREM].state is UP
    assert decision.edge_health[EAST][ONPREM].state is DOWN
    [kept] = notes_of(decision, "probes fail but requests succeed, kept")
    assert kept == {"region": WEST, "cluster": ONPREM}


def test_requests_that_fail_from_one_region_bring_a_green_cluster_down_there_alone() -> None:
    world = busy(EdgeWorld())
    world.run(5)
    for _ in range(6):
        world.now += 1
        seen = world.observations()
        failing = Load(world.now, 5, request_rate=20, error_rate=20, success_rate=0)
        seen = replace(seen, load={**seen.load, WEST: {ONPREM: failing}})
        world.previous = decide(world.policy, seen, Overrides(), world.previous, world.now)
    assert world.seen(WEST, ONPREM).state is DOWN
    assert world.seen(WEST, ONPREM).reason.startswith("requests fail though probes succeed")
    assert world.seen(EAST, ONPREM).state is UP
    assert world.share(WEST, ONPREM) == 0
    assert world.share(EAST, ONPREM) > 0.9


def test_a_region_without_checkers_is_served_and_says_so() -> None:
    world = busy(EdgeWorld(unchecked={WEST}))
    assert notes_of(world.run(5), "no Envoy of the region probes these, taken as they were") == []
    decision = world.run(40)
    assert world.share(WEST, ONPREM) > 0.9
    assert world.seen(WEST, ONPREM).reason == "not probed yet"
    [said] = notes_of(decision, "no Envoy of the region probes these, taken as they were")
    assert said == {"region": WEST, "clusters": f"{EU}, {US}, {ONPREM}"}


def test_a_region_whose_checkers_fall_silent_holds_what_it_knew() -> None:
    world = busy(EdgeWorld())
    world.unreachable = {WEST: {ONPREM}}
    world.run(5)
    world.heard = {WEST: world.now}
    world.run(60)
    assert world.seen(WEST, ONPREM).state is DOWN
    assert world.seen(WEST, EU).state is UP
    world.unreachable, world.heard = {}, {}
    world.run(60)
    assert world.seen(WEST, ONPREM).state is UP


def test_a_region_of_which_nothing_is_heard_any_more_is_held() -> None:
    world = busy(EdgeWorld())
    world.run(5)
    world.heard, world.rates = {WEST: world.now}, {row("chat", EAST): 20.0}
    world.run(40)
    seen = replace(world.observations(), load={EAST: world.observations().load[EAST]})
    decision = decide(world.policy, seen, Overrides(), world.previous, world.now + 1)
    assert decision.frozen_regions == {WEST: "every probe and load report is stale"}


def test_restricted_traffic_stays_where_it_may_even_if_a_region_cannot_reach_it() -> None:
    world = busy(EdgeWorld())
    world.unreachable = {WEST: {ONPREM}}
    decision = world.run(5)
    # Nobody else may serve it: it is held there, and refused by Envoy if really nobody answers.
    assert decision.rows[row("records", WEST)].weights == {ONPREM: 10_000}
    assert decision.rows[row("records", WEST)].legs == {ONPREM: (ONPREM,)}


def test_clusters_of_both_kinds_do_not_judge_one_another() -> None:
    world = busy(EdgeWorld(edge_fleet(edge=(EU, US))))
    assert set(world.run(3).edge_health[WEST]) == {EU, US}
    world.failing = world.erring = {ONPREM}
    decision = world.tick()
    # By itself it is the only one the control plane probes, so nothing failed together.
    assert decision.health[ONPREM].state is DOWN
    assert decision.frozen == ""
    for region in (WEST, EAST):
        assert world.share(region, ONPREM) == 0
        assert world.share(region, EU) + world.share(region, US) == pytest.approx(1)


def test_a_cluster_that_was_down_stays_so_when_it_is_probed_from_the_edge_from_now_on() -> None:
    plain = EdgeWorld(edge_fleet(edge=()))
    plain.failing = {ONPREM}
    plain.run(3)
    world = EdgeWorld(edge_fleet(edge=(ONPREM,)), previous=plain.previous, now=plain.now, unchecked={WEST, EAST})
    world.run(5)
    assert world.seen(WEST, ONPREM).state is DOWN


def test_decisions_by_region_are_written_and_read_and_others_read_as_before() -> None:
    world = busy(EdgeWorld(), rate=0.5)
    world.unreachable = {WEST: {ONPREM, EU}}
    decision = world.run(5)
    assert from_json(to_json(decision)) == decision
    seen = world.observations()
    assert observations_from_json(observations_to_json(seen)) == seen
    plain = World(fleet())
    for word in ("edge_health", "frozen_regions", "edge_outcomes"):
        assert word in to_json(decision)
        assert word not in to_json(plain.tick())
    assert "edge_probes" not in observations_to_json(plain.observations())


def test_what_a_region_sees_is_material() -> None:
    world = busy(EdgeWorld())
    quiet = world.run(5)
    first = f"{EU}-0.example.com:8000"
    world.unreachable = {WEST: {first}}
    noticed = world.tick()
    assert {key: one.weights for key, one in quiet.rows.items()} == {
        key: one.weights for key, one in noticed.rows.items()
    }
    assert material_digest(noticed) != material_digest(quiet)


def test_no_decision_gives_weight_to_what_is_down_for_its_region() -> None:
    world = busy(EdgeWorld())
    world.unreachable = {WEST: {ONPREM}}
    decision = world.run(3)
    verify(world.policy, decision)
    key = row("chat", WEST)
    east = decision.rows[row("chat", EAST)].weights
    wrong = replace(decision.rows[key], weights=east)
    with pytest.raises(VerifyError, match=f"chat/{WEST}/.*{ONPREM} is down and has weight"):
        verify(world.policy, replace(decision, rows={**decision.rows, key: wrong}))


def test_votes_about_the_unknown_are_refused() -> None:
    world = EdgeWorld()
    seen = world.observations()
    told = seen.edge_probes[WEST]
    strange = {**told, "nowhere": told[EU], EU: {"10.9.9.9:80": next(iter(told[EU].values()))}}
    observed = Observations(edge_probes={WEST: strange, "mars": told})
    decision = decide(world.policy, observed, Overrides(), None, START)
    refused = [dict(note.fields) for note in decision.notes if note.message == "probe refused"]
    assert refused == [
        {"why": "unknown endpoint", "cluster": EU, "endpoint": "10.9.9.9:80", "region": WEST},
        {"why": "unknown cluster", "cluster": "nowhere", "region": WEST},
        {"why": "unknown region", "region": "mars"},
    ]


def test_what_a_notice_says_of_an_endpoint_holds_for_every_region() -> None:
    world = busy(EdgeWorld(unchecked={EAST}))
    world.run(3)
    gone = {f"{ONPREM}-{index}.example.com:8000": EndpointProbe(world.now, 0, 1000) for index in (0, 1)}
    seen = replace(world.observations(), probes={ONPREM: gone}, load={})
    decision = decide(world.policy, seen, Overrides(), world.previous, world.now + 1)
    for region in (WEST, EAST):
        assert decision.edge_health[region][ONPREM].state is DOWN
    assert decision.health[ONPREM].state is DOWN


def test_what_if_asks_about_a_cluster_down_for_all() -> None:
    world = busy(EdgeWorld(edge_fleet(policies=[traffic()])))
    world.run(5)
    given = Supposed(world.policy, world.observations(), Overrides(), world.previous, world.now)
    placed = placement(given, optimum.solve, parse_suppositions([f"down:{ONPREM}"], world.policy))
    assert all(one.shares.get(ONPREM, 0.0) == 0 for one in placed.rows.values())
