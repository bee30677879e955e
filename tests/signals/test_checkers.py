"""Who checks what: few assignments move as Envoys come and go, and the order of events does not matter."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.signals.checkers import Roster, choose

CLUSTERS = tuple(f"cluster-{number}" for number in range(12))
EVERY = frozenset(CLUSTERS)


def assignments(roster: Roster) -> dict[str, frozenset[str]]:
    return {cluster: roster.checkers(cluster) for cluster in CLUSTERS}


def roster_of(nodes: list[str], count: int = 3) -> Roster:
    roster = Roster()
    roster.set_clusters(dict.fromkeys(CLUSTERS, count))
    for node in nodes:
        roster.join(node, EVERY)
    return roster


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["join", "leave"]), st.integers(0, 9), st.sets(st.sampled_from(CLUSTERS))),
        max_size=40,
    ),
    st.integers(1, 4),
)
def test_however_they_came_and_went_the_same_envoys_are_asked_the_same(
    events: list[tuple[str, int, set[str]]], count: int
) -> None:
    roster, there = Roster(), dict[str, frozenset[str]]()
    roster.set_clusters(dict.fromkeys(CLUSTERS, count))
    for what, number, may in events:
        before, node = {one: roster.of(one) for one in roster.nodes()}, f"edge-{number}"
        if what == "join":
            there[node] = frozenset(may)
            changed = roster.join(node, frozenset(may))
        else:
            there.pop(node, None)
            changed = roster.leave(node)
        after = {one: roster.of(one) for one in there}
        assert {one for one in before | after if before.get(one, frozenset()) != after.get(one, frozenset())} <= changed
    for cluster in CLUSTERS:
        able = [node for node, may in there.items() if cluster in may]
        assert roster.checkers(cluster) == choose(able, cluster, count)
        assert len(roster.checkers(cluster)) == min(count, len(able))
    assert {node: roster.of(node) for node in there} == {
        node: frozenset(cluster for cluster in CLUSTERS if node in roster.checkers(cluster)) for node in there
    }


@settings(max_examples=30, deadline=None)
@given(st.integers(4, 40), st.integers(0, 10_000))
def test_one_that_goes_moves_what_it_checked_and_nothing_else(size: int, seed: int) -> None:
    nodes = [f"edge-{seed}-{number}" for number in range(size)]
    roster = roster_of(nodes)
    before, gone = assignments(roster), nodes[seed % size]
    roster.leave(gone)
    after = assignments(roster)
    for cluster in CLUSTERS:
        if gone in before[cluster]:
            assert len(after[cluster] - before[cluster]) == 1
        else:
            assert after[cluster] == before[cluster]
    roster.join(gone, EVERY)
    assert assignments(roster) == before


def test_work_is_spread_over_a_region() -> None:
    roster = Roster()
    roster.set_clusters({f"cluster-{number}": 3 for number in range(200)})
    nodes = [f"edge-{number}" for number in range(100)]
    for node in nodes:
        roster.join(node, frozenset(f"cluster-{number}" for number in range(200)))
    loads = Counter({node: len(roster.of(node)) for node in nodes})
    assert sum(loads.values()) == 600
    assert max(loads.values()) <= 18
    assert min(loads.values()) >= 0


def test_all_are_asked_where_they_are_fewer_and_none_that_may_not() -> None:
    roster = roster_of(["edge-1", "edge-2"])
    assert assignments(roster) == dict.fromkeys(CLUSTERS, frozenset({"edge-1", "edge-2"}))
    assert roster.join("edge-3", frozenset({CLUSTERS[0]})) == {"edge-3"}
    assert roster.of("edge-3") == {CLUSTERS[0]}
    assert roster.set_clusters({CLUSTERS[0]: 1}) >= {"edge-1", "edge-2", "edge-3"} - roster.checkers(CLUSTERS[0])
    assert roster.checkers(CLUSTERS[1]) == frozenset()
