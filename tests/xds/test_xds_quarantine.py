"""What one client refuses, the others of its group are spared; all else moves on."""

from typing import Any

import pytest

from penstock_xds import Refusal, Resource, Snapshot, SnapshotCache, Variant
from penstock_xds.protos import NodeProto
from penstock_xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from tests.xds.fleet import GROUP, UNIX_MINUS_MONOTONIC, Envoy, Fleet, Told
from tests.xds.shell_setting import Start
from tests.xds.transcript import cluster, endpoints, listener, route

both = pytest.mark.parametrize("variant", list(Variant))


def fleet_of(count: int, variant: Variant = Variant.DELTA, **options: Any) -> Fleet:
    fleet = Fleet(**options)
    for _ in range(count):
        fleet.envoy(variant)
    return fleet


def version(envoy: Envoy, type_url: str, name: str) -> Resource | None:
    return envoy.has(type_url).get(name)


@both
def test_who_does_not_have_a_refused_version_keeps_the_last_good_one(variant: Variant) -> None:
    fleet = fleet_of(1, variant)
    fleet.publish(cluster("c"), route("r1", "c"), route("r2", "c"))
    fleet.settle()
    fleet.publish(cluster("c"), route("r1", "c", content="!n0"), route("r2", "c", content="new"))
    fleet.settle()
    fleet.envoy(variant)
    fleet.settle()
    for envoy in fleet.envoys:
        assert version(envoy, ROUTE, "r1") == route("r1", "c")
        assert version(envoy, ROUTE, "r2") == route("r2", "c", content="new")


@both
def test_who_accepted_it_keeps_it_and_a_new_version_ends_the_quarantine(variant: Variant) -> None:
    fleet = fleet_of(3, variant)
    fleet.publish(cluster("c"), route("r1", "c"))
    fleet.settle()
    odd = route("r1", "c", content="!n0")
    fleet.publish(cluster("c"), odd)
    fleet.settle()
    assert [version(e, ROUTE, "r1") for e in fleet.envoys] == [route("r1", "c"), odd, odd]
    (refusal,) = fleet.cache.refusals()
    assert (refusal.group, refusal.type_url, refusal.name) == (GROUP, ROUTE, "r1")
    assert refusal.version == odd.version
    assert refusal.node_ids == ("n0",)
    assert refusal.message == "bad: r1"
    assert refusal.served_instead == route("r1", "c").version
    assert refusal.first_at == fleet.clock.now + UNIX_MINUS_MONOTONIC
    assert fleet.told.quarantined == [refusal]
    # Something else changes: nobody is moved.
    fleet.publish(cluster("c", "new"), odd)
    fleet.settle()
    assert [version(e, ROUTE, "r1") for e in fleet.envoys] == [route("r1", "c"), odd, odd]
    fleet.publish(cluster("c", "new"), route("r1", "c", content="newest"))
    fleet.settle()
    assert {version(e, ROUTE, "r1") for e in fleet.envoys} == {route("r1", "c", content="newest")}
    assert fleet.cache.refusals() == ()
    assert [r.ended for r in fleet.told.released] == ["superseded"]


def test_who_accepted_a_version_refused_earlier_is_not_moved_back_when_the_next_is_refused_too() -> None:
    fleet = fleet_of(3)
    fleet.publish(cluster("c"), route("r1", "c"))
    fleet.settle()
    second = route("r1", "c", content="second !n0")
    fleet.publish(cluster("c"), second)
    fleet.settle()
    refuser, fast, slow = fleet.envoys
    fleet.publish(cluster("c"), route("r1", "c", content="third !n0"))
    fast.works()
    refuser.works()
    fleet.settle()
    assert version(slow, ROUTE, "r1") == second
    assert version(fast, ROUTE, "r1") == route("r1", "c", content="third !n0")
    assert version(refuser, ROUTE, "r1") == route("r1", "c")


def test_content_that_was_refused_is_refused_still_when_it_is_published_again() -> None:
    fleet = fleet_of(2)
    bad, good = route("r1", "c", content="!n0"), route("r1", "c", content="good")
    fleet.publish(cluster("c"), bad)
    fleet.settle()
    fleet.publish(cluster("c"), good)
    fleet.settle()
    fleet.publish(cluster("c"), bad)
    fleet.settle()
    newcomer = fleet.envoy()
    fleet.settle()
    assert version(newcomer, ROUTE, "r1") == good
    assert version(fleet.envoys[1], ROUTE, "r1") == good
    assert [r.version for r in fleet.told.quarantined] == [bad.version, bad.version]


