"""Reading load reports, garbage included."""

import time

import pytest
from envoy.service.load_stats.v3 import lrs_pb2
from hypothesis import given
from hypothesis import strategies as st

from penstock.signals.load_endpoints import readable
from penstock.signals.load_reports import (
    MILLIONTHS,
    MOST_BYTES,
    MOST_CLUSTERS,
    MOST_ENDPOINTS,
    Drop,
    Figures,
    Report,
    ReportError,
    parse,
)
from penstock.signals.lrs_view import LeanRequest
from tests.signals.lrs_messages import At, from_envoy, interval, report, stats

KNOWN = frozenset({"onprem", "cloud"})
COUNTS = st.integers(min_value=0, max_value=2**64 - 1)


def read(message: bytes, seconds: float = 1.0) -> Report:
    return parse(message, KNOWN, seconds)


def carried(message: bytes, name: str = "onprem", seconds: float = 1.0) -> Figures:
    """A cluster's figures, its localities together, with rates in whole requests a second."""
    of = [each for place, each in read(message, seconds).carried.items() if place.cluster == name]
    in_flight, *rates = (sum(each) for each in zip(*of, strict=True))
    return Figures(in_flight, *(round(rate / MILLIONTHS, 3) for rate in rates))


def test_counts_become_rates_over_the_time_they_cover() -> None:
    message = report(stats("onprem", At(3, 10, 1, 4), At(2, 20, 0, 6), seconds=2))
    assert carried(message) == (5, 15.0, 0.5, 5.0)
    assert len(read(message).carried) == 2


def test_a_cluster_without_traffic_is_known_to_have_none() -> None:
    told = read(report(stats("onprem")))
    assert (told.names, told.carried) == (frozenset({"onprem"}), {})


def test_one_cluster_told_of_twice_is_summed() -> None:
    # As gRPC clients do while a cluster's endpoints come from two services.
    message = report(stats("onprem", At(1, 2, 0, 2), service="old"), stats("onprem", At(3, 4, 1, 3), service="new"))
    assert carried(message) == (4, 6.0, 1.0, 5.0)


def test_the_node_of_every_envoy_message_is_not_looked_into() -> None:
    message = from_envoy(stats("onprem", At(3, 10, 1, 4)))
    assert len(message) > 60_000
    assert carried(message) == (3, 10.0, 1.0, 4.0)
    whole, lean = lrs_pb2.LoadStatsRequest.FromString(message), LeanRequest.FromString(message)
    assert lean.node == whole.node.SerializeToString()


def test_the_lean_view_reads_the_same_as_the_message_itself() -> None:
    at = At(3, 10, 1, 4, {"named_metrics.num_requests_waiting": (4, 12.0)})
    message = from_envoy(stats("onprem", at, endpoints={"10.0.0.1:8000": at}, drops={"lb": 7}, seconds=1.5))
    whole, lean = lrs_pb2.LoadStatsRequest.FromString(message), LeanRequest.FromString(message)
    (full,), (small,) = whole.cluster_stats, lean.cluster_stats
    for name in ("cluster_name", "total_dropped_requests"):
        assert getattr(full, name) == getattr(small, name)
    assert full.dropped_requests[0].category == small.dropped_requests[0].category
    assert full.load_report_interval.SerializeToString() == small.load_report_interval
    for one, other in (
        (full.upstream_locality_stats[0], small.upstream_locality_stats[0]),
        (
            full.upstream_locality_stats[0].upstream_endpoint_stats[0],
            small.upstream_locality_stats[0].upstream_endpoint_stats[0],
        ),
    ):
        for name in ("in_progress", "error", "successful", "issued"):
            field = f"total_requests_{name}" if name == "in_progress" else f"total_{name}_requests"
            assert getattr(one, field) == getattr(other, field) > 0
        assert one.load_metric_stats[0].total_metric_value == other.load_metric_stats[0].total_metric_value == 12.0


