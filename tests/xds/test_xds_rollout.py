"""The parts of a rollout that no fleet shows: what an acknowledgement costs, what is remembered, who is told."""

import dataclasses
from collections.abc import Iterator

import pytest

from penstock_xds import Resource, Snapshot, SnapshotCache
from penstock_xds.core.last_good import LastGood
from penstock_xds.core.messages import Acked, Nacked
from penstock_xds.core.refusals import Refusals
from penstock_xds.core.rollout import Rollout
from penstock_xds.core.steps import Member
from penstock_xds.types import CLUSTER, ROUTE
from tests.xds.fleet import GROUP, Fleet
from tests.xds.transcript import cluster, route


class Client:
    """Holds what it is said to hold and subscribes to everything."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], str] = {}
        self.asked = 0

    def confirmed(self, type_url: str, name: str) -> str | None:
        self.asked += 1
        return self.held.get((type_url, name))

    def subscribes(self, type_url: str, name: str) -> bool:
        self.asked += 1
        return True


def member(number: int, client: Client | None = None) -> Member:
    return Member(f"s{number}", f"n{number}", f"s{number}", client or Client(), watcher=lambda _: None)


def acked(*resources: Resource) -> Acked:
    return Acked(resources[0].type_url, "v", 0.0, resources)


def nacked(*resources: Resource, message: str = "bad") -> Nacked:
    return Nacked(resources[0].type_url, tuple(r.name for r in resources), "v", message, resources)


def test_an_acknowledgement_of_what_is_known_looks_at_no_resource_and_asks_no_client() -> None:
    class Untouchable(tuple[Resource, ...]):
        """Can be compared as a whole and not gone through."""

        __slots__ = ()

        def __iter__(self) -> Iterator[Resource]:
            raise AssertionError("gone through")

    rollout = Rollout()
    resources = tuple(cluster(f"c{n}") for n in range(1000))
    client = Client()
    first, second = member(1, client), member(2, client)
    rollout.join(first, 0.0)
    rollout.join(second, 0.0)
    rollout.publish(Snapshot.of(resources), 0.0)
    rollout.acked(first, acked(*resources))
    step = rollout.acked(second, dataclasses.replace(acked(*resources), resources=Untouchable(resources)))
    assert (step.moved, step.quarantined, step.released) == ((), (), ())
    assert client.asked == 0


def test_a_late_acknowledgement_of_an_older_version_does_not_pass_for_the_newest() -> None:
    rollout = Rollout()
    fast, slow, odd = member(1), member(2), member(3)
    for each in (fast, slow, odd):
        rollout.join(each, 0.0)
    versions = [route("r", content=str(n)) for n in range(3)]
    rollout.publish(Snapshot.of([versions[0]]), 0.0)
    rollout.publish(Snapshot.of([versions[1]]), 0.0)
    rollout.acked(fast, acked(versions[1]))
    rollout.acked(slow, acked(versions[0]))
    rollout.publish(Snapshot.of([versions[2]]), 0.0)
    rollout.nacked(odd, nacked(versions[2]), 0.0)
    assert rollout.served is not None
    assert rollout.served.resources(ROUTE)["r"] == versions[1]


def test_refused_versions_take_no_place_among_the_good_ones() -> None:
    """A fleet that accepts and one Envoy that refuses every new set of weights for as long as you like."""
    rollout = Rollout()
    fine, odd = member(1), member(2)
    rollout.join(fine, 0.0)
    rollout.join(odd, 0.0)
    good = route("r", content="good")
    rollout.publish(Snapshot.of([good]), 0.0)
    rollout.acked(fine, acked(good))
    for number in range(50):
        weights = route("r", content=str(number))
        rollout.publish(Snapshot.of([weights]), float(number))
        rollout.acked(fine, acked(weights))
        rollout.nacked(odd, nacked(weights), float(number))
        assert rollout.served is not None
        assert rollout.served.resources(ROUTE)["r"] == good
    assert len(rollout.verdicts()) == 1


def test_refusals_are_remembered_up_to_a_bound_and_never_forgotten_while_published() -> None:
    rollout = Rollout()
    odd = member(1)
    rollout.join(odd, 0.0)
    lasting = cluster("lasting")
    rollout.publish(Snapshot.of([lasting]), 0.0)
    rollout.nacked(odd, nacked(lasting), 0.0)
    for number in range(400):
        passing = cluster(f"c{number}")
        rollout.publish(Snapshot.of([lasting, passing]), 1.0)
        rollout.nacked(odd, nacked(passing), 1.0)
        assert {v.case.resource for v in rollout.verdicts()} == {lasting, passing}
    # The latest of those gone is remembered, the first is not.
    rollout.publish(Snapshot.of([lasting, cluster("c398")]), 2.0)
    assert {v.case.resource.name for v in rollout.verdicts()} == {"lasting", "c398"}
    rollout.publish(Snapshot.of([lasting, cluster("c0")]), 2.0)
    assert {v.case.resource.name for v in rollout.verdicts()} == {"lasting"}


def test_of_one_name_only_the_latest_refusals_are_remembered() -> None:
    refusals = Refusals(0.0)
    for number in range(20):
        case = refusals.refuse(route("r", content=str(number)), "s", "n", "bad", float(number))
        refusals.judge(case)
        refusals.prune(lambda _: False)
    (versions,) = refusals.quarantined().values()
    assert versions == {route("r", content=str(n)).version for n in range(12, 20)}


def test_what_left_long_ago_is_forgotten() -> None:
    past = LastGood()
    before = Snapshot.of([cluster(f"c{n}") for n in range(3000)])
    past.accept(CLUSTER, tuple(before.resources(CLUSTER).values()), before.resources(CLUSTER))
    past.supersede(before, Snapshot.of([]), lambda _: False)
    assert sum(past.find((CLUSTER, f"c{n}"), lambda _: True) is not None for n in range(3000)) == 1024


def test_a_long_message_is_cut() -> None:
    rollout = Rollout()
    odd = member(1)
    rollout.join(odd, 0.0)
    rollout.publish(Snapshot.of([cluster("c")]), 0.0)
    step = rollout.nacked(odd, nacked(cluster("c"), message="x" * 100_000), 0.0)
    assert len(step.quarantined[0].case.message) == 4096


def test_a_refusal_that_names_nothing_served_changes_nothing() -> None:
    rollout = Rollout()
    odd = member(1)
    rollout.join(odd, 0.0)
    rollout.publish(Snapshot.of([cluster("c")]), 0.0)
    step = rollout.nacked(odd, Nacked(CLUSTER, ("gone",), "v", "bad"), 0.0)
    assert step.quarantined == ()
    assert rollout.verdicts() == ()


def test_what_a_stream_says_after_its_end_counts_for_nothing() -> None:
    rollout = Rollout()
    odd = member(1)
    rollout.join(odd, 0.0)
    rollout.publish(Snapshot.of([cluster("c")]), 0.0)
    rollout.leave(odd, 0.0)
    rollout.leave(odd, 0.0)
    rollout.nacked(odd, nacked(cluster("c")), 0.0)
    rollout.acked(odd, acked(cluster("c")))
    rollout.asked(odd)
    assert rollout.verdicts() == ()


def test_a_stream_that_leaves_is_offered_nothing_more_and_leaves_no_group_behind() -> None:
    cache = SnapshotCache()
    seen: list[Snapshot] = []
    membership = cache.join(GROUP, "s", seen.append)
    assert seen == []
    membership.leave()
    membership.leave()
    cache.publish(GROUP, Snapshot.of([cluster("c")]))
    assert seen == []
    assert cache.groups() == (GROUP,)
    cache.join("nobody's", "s", seen.append).leave()
    assert cache.groups() == (GROUP,)
    assert cache.get("nobody's") is None
    assert cache.refusals("nobody's") == ()


def test_watchers_are_told_once_of_what_is_new_to_them() -> None:
    cache = SnapshotCache()
    seen: list[Snapshot] = []
    snapshot = Snapshot.of([cluster("c")])
    cache.publish(GROUP, snapshot)
    cache.join(GROUP, "s", seen.append)
    cache.publish(GROUP, Snapshot.of([cluster("c")]))
    assert seen == [snapshot]
    cache.publish(GROUP, Snapshot.of([cluster("d")]))
    assert len(seen) == 2


def test_one_stream_name_may_be_used_by_several_servers() -> None:
    cache = SnapshotCache()
    seen: list[str] = []
    first = cache.join(GROUP, "1", lambda _: seen.append("first"))
    cache.join(GROUP, "1", lambda _: seen.append("second"))
    first.leave()
    cache.publish(GROUP, Snapshot.of([cluster("c")]))
    assert seen == ["second"]


@pytest.mark.parametrize("streams", [1, 4])
def test_one_refusal_of_many_tells_each_stream_once(streams: int) -> None:
    fleet = Fleet()
    for _ in range(streams):
        fleet.envoy()
    fleet.publish(cluster("c"), route("r1", "c"))
    fleet.settle()
    told: list[str] = []
    for envoy in fleet.envoys:
        envoy.watch_targets = lambda e, _: told.append(e.node_id)
    fleet.publish(cluster("c"), route("r1", "c", content="!all"))
    fleet.settle()
    # Of what was published, and of what is served instead; the other refusals change nothing.
    assert sorted(told) == sorted(2 * [e.node_id for e in fleet.envoys])
    assert len(fleet.told.quarantined) == 1
    assert len(fleet.cache.refusals()[0].node_ids) == streams