def test_a_new_resource_that_is_refused_is_left_out_and_kept_by_who_accepted_it() -> None:
    fleet = fleet_of(2)
    fleet.publish(cluster("c"), cluster("new", "!n0"))
    fleet.settle()
    newcomer = fleet.envoy()
    fleet.settle()
    assert set(newcomer.has(CLUSTER)) == {"c"}
    assert set(fleet.envoys[0].has(CLUSTER)) == {"c"}
    assert set(fleet.envoys[1].has(CLUSTER)) == {"c", "new"}
    (refusal,) = fleet.cache.refusals()
    assert refusal.served_instead == ""


@both
def test_no_route_is_pointed_at_a_cluster_that_is_left_out(variant: Variant) -> None:
    fleet = fleet_of(1, variant)
    fleet.publish(cluster("old"), endpoints("old"), listener("l", "r1"), route("r1", "old"))
    fleet.settle()
    fleet.publish(cluster("fresh", "!all"), endpoints("fresh"), listener("l", "r1"), route("r1", "fresh"))
    fleet.settle()
    fleet.envoy(variant)
    fleet.settle()
    for envoy in fleet.envoys:
        assert version(envoy, ROUTE, "r1") == route("r1", "old")
        assert set(envoy.has(CLUSTER)) == {"old"}
        assert set(envoy.has(ENDPOINT)) == {"old"}
    (refusal,) = fleet.cache.refusals()
    assert refusal.held_back == ((ROUTE, "r1"),)


def test_a_listener_is_not_pointed_at_a_new_route_that_leads_to_what_is_left_out() -> None:
    fleet = fleet_of(1)
    fleet.publish(cluster("old"), listener("l", "r1"), route("r1", "old"))
    fleet.settle()
    fleet.publish(cluster("fresh", "!all"), listener("l", "r2"), route("r2", "fresh"))
    fleet.settle()
    newcomer = fleet.envoy()
    fleet.settle()
    for envoy in (fleet.envoys[0], newcomer):
        assert version(envoy, LISTENER, "l") == listener("l", "r1")
        assert version(envoy, ROUTE, "r1") == route("r1", "old")
        assert set(envoy.has(CLUSTER)) == {"old"}
    assert version(newcomer, ROUTE, "r2") is None


def test_what_was_good_without_what_is_left_out_does_not_move_back_for_a_likeness_of_names() -> None:
    fleet = fleet_of(1)
    fleet.publish(cluster("c20"), route("r1", "c20"))
    fleet.settle()
    fleet.publish(cluster("c20"), route("r1", "c20", content="newer"))
    fleet.settle()
    fleet.publish(cluster("c20"), cluster("c2", "!all"), route("r1", "c20", content="newer"))
    fleet.settle()
    assert fleet.served().resources(ROUTE)["r1"] == route("r1", "c20", content="newer")


def test_who_holds_what_is_left_out_for_others_goes_on_getting_its_routes() -> None:
    fleet = fleet_of(3)
    fleet.publish(cluster("old"), route("r1", "old"))
    fleet.settle()
    fresh = cluster("fresh", "!n0")
    fleet.publish(fresh, route("r1", "fresh"))
    fleet.settle()
    fleet.publish(fresh, route("r1", "fresh", content="other weights"))
    fleet.settle()
    refuser, *acceptors = fleet.envoys
    for envoy in acceptors:
        assert version(envoy, ROUTE, "r1") == route("r1", "fresh", content="other weights")
        assert set(envoy.has(CLUSTER)) == {"fresh"}
    assert version(refuser, ROUTE, "r1") == route("r1", "old")
    assert set(refuser.has(CLUSTER)) == {"old"}
    # After a break it is told the same story.
    acceptors[0].comes_back()
    fleet.settle()
    assert version(acceptors[0], ROUTE, "r1") == route("r1", "fresh", content="other weights")
    assert "fresh" in acceptors[0].has(CLUSTER)


def test_one_odd_envoy_does_not_hold_back_a_fleet_that_tolerates_it() -> None:
    fleet = fleet_of(10, refusal_tolerance=0.1)
    fleet.publish(cluster("c"), route("r1", "c"))
    fleet.settle()
    odd = route("r1", "c", content="!n0")
    fleet.publish(cluster("c"), odd)
    fleet.deliver()
    fleet.envoys[0].works()
    assert [r.version for r in fleet.cache.refusals()] == [odd.version]
    fleet.settle()
    # All had been sent it before the refusal came in.
    assert fleet.cache.refusals() == ()
    assert [r.ended for r in fleet.told.released] == ["tolerated"]
    assert [version(e, ROUTE, "r1") for e in fleet.envoys] == [route("r1", "c")] + [odd] * 9
    newcomer = fleet.envoy()
    fleet.settle()
    assert version(newcomer, ROUTE, "r1") == odd


