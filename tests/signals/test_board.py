"""What the board keeps and forgets."""

from dataclasses import replace
from typing import Any

import pytest

from penstock.signals.board import LOAD_MEMORY, ObservationBoard, Signs
from penstock_policies.observations import EndpointProbe, EngineLoad, Intensity, Load, Price, Spend
from tests.signals.edge_policies import edge_policy, probed
from tests.signals.signal_policies import cluster, feed, policy_set

PROBE = EndpointProbe(at=1.0, consecutive_ok=1, consecutive_failed=0)
LOAD = Load(at=1.0, in_flight=3, request_rate=2.0, error_rate=0.0)
PRICE = Price(at=1.0, usd_per_million_tokens=0.9)

ONPREM = cluster("onprem", ("10.0.0.1", 8000), ("10.0.0.2", 8000))
CLOUD = cluster("cloud", ("10.1.0.1", 443))
PRICES = feed("prices", type="file", path="prices.json")


@pytest.fixture
def board() -> ObservationBoard:
    made = ObservationBoard()
    made.apply(policy_set([ONPREM, CLOUD], [PRICES]))
    made.set_probe("onprem", "10.0.0.1:8000", PROBE)
    made.set_probe("cloud", "10.1.0.1:443", PROBE)
    made.set_load({"eu": {"onprem": LOAD, "cloud": LOAD}})
    made.set_prices("prices", {"eu/llama": PRICE})
    return made


def test_facts_of_what_the_policy_names_are_kept(board: ObservationBoard) -> None:
    seen = board.snapshot(now=1.0)
    assert seen.probes == {"onprem": {"10.0.0.1:8000": PROBE}, "cloud": {"10.1.0.1:443": PROBE}}
    assert seen.load == {"eu": {"onprem": LOAD, "cloud": LOAD}}
    assert seen.prices == {"prices": {"eu/llama": PRICE}}


def test_facts_of_what_the_policy_does_not_name_are_dropped(board: ObservationBoard) -> None:
    before = board.snapshot(now=1.0)
    board.set_probe("onprem", "10.9.9.9:1", PROBE)
    board.set_probe("nosuch", "10.0.0.1:8000", PROBE)
    board.set_load({"eu": {"onprem": LOAD, "cloud": LOAD, "xds": LOAD}, "us": {"xds": LOAD}})
    board.set_prices("nosuch", {"a": PRICE})
    assert board.snapshot(now=1.0) == before


def test_a_new_policy_set_takes_away_what_it_no_longer_names(board: ObservationBoard) -> None:
    board.apply(policy_set([cluster("onprem", ("10.0.0.2", 8000))]))
    seen = board.snapshot(now=1.0)
    assert (seen.probes, seen.load, seen.prices) == ({}, {"eu": {"onprem": LOAD}}, {})


def test_a_snapshot_does_not_change_when_the_board_does(board: ObservationBoard) -> None:
    seen = board.snapshot(now=1.0)
    board.set_probe("onprem", "10.0.0.2:8000", PROBE)
    board.set_load({})
    board.set_prices("prices", {})
    assert len(seen.probes["onprem"]) == 1
    assert seen.load == {"eu": {"onprem": LOAD, "cloud": LOAD}}
    assert seen.prices == {"prices": {"eu/llama": PRICE}}


def test_a_snapshot_cannot_be_written_to(board: ObservationBoard) -> None:
    seen: Any = board.snapshot(now=1.0)
    for facts in (seen.probes, seen.probes["onprem"], seen.load, seen.load["eu"], seen.prices, seen.prices["prices"]):
        with pytest.raises(TypeError):
            facts["new"] = None


def test_load_that_no_edge_renews_is_forgotten_in_the_end(board: ObservationBoard) -> None:
    assert board.snapshot(now=1.0 + LOAD_MEMORY).load
    assert board.snapshot(now=1.1 + LOAD_MEMORY).load == {}


def test_what_engines_and_feeds_and_the_meter_say_is_kept_for_what_the_policy_names() -> None:
    board = ObservationBoard()
    board.apply(policy_set([ONPREM], [PRICES]))
    board.set_engine("onprem", EngineLoad(at=1.0, waiting=2.0))
    board.set_engine("stranger", EngineLoad(at=1.0))
    board.set_carbon("prices", {"eu": Intensity(1.0, 120.0)})
    board.set_carbon("stranger", {"eu": Intensity(1.0, 120.0)})
    board.set_spend({"cloud": Spend(1.0, 0.0, 12.5)})
    known = board.snapshot(2.0)
    assert dict(known.engines) == {"onprem": EngineLoad(at=1.0, waiting=2.0)}
    assert known.carbon == {"prices": {"eu": Intensity(1.0, 120.0)}}
    assert known.spend["cloud"].usd == 12.5
    board.apply(policy_set([CLOUD]))
    after = board.snapshot(2.0)
    assert (dict(after.engines), dict(after.carbon), dict(after.spend)) == ({}, {}, {})
    assert known.engines["onprem"].waiting == 2.0


def test_engines_that_fell_silent_are_forgotten() -> None:
    board = ObservationBoard()
    board.apply(policy_set([ONPREM]))
    board.set_engine("onprem", EngineLoad(at=1.0))
    assert not board.snapshot(1.0 + LOAD_MEMORY + 1.0).engines
    board.set_engine("onprem", None)
    assert not board.snapshot(1.0).engines


def test_what_regions_say_is_kept_of_clusters_probed_from_the_edge_and_of_no_others() -> None:
    policy = edge_policy([probed("onprem", ("10.0.0.1", 8000)), cluster("cloud", ("10.1.0.1", 443))])
    board = ObservationBoard()
    board.apply(policy)
    for region in ("eu-west", "mars"):
        for name, endpoint in (("onprem", "10.0.0.1:8000"), ("onprem", "10.9.9.9:1"), ("cloud", "10.1.0.1:443")):
            board.set_edge_probe(region, name, endpoint, PROBE)
    seen = board.snapshot(1000.0)
    assert seen.edge_probes == {"eu-west": {"onprem": {"10.0.0.1:8000": PROBE}}}
    board.apply(edge_policy([cluster("onprem", ("10.0.0.1", 8000))]))
    assert board.snapshot(1000.0).edge_probes == {}
    assert seen.edge_probes == {"eu-west": {"onprem": {"10.0.0.1:8000": PROBE}}}
    # And what the control plane found itself is forgotten where the edge has the word.
    board.set_probe("onprem", "10.0.0.1:8000", PROBE)
    assert "onprem" in board.snapshot(1000.0).probes
    board.apply(policy)
    board.set_probe("onprem", "10.0.0.1:8000", PROBE)
    assert board.snapshot(1000.0).probes == {}


def test_what_deeper_probes_found_goes_with_the_word_of_every_region() -> None:
    policy = edge_policy([probed("onprem", ("10.0.0.1", 8000), ("10.0.0.2", 8000))])
    board = ObservationBoard()
    board.apply(policy)
    board.set_signs("onprem", "10.0.0.1:8000", Signs(generation_failed=3, limited_at=7.0))
    for endpoint in ("10.0.0.1:8000", "10.0.0.2:8000"):
        board.set_edge_probe("us-east", "onprem", endpoint, PROBE)
    assert board.snapshot(1000.0).edge_probes["us-east"]["onprem"] == {
        "10.0.0.1:8000": replace(PROBE, generation_failed=3, limited_at=7.0),
        "10.0.0.2:8000": PROBE,
    }
