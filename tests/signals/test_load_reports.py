"""Reading Envoy's load reports, garbage included."""

import itertools
import math

import pytest
from envoy.config.endpoint.v3 import load_report_pb2
from envoy.service.load_stats.v3 import lrs_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from penstock.signals.load_reports import ClusterLoad, parse, total

COUNTS = st.integers(min_value=0, max_value=2**64 - 1)


def _message(*localities: tuple[int, int, int, int], name: str = "onprem", interval: Duration | None = None) -> bytes:
    stats = load_report_pb2.ClusterStats(
        cluster_name=name,
        load_report_interval=interval,
        upstream_locality_stats=[
            load_report_pb2.UpstreamLocalityStats(
                total_requests_in_progress=in_flight,
                total_issued_requests=issued,
                total_error_requests=errors,
                total_successful_requests=successes,
            )
            for in_flight, issued, errors, successes in localities
        ],
    )
    request = lrs_pb2.LoadStatsRequest(cluster_stats=[stats])
    request.node.id = "edge-1"
    request.node.cluster = "edge-eu"
    return bytes(request.SerializeToString())


def test_localities_are_summed_and_counts_become_rates_over_the_time_they_cover() -> None:
    report = parse(_message((3, 10, 1, 4), (2, 20, 0, 6), interval=Duration(seconds=2)), 1.0)
    assert (report.node_id, report.node_cluster) == ("edge-1", "edge-eu")
    assert report.clusters == {"onprem": ClusterLoad(5, 15.0, 0.5, 5.0)}


def test_a_cluster_without_traffic_is_known_to_have_none() -> None:
    assert parse(_message(interval=Duration(seconds=1)), 1.0).clusters == {"onprem": ClusterLoad(0, 0.0, 0.0, 0.0)}


def test_composite_legs_are_left_out() -> None:
    assert parse(_message((3, 10, 1, 4), name="leg/public/onprem>cloud"), 1.0).clusters == {}


@pytest.mark.parametrize("interval", [None, Duration(seconds=0), Duration(seconds=-5)])
def test_where_the_covered_time_is_missing_the_asked_for_interval_stands_in(interval: Duration | None) -> None:
    assert parse(_message((0, 10, 0, 0), interval=interval), 2.0).clusters["onprem"].request_rate == 5.0


def test_a_sliver_of_time_makes_no_huge_rate() -> None:
    load = parse(_message((0, 1, 0, 1), interval=Duration(nanos=1)), 1.0).clusters["onprem"]
    assert load.request_rate <= 20


@pytest.mark.parametrize("garbage", [(2**64 - 1, 1, 1, 1), (1, 2**64 - 1, 1, 1), (1, 1, 2**63, 1), (1, 1, 1, 2**40)])
def test_absurd_figures_are_refused_by_name(garbage: tuple[int, int, int, int]) -> None:
    report = parse(_message(garbage, interval=Duration(seconds=1)), 1.0)
    assert (report.clusters, report.refused) == ({}, ("onprem",))


@given(
    localities=st.lists(st.tuples(COUNTS, COUNTS, COUNTS, COUNTS), max_size=4),
    seconds=st.integers(min_value=-(2**63), max_value=2**63 - 1),
    nanos=st.integers(min_value=-(2**31), max_value=2**31 - 1),
)
def test_whatever_is_taken_is_finite_and_not_negative(
    localities: list[tuple[int, int, int, int]], seconds: int, nanos: int
) -> None:
    message = _message(*localities, interval=Duration(seconds=seconds, nanos=nanos))
    for load in parse(message, 1.0).clusters.values():
        figures = (load.in_flight, load.request_rate, load.error_rate, load.success_rate)
        assert all(math.isfinite(figure) and figure >= 0 for figure in figures)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_report_or_a_decode_error(message: bytes) -> None:
    try:
        parse(message, 1.0)
    except DecodeError:
        return


def test_several_envoys_are_summed_and_as_old_as_the_newest() -> None:
    reports = [
        (10.0, {"onprem": ClusterLoad(3, 1.5, 0.5, 1.0), "cloud": ClusterLoad(1, 0.0, 0.0, 0.0)}),
        (12.0, {"onprem": ClusterLoad(4, 2.0, 0.0, 2.0)}),
    ]
    load = total(reports)
    onprem = load["onprem"]
    assert (onprem.at, onprem.in_flight, onprem.request_rate) == (12.0, 7.0, 3.5)
    assert (onprem.error_rate, onprem.success_rate, onprem.reporters) == (0.5, 3.0, 2)
    assert (load["cloud"].at, load["cloud"].reporters) == (10.0, 1)


def test_the_order_of_envoys_does_not_change_the_sum_by_a_bit() -> None:
    reports = [(1.0, {"onprem": ClusterLoad(1, rate, rate, rate)}) for rate in (0.1, 0.2, 0.3, 1e6)]
    assert len({total(order)["onprem"].request_rate for order in itertools.permutations(reports)}) == 1
