"""Sums of load reports: kept up to date report by report, and always what adding up anew would give."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.signals.load_doubt import LASTING
from penstock.signals.load_endpoints import FORGOTTEN
from penstock.signals.load_orca import engine_load
from penstock.signals.load_reports import MILLIONTHS, Figures, parse
from penstock.signals.load_totals import GRACE, LoadTotals, Reporter
from penstock_policies.observations import Load
from tests.signals.lrs_messages import At, report, stats

CLUSTERS = ("onprem", "cloud")
KNOWN = frozenset(CLUSTERS)


@dataclass
class World:
    now: float = 1000.0
    reporters: dict[str, Reporter] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.totals = LoadTotals(lambda: self.now)

    def join(self, name: str, region: str | None = "eu") -> Reporter:
        reporter = self.reporters[name] = Reporter(name, "edge", self.now)
        self.totals.place(reporter, region)
        return reporter

    def says(self, name: str, *clusters: Any, times: int = 1) -> None:
        message = report(*clusters)
        self.totals.take(self.reporters[name], parse(message, KNOWN, 1.0, endpoints=times > 0), times)

    def sums(self) -> dict[str, dict[str, Load]]:
        return self.totals.sums(self.reporters.values())

    def onprem(self, region: str = "eu") -> Load:
        return self.sums()[region]["onprem"]

    def leaves(self, name: str) -> None:
        self.totals.place(self.reporters.pop(name), None)


@pytest.fixture
def world() -> World:
    return World()


def test_several_envoys_are_summed_and_as_old_as_the_newest(world: World) -> None:
    world.join("a")
    world.join("b")
    world.says("a", stats("onprem", At(3, 3, 1, 2), seconds=2), stats("cloud", At(1)))
    world.now += 2
    world.says("b", stats("onprem", At(4, 4, 0, 4), seconds=2))
    load = world.sums()["eu"]
    onprem = load["onprem"]
    assert (onprem.at, onprem.in_flight, onprem.request_rate) == (1002.0, 7.0, 3.5)
    assert (onprem.error_rate, onprem.success_rate, onprem.reporters) == (0.5, 3.0, 2)
    assert (load["cloud"].at, load["cloud"].reporters) == (1000.0, 1)


def test_a_reporter_that_never_tells_what_it_issues_is_taken_to_issue_what_ends(world: World) -> None:
    world.join("a")
    world.says("a", stats("onprem", At(2, 0, 1, 3)))
    assert world.onprem().request_rate == 4
    world.says("a", stats("onprem", At(2, 9, 1, 3)))
    world.says("a", stats("onprem", At(2, 0, 1, 3)))
    assert world.onprem().request_rate == 0


_AT = st.builds(At, st.integers(0, 900), st.integers(0, 900), st.integers(0, 900), st.integers(0, 900))
_STEP = st.one_of(
    st.tuples(st.just("join"), st.sampled_from("abc"), st.sampled_from(["eu", "us", None])),
    st.tuples(st.just("move"), st.sampled_from("abc"), st.sampled_from(["eu", "us", None])),
    st.tuples(st.just("leave"), st.sampled_from("abc"), st.none()),
    st.tuples(
        st.just("say"),
        st.sampled_from("abc"),
        st.dictionaries(st.sampled_from(CLUSTERS), st.lists(_AT, max_size=3), max_size=2),
    ),
)


def _take(world: World, latest: dict[str, Mapping[str, list[At]]], step: Any) -> None:
    kind, name, what = step
    if kind == "join" and name not in world.reporters:
        world.join(name, what)
    elif name not in world.reporters:
        return
    elif kind == "move":
        world.totals.place(world.reporters[name], what)
    elif kind == "leave":
        world.leaves(name)
        latest.pop(name, None)
    elif kind == "say":
        # One request issued at least: it is a reporter that tells what it issues.
        told = {
            cluster: [At(at.in_flight, at.issued + 1, at.errors, at.successes) for at in localities]
            for cluster, localities in what.items()
        }
        endpoints = {cluster: {"10.0.0.1:1": localities[0]} for cluster, localities in told.items() if localities}
        world.says(name, *(stats(cluster, *at, endpoints=endpoints.get(cluster)) for cluster, at in told.items()))
        latest[name] = told


def _expected(world: World, latest: Mapping[str, Mapping[str, list[At]]]) -> dict[tuple[str, str], list[int]]:
    expected: dict[tuple[str, str], list[int]] = {}
    for name, told in latest.items():
        region = world.reporters[name].region
        for cluster, localities in told.items() if region else ():
            sums = expected.setdefault((str(region), cluster), [0, 0, 0, 0])
            for at in localities:
                for index, figure in enumerate((at.in_flight, at.issued, at.errors, at.successes)):
                    sums[index] += figure
    return expected


@settings(max_examples=200)
@given(steps=st.lists(_STEP, max_size=30), often=st.booleans())
def test_sums_are_those_of_the_latest_reports_whatever_came_before(*, steps: list[Any], often: bool) -> None:
    world = World()
    latest: dict[str, Mapping[str, list[At]]] = {}
    for step in steps:
        world.now += 0.5
        _take(world, latest, step)
        if often:
            world.sums()
    got = {
        (region, cluster): [fact.in_flight, fact.request_rate, fact.error_rate, fact.success_rate]
        for region, of in world.sums().items()
        for cluster, fact in of.items()
    }
    expected = _expected(world, latest)
    assert got == expected
    for (region, cluster), sums in expected.items():
        parts = world.totals.localities(cluster).get(region, {})
        conserved = [sum(each) for each in zip(*parts.values(), strict=True)] or [0, 0, 0, 0]
        assert [conserved[0], *(rate / MILLIONTHS for rate in conserved[1:])] == sums
        seen = world.totals.endpoints(cluster).get(region, {})
        assert sum(each.in_flight for each in seen.values()) == sums[0]


def test_localities_are_told_apart(world: World) -> None:
    world.join("a")
    world.says("a", stats("onprem", At(3, 2, 0, 2), At(5, 1, 1, 0)))
    (localities,) = world.totals.localities("onprem").values()
    assert sorted(localities.values()) == [
        Figures(3, 2 * MILLIONTHS, 0, 2 * MILLIONTHS),
        Figures(5, MILLIONTHS, MILLIONTHS, 0),
    ]


def test_a_failing_endpoint_shows_in_its_cluster_and_region(world: World) -> None:
    world.join("a")
    for _ in range(30):
        world.now += 1
        world.says(
            "a", stats("onprem", At(3, 10, 4, 6), endpoints={"10.0.0.1:1": At(1, 4, 4), "10.0.0.2:1": At(2, 6, 0, 6)})
        )
    seen = world.totals.endpoints("onprem")["eu"]
    bad, good = seen["10.0.0.1:1"], seen["10.0.0.2:1"]
    assert (bad.in_flight, good.in_flight) == (1, 2)
    assert bad.error_rate == pytest.approx(bad.request_rate)
    assert bad.ended > 50
    assert good.error_rate == 0
    assert good.success_rate > bad.request_rate > 2


def test_what_happened_at_an_endpoint_is_forgotten_by_and_by(world: World) -> None:
    world.join("a")
    world.says("a", stats("onprem", At(1, 9, 9, 0), endpoints={"10.0.0.1:1": At(1, 9, 9)}))
    world.says("a", stats("onprem"))
    before = world.totals.endpoints("onprem")["eu"]["10.0.0.1:1"]
    world.now += 60
    after = world.totals.endpoints("onprem")["eu"]["10.0.0.1:1"]
    assert after.error_rate == pytest.approx(before.error_rate / 16)
    assert after.in_flight == 0
    world.now += FORGOTTEN
    world.sums()
    assert world.totals.endpoints("onprem") == {}


def test_rates_of_endpoints_stay_right_over_a_day(world: World) -> None:
    world.join("a")
    for _ in range(2_000):
        world.now += 43.2
        world.says("a", stats("onprem", At(1, 9, 9, 0), endpoints={"10.0.0.1:1": At(1, 9, 9)}))
    for _ in range(100):
        world.now += 1
        world.says("a", stats("onprem", At(1, 9, 9, 0), endpoints={"10.0.0.1:1": At(1, 9, 9)}))
    assert world.totals.endpoints("onprem")["eu"]["10.0.0.1:1"].error_rate == pytest.approx(9, rel=0.05)


def test_where_only_some_reports_are_read_for_endpoints_the_rates_are_the_same(world: World) -> None:
    world.join("a")
    for turn in range(200):
        world.now += 1
        told = stats("onprem", At(3, 8, 2, 6), endpoints={"10.0.0.1:1": At(3, 8, 2, 6)})
        world.says("a", told, times=0 if turn % 4 else 4)
    (seen,) = world.totals.endpoints("onprem")["eu"].values()
    assert seen.request_rate == pytest.approx(8, rel=0.1)
    assert seen.in_flight == 3


def test_drops_add_up(world: World) -> None:
    world.join("a")
    world.says("a", stats("onprem", drops={"lb": 2}))
    world.says("a", stats("onprem", drops={"lb": 3}, dropped=4))
    assert world.totals.drops == {("onprem", "lb"): 5, ("onprem", "overflow"): 1}


def _fleet(world: World, *in_flight: int) -> None:
    for number, count in enumerate(in_flight):
        world.join(f"edge-{number}")
        world.says(f"edge-{number}", stats("onprem", At(count, count, 0, count)))
    world.sums()
    world.now += GRACE + 1
    _again(world, *in_flight)


def _again(world: World, *in_flight: int) -> float:
    for number, count in enumerate(in_flight):
        world.says(f"edge-{number}", stats("onprem", At(count, count, 0, count)))
    return world.onprem().in_flight


def test_one_envoy_that_claims_a_thousand_times_what_it_had_does_not_steer_its_region(world: World) -> None:
    _fleet(world, 20, 20, 20, 20)
    for _ in range(60):
        world.now += 1
        assert _again(world, 20_000, 20, 20, 20) == 80
    assert world.reporters["edge-0"].doubted == {"onprem"}
    assert _again(world, 21, 20, 20, 20) == 81
    assert world.reporters["edge-0"].doubted == frozenset()


def test_one_that_comes_back_lying_is_not_believed_either(world: World) -> None:
    _fleet(world, 20, 20, 20, 20)
    world.leaves("edge-0")
    world.join("edge-0")
    assert _again(world, 20_000, 20, 20, 20) == 60


def test_a_surge_that_more_than_one_sees_is_believed_within_a_report(world: World) -> None:
    _fleet(world, 5, 5, 5, 5)
    world.now += 1
    _again(world, 2_000, 2_000, 5, 5)
    world.now += 1
    assert _again(world, 2_000, 2_000, 5, 5) == 4_010


def test_a_load_balancer_that_moves_all_to_one_envoy_is_believed(world: World) -> None:
    _fleet(world, 0, 900, 900, 900)
    world.now += 1
    assert _again(world, 2_700, 0, 0, 0) == 2_700


@pytest.mark.parametrize("others", [0, 1, 2])
def test_among_few_each_is_believed(world: World, others: int) -> None:
    _fleet(world, *([5] * (others + 1)))
    assert _again(world, 20_000, *([5] * others)) == 20_000 + 5 * others


def test_a_large_envoy_among_small_ones_is_believed_when_the_control_plane_starts(world: World) -> None:
    for number in range(4):
        world.join(f"edge-{number}")
    assert _again(world, 2_000, 5, 5, 5) == 2_015
    world.now += GRACE + 1
    assert _again(world, 2_100, 5, 5, 5) == 2_115


def test_a_claim_that_lasts_is_believed_in_the_end(world: World) -> None:
    _fleet(world, 20, 20, 20, 20)
    _again(world, 20_000, 20, 20, 20)
    world.now += LASTING
    assert _again(world, 20_000, 20, 20, 20) == 20_060


def _spoken(waiting: float, requests: int = 4, kv: float = 0.5) -> Mapping[str, tuple[int, float]]:
    return {
        "named_metrics.num_requests_waiting": (requests, waiting * requests),
        "named_metrics.kv_cache_usage_perc": (requests, kv * requests),
    }


def test_engines_that_tell_their_queue_in_answers_are_summed_by_endpoint_not_by_edge(world: World) -> None:
    for name, region in (("a", "eu"), ("b", "us")):
        world.join(name, region)
        first, second = At(1, 4, 0, 4, _spoken(3)), At(1, 4, 0, 4, _spoken(5))
        world.says(
            name,
            stats(
                "onprem",
                At(2, 8, 0, 8, _spoken(4, 8)),
                endpoints={"10.0.0.1:1": first, "10.0.0.2:1": second, "10.0.0.3:1": At()},
            ),
        )
    load = engine_load(world.totals.endpoints("onprem").values(), world.now)
    assert load is not None
    assert load.waiting == pytest.approx(8)
    assert load.running is None
    assert load.at == world.now
    assert world.totals.endpoints("onprem")["eu"]["10.0.0.1:1"].metrics["kv_cache_usage_perc"] == pytest.approx(0.5)


def test_one_busy_endpoint_that_says_nothing_makes_the_queue_unknown(world: World) -> None:
    world.join("a")
    told = {"10.0.0.1:1": At(1, 4, 0, 4, _spoken(3)), "10.0.0.2:1": At(1, 4, 0, 4)}
    world.says("a", stats("onprem", At(2, 8, 0, 8, _spoken(3)), endpoints=told))
    assert engine_load(world.totals.endpoints("onprem").values(), world.now) is None


def test_what_engines_said_long_ago_is_unknown(world: World) -> None:
    world.join("a")
    told = {"10.0.0.1:1": At(1, 4, 0, 4, _spoken(3))}
    world.says("a", stats("onprem", At(1, 4, 0, 4, _spoken(3)), endpoints=told))
    for _ in range(20):
        world.now += 1
        world.says("a", stats("onprem", At(1, 4, 0, 4), endpoints={"10.0.0.1:1": At(1, 4, 0, 4)}))
    assert engine_load(world.totals.endpoints("onprem").values(), world.now) is None