def test_endpoints_are_told_one_by_one_with_what_their_engine_says() -> None:
    metrics = {"named_metrics.num_requests_waiting": (2, 6.0), "named_metrics.made_up": (2, 1.0)}
    told = read(
        report(
            stats(
                "onprem",
                At(5, 10, 1, 9, metrics),
                endpoints={"10.0.0.1:8000": At(4, 7, 1, 6, metrics), "[2001:db8::1]:8000": At(1, 3, 0, 3)},
            )
        )
    )
    first, second = told.endpoints
    assert (readable(first.address), first.in_flight, first.issued, first.errors) == ("10.0.0.1:8000", 4, 7, 1)
    assert first.metrics == (("num_requests_waiting", 2, 6.0),)
    assert readable(second.address) == "[2001:db8::1]:8000"
    assert told.told == 2


def test_a_locality_whose_endpoints_are_not_told_counts_as_one_nameless_endpoint() -> None:
    (each,) = read(report(stats("onprem", At(5, 10, 1, 9, {"cpu_utilization": (9, 4.5)})))).endpoints
    assert (readable(each.address), each.in_flight, each.metrics) == ("", 5, (("cpu_utilization", 9, 4.5),))


def test_unnamed_utilization_as_grpc_go_writes_it() -> None:
    message = lrs_pb2.LoadStatsRequest(cluster_stats=[stats("onprem", At(1, 1, 0, 1))])
    locality = message.cluster_stats[0].upstream_locality_stats[0]
    locality.cpu_utilization.num_requests_finished_with_metric = 4
    locality.cpu_utilization.total_metric_value = 2.0
    (each,) = read(message.SerializeToString()).endpoints
    assert each.metrics == (("cpu_utilization", 4, 2.0),)


def test_drops_are_told_by_category_and_the_rest_is_overflow() -> None:
    told = read(report(stats("onprem", drops={"lb": 3, "throttle": 2}, dropped=9)))
    assert told.drops == [Drop("onprem", "lb", 3), Drop("onprem", "throttle", 2), Drop("onprem", "overflow", 4)]


def test_what_a_leg_turns_away_is_told_of_the_cluster_it_tries_first_and_nothing_else_of_it() -> None:
    told = read(report(stats("leg/public/onprem>cloud", At(3, 10, 1, 4), dropped=5)))
    assert (told.names, told.carried, told.unknown) == (frozenset(), {}, 0)
    assert told.drops == [Drop("onprem", "overflow", 5)]


def test_clusters_of_nobody_are_counted_and_envoys_own_are_not() -> None:
    told = read(report(stats("onprem"), stats("stranger", At(1, 1, 0, 0)), stats("penstock/xds", At(1, 1, 0, 0))))
    assert (told.names, told.carried, told.unknown) == (frozenset({"onprem"}), {}, 1)


@pytest.mark.parametrize("seconds", [None, 0.0, -5.0])
def test_where_the_covered_time_is_missing_the_asked_for_interval_stands_in(seconds: float | None) -> None:
    assert carried(report(stats("onprem", At(0, 10), seconds=seconds)), seconds=2.0).issued == 5.0


def test_a_sliver_of_time_makes_no_huge_rate() -> None:
    assert carried(report(stats("onprem", At(0, 1, 0, 1), seconds=1e-9))).issued <= 20


def test_a_report_about_years_is_refused() -> None:
    assert read(report(stats("onprem", At(1, 1), seconds=86400.0 * 365))).refused == ("onprem",)


@pytest.mark.parametrize(
    "garbage", [At(2**64 - 1, 1, 1, 1), At(1, 2**64 - 1, 1, 1), At(1, 1, 2**63, 1), At(1, 1, 1, 2**40)]
)
def test_absurd_figures_are_refused_by_name_and_harm_no_other_cluster(garbage: At) -> None:
    told = read(report(stats("onprem", At(1, 1), garbage), stats("cloud", At(2, 2))))
    assert told.refused == ("onprem",)
    assert (told.names, {place.cluster for place in told.carried}) == (frozenset({"cloud"}), {"cloud"})
    assert {each.cluster for each in told.endpoints} == {"cloud"}