def test_what_came_to_be_tolerated_is_good_to_go_back_to() -> None:
    fleet = fleet_of(4, refusal_tolerance=0.3)
    odd = route("r1", "c", content="!n0")
    fleet.publish(cluster("c"), odd)
    fleet.settle()
    assert fleet.cache.refusals() == ()
    fleet.publish(cluster("c"), route("r1", "c", content="!all"))
    fleet.settle()
    (refusal,) = fleet.cache.refusals()
    assert refusal.served_instead == odd.version


def test_too_many_refusals_are_not_tolerated() -> None:
    fleet = fleet_of(10, refusal_tolerance=0.1)
    fleet.publish(cluster("c"), route("r1", "c"))
    fleet.settle()
    fleet.publish(cluster("c"), route("r1", "c", content="!n0 !n1"))
    fleet.settle()
    (refusal,) = fleet.cache.refusals()
    assert refusal.node_ids == ("n0", "n1")


def test_a_refusal_counts_on_when_its_client_has_left_and_once_when_it_comes_back() -> None:
    fleet = fleet_of(2)
    fleet.publish(cluster("c"), route("r1", "c"))
    fleet.settle()
    bad = route("r1", "c", content="!n0")
    fleet.publish(cluster("c"), bad)
    fleet.settle()
    fleet.envoys[0].comes_back()
    fleet.settle()
    fleet.envoys[0].leaves()
    (refusal,) = fleet.cache.refusals()
    assert refusal.node_ids == ("n0",)
    newcomer = fleet.envoy()
    fleet.settle()
    assert version(newcomer, ROUTE, "r1") == route("r1", "c")


def test_an_operator_lifts_a_quarantine() -> None:
    fleet = fleet_of(2)
    fleet.publish(cluster("c"), route("r1", "c"))
    fleet.settle()
    odd = route("r1", "c", content="!n0")
    fleet.publish(cluster("c"), odd)
    fleet.envoys[0].works()
    fleet.envoys[1].leaves()
    assert not fleet.cache.release(GROUP, ROUTE, "r1", "another version")
    assert not fleet.cache.release("another group", ROUTE, "r1", odd.version)
    fleet.envoys[0].leaves()
    assert fleet.cache.release(GROUP, ROUTE, "r1", odd.version)
    assert [r.ended for r in fleet.told.released] == ["lifted"]
    assert fleet.cache.refusals() == ()
    newcomer = fleet.envoy()
    fleet.settle()
    assert version(newcomer, ROUTE, "r1") == odd
    # Refused again, it is quarantined again.
    fleet.envoys[0].comes_back()
    fleet.settle()
    assert [r.node_ids for r in fleet.cache.refusals()] == [("n0",)]


def test_after_a_restart_the_refusal_comes_again_and_clients_keep_what_they_hold() -> None:
    before = fleet_of(2)
    before.publish(cluster("c"), route("r1", "c"))
    before.settle()
    after = Fleet()
    after.publish(cluster("c", "!all"), route("r1", "c", content="!all"))
    for envoy in before.envoys:
        envoy.leaves()
        envoy.fleet = after
        after.envoys.append(envoy)
        envoy.comes_back()
    after.settle()
    assert {r.served_instead for r in after.cache.refusals()} == {""}
    assert len(after.cache.refusals()) == 2
    for envoy in after.envoys:
        assert version(envoy, CLUSTER, "c") == cluster("c")
        assert version(envoy, ROUTE, "r1") == route("r1", "c")


def test_after_a_restart_what_clients_held_all_along_is_served_on_though_nobody_acknowledged_it() -> None:
    before = fleet_of(1)
    before.publish(cluster("c"), route("r1", "c"))
    before.settle()
    after = Fleet()
    after.publish(cluster("c"), route("r1", "c"))
    (envoy,) = before.envoys
    envoy.leaves()
    envoy.fleet = after
    after.envoys.append(envoy)
    envoy.comes_back()
    after.settle()
    after.publish(cluster("c"), route("r1", "c", content="!all"))
    after.settle()
    newcomer = after.envoy()
    after.settle()
    assert version(newcomer, ROUTE, "r1") == route("r1", "c")