def test_endpoints_at_which_more_happened_than_in_their_locality_are_refused() -> None:
    told = read(report(stats("onprem", At(5, 10, 1, 9), endpoints={"10.0.0.1:1": At(5, 11, 1, 9)})))
    assert (told.refused, told.carried, told.endpoints) == (("onprem",), {}, [])


@pytest.mark.parametrize(
    ("requests", "total"),
    [(4, float("nan")), (4, float("inf")), (4, -1.0), (0, 1.0), (2**64 - 1, 1.0), (1, 1e300)],
)
def test_a_metric_that_cannot_be_true_is_left_out(requests: int, total: float) -> None:
    at = At(1, 4, 0, 4, {"named_metrics.num_requests_waiting": (requests, total)})
    (each,) = read(report(stats("onprem", at, endpoints={"10.0.0.1:1": at}))).endpoints
    assert each.metrics == ()
    assert each.issued == 4


def test_absurd_drops_are_refused() -> None:
    assert read(report(stats("onprem", At(1, 1), dropped=2**64 - 1))).refused == ("onprem",)


def test_a_category_is_no_place_to_hide_text() -> None:
    (drop,) = read(report(stats("onprem", drops={"x" * 4000: 1}))).drops
    assert drop.category == "other"


def test_a_million_clusters_are_refused_before_they_are_read() -> None:
    began = time.process_time()
    with pytest.raises(ReportError, match="clusters"):
        read(b"\x12\x00" * 1_000_000)
    assert time.process_time() - began < 5
    assert MOST_CLUSTERS < 1_000_000


def test_more_bytes_than_any_envoy_sends_are_refused_unread() -> None:
    with pytest.raises(ReportError, match="bytes"):
        read(b"\x00" * (MOST_BYTES + 1))


def test_more_endpoints_than_a_cluster_can_have_are_refused() -> None:
    endpoints = {f"10.{number >> 8}.{number & 255}.1:80": At() for number in range(MOST_ENDPOINTS + 1)}
    assert read(report(stats("onprem", At(1, 1), endpoints=endpoints))).refused == ("onprem",)


@given(
    localities=st.lists(st.builds(At, COUNTS, COUNTS, COUNTS, COUNTS), max_size=4),
    seconds=st.integers(min_value=-(2**63), max_value=2**63 - 1),
    nanos=st.integers(min_value=-(2**31), max_value=2**31 - 1),
)
def test_whatever_is_taken_is_in_bounds(localities: list[At], seconds: int, nanos: int) -> None:
    told = stats("onprem", *localities)
    told.load_report_interval.CopyFrom(interval(seconds, nanos))
    for figures in read(report(told)).carried.values():
        assert 0 <= figures.in_flight <= 1_000_000
        assert all(0 <= rate <= 1_000_000 * MILLIONTHS for rate in figures[1:])


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_a_report_or_an_error(message: bytes) -> None:
    try:
        told = read(message)
    except ReportError:
        return
    assert told.names <= KNOWN


@given(cut=st.integers(min_value=0, max_value=400), flip=st.integers(min_value=0, max_value=400))
def test_a_report_cut_short_or_damaged_is_a_report_or_an_error(cut: int, flip: int) -> None:
    at = At(3, 10, 1, 4, {"named_metrics.num_requests_waiting": (4, 12.0)})
    message = bytearray(report(stats("onprem", at, endpoints={"10.0.0.1:8000": at}, drops={"lb": 2})))
    message[flip % len(message)] ^= 0xFF
    try:
        told = read(bytes(message[: cut % len(message)]))
    except ReportError:
        return
    for each in told.endpoints:
        readable(each.address)