def test_a_mixture_the_guard_refuses_leaves_the_group_with_the_whole_of_what_it_had() -> None:
    asked: list[str] = []

    def guard(group: str, _: object) -> str:
        asked.append(group)
        return "not together"

    fleet = Fleet(guard=guard)
    for _ in range(2):
        fleet.envoy()
    fleet.publish(cluster("c"), route("r1", "c"))
    fleet.settle()
    assert asked == []
    fleet.publish(cluster("c", "new"), route("r1", "c", content="!n0"))
    fleet.settle()
    newcomer = fleet.envoy()
    fleet.settle()
    assert set(asked) == {GROUP}
    for envoy in (*fleet.envoys, newcomer):
        assert version(envoy, ROUTE, "r1") == route("r1", "c")
        assert version(envoy, CLUSTER, "c") == cluster("c")
    (refusal,) = fleet.cache.refusals()
    assert (refusal.held, refusal.served_instead) == ("not together", route("r1", "c").version)
    assert fleet.told.quarantined[-1].held == "not together"
    # What is good as a whole is served again.
    fleet.publish(cluster("c", "newer"), route("r1", "c", content="mended"))
    fleet.settle()
    assert version(newcomer, CLUSTER, "c") == cluster("c", "newer")
    assert fleet.cache.refusals() == ()


def test_a_target_that_nobody_had_accepted_yet_is_none_to_go_back_to() -> None:
    fleet = Fleet(guard=lambda _group, _mixture: "not together")
    envoy = fleet.envoy()
    fleet.publish(cluster("c"), route("r1", "c"))
    fleet.settle()
    # Three publications before the client answers to the first; all are bad.
    for number in range(3):
        fleet.publish(cluster("c", f"moved {number}"), route("r1", "c", content=f"{number} !n0"))
    fleet.settle()
    assert (version(envoy, CLUSTER, "c"), version(envoy, ROUTE, "r1")) == (cluster("c"), route("r1", "c"))


def test_a_mixture_the_guard_allows_is_served() -> None:
    fleet = Fleet(guard=lambda _group, _mixture: None)
    envoy = fleet.envoy()
    fleet.publish(cluster("c"), route("r1", "c"))
    fleet.settle()
    fleet.publish(cluster("c", "new"), route("r1", "c", content="!n0"))
    fleet.settle()
    assert (version(envoy, CLUSTER, "c"), version(envoy, ROUTE, "r1")) == (cluster("c", "new"), route("r1", "c"))


def test_a_release_sends_it_again_to_those_who_refused_it() -> None:
    fleet = fleet_of(2)
    fleet.publish(cluster("c"), route("r1", "c"))
    fleet.settle()
    odd = route("r1", "c", content="!n0")
    fleet.publish(cluster("c"), odd)
    fleet.settle()
    assert fleet.cache.release(GROUP, ROUTE, "r1", odd.version)
    fleet.settle()
    # Refused again, it is quarantined again, and sent no more.
    assert [r.node_ids for r in fleet.cache.refusals()] == [("n0",)]
    sent = fleet.envoys[0].core.views()
    assert {v.type_url: v.nacks for v in sent}[ROUTE] == 2


def test_a_listener_of_the_cache_that_fails_costs_no_client_anything(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Told):
        def on_quarantine(self, refusal: Refusal) -> None:
            raise RuntimeError("on purpose")

    fleet = Fleet(listener=Failing())
    fleet.envoy()
    fleet.publish(cluster("c", "!n0"), cluster("d"))
    fleet.settle()
    assert set(fleet.envoys[0].has(CLUSTER)) == {"d"}
    assert "xds listener failed" in caplog.messages


async def test_the_streams_of_a_server_share_refusals_and_canaries(start: Start) -> None:
    told = Told()
    setting = await start(cache=SnapshotCache(listener=told))
    setting.publish(cluster("c"))
    streams = [setting.stream() for _ in range(3)]
    for number, stream in enumerate(streams):
        await stream.accept(await stream.ask(CLUSTER, node=NodeProto(id=f"n{number}", cluster="edge")))
    await setting.recorder.until(lambda: len(setting.recorder.acks) == 3)
    setting.cache.publish("edge", Snapshot.of([cluster("c", "bad"), cluster("d")]), canary=0.1)
    (run,) = setting.cache.rollouts()
    (canary,) = (s for n, s in enumerate(streams) if f"n{n}" in run.node_ids)
    await canary.refuse(await canary.hear(), "Error adding/updating cluster(s) c: nonsense")
    for stream in streams:
        if stream is not canary:
            response = await stream.hear()
            assert [r.name for r in response.resources] == ["d"]
            await stream.accept(response)
    (refusal,) = setting.cache.refusals("edge")
    assert refusal.node_ids == run.node_ids
    assert told.quarantined == [refusal]
    newcomer = await setting.stream().ask(CLUSTER)
    assert {r.name: r.version for r in newcomer.resources} == {
        "c": cluster("c").version,
        "d": cluster("d").version,
    }
    assert setting.cache.rollouts() == ()


@pytest.mark.parametrize("tolerance", [-0.1, 1.0, float("nan")])
def test_a_tolerance_out_of_range_is_refused_at_once(tolerance: float) -> None:
    with pytest.raises(ValueError, match="refusal_tolerance"):
        Fleet(refusal_tolerance=tolerance)
