import math
from pathlib import Path

import pytest

from penstock.replay.errors import ReplayError
from penstock.replay.fault_file import read_faults
from penstock.replay.faults import CapacityLoss, Outage, PriceMove, Silence, Source, described
from penstock.replay.price_file import read_prices
from tests.replay.replaying import fleet, write

FAULTS = """
faults:
  - {outage: onprem, at: 10m, for: 5m, endpoints: 1}
  - {outage: cloud, at: 20m, for: 30s, hang: true}
  - {capacity: cloud, at: 1m, for: 1m, factor: 50%}
  - {price: cloud, at: 15m, usdPerMillionTokens: 2.5}
  - {stale: prices, at: 1h, for: 10m}
"""


def test_faults_are_read_with_their_times_in_seconds(tmp_path: Path) -> None:
    assert read_faults(write(tmp_path / "faults.yaml", FAULTS), fleet()) == (
        Outage("onprem", 600, 900, 1),
        Outage("cloud", 1200, 1230, hang=True),
        CapacityLoss("cloud", 60, 120, 0.5),
        PriceMove("cloud", 900, math.inf, 2.5),
        Silence(Source.PRICES, 3600, 4200),
    )


def test_every_fault_is_described_for_people(tmp_path: Path) -> None:
    lines = [described(fault) for fault in read_faults(write(tmp_path / "faults.yaml", FAULTS), fleet())]
    assert lines[0] == "outage of 1 endpoint of onprem from 600 s to 900 s"
    assert lines[3] == "price cloud to 2.5 USD/Mtok from 900 s"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("faults: 3\n", ":1: expected `faults:` with a list"),
        ("faults:\n  - {outage: nowhere, at: 1m}\n", ":2: no cluster 'nowhere'; known are cloud, onprem"),
        ("faults:\n  - {outage: cloud, at: 90}\n", ":2: at: expected a duration"),
        ("faults:\n  - {outage: cloud, at: 1m, endpoints: 4}\n", ":2: expected endpoints from 1 to 1, not 4"),
        ("faults:\n\n  - {capacity: cloud, factor: 0%}\n", ":3: expected a factor above 0%"),
        ("faults:\n  - {price: cloud}\n", ":2: expected usdPerMillionTokens or factor, one of them"),
        ("faults:\n  - {price: cloud, factor: -1}\n", ":2: factor: expected a number from 0 to 1000000, not -1"),
        ("faults:\n  - {price: cloud, usdPerMillionTokens: .inf}\n", ":2: usdPerMillionTokens: expected a number"),
        ("faults:\n  - {price: cloud, usdPerMillionTokens: .nan}\n", ":2: usdPerMillionTokens: expected a number"),
        ("faults:\n  - {price: clowd, factor: 2}\n", ":2: no price key or cluster 'clowd'; did you mean cloud?"),
        ("faults:\n  - {stale: price, at: 1m}\n", ":2: no source 'price'; did you mean prices?"),
        ("faults:\n  - {outage: clout}\n", ":2: no cluster 'clout'; did you mean cloud?"),
        ("faults:\n  - {outage: [cloud]}\n", ":2: expected the name of a cluster, not a list"),
        (
            "faults:\n  - {outage: cloud, until: 1m}\n",
            ":2: unknown field until; a fault of this kind has outage, at, for, endpoints, hang",
        ),
        ("faults:\n  - {outage: cloud, endpoint: 1}\n", ":2: unknown field endpoint; a fault of this kind has outage"),
        ("faults:\n  - {outage: cloud, endpoint: 1}\n", "did you mean endpoints?"),
        ("faults:\n  - outage: cloud\n    at: 1m\n    hang: 'yes'\n", ":4: hang: expected true or false, not 'yes'"),
        ("faults:\n  - outage: cloud\n    for: 0s\n", ":3: for: expected a duration above 0s"),
        ("faults:\n  - outage: cloud\n    at: 1m\n    at: 2m\n", ":4: faults[0].at: the key is written twice"),
        ("faults: []\nfaults: []\n", ":2: faults: the key is written twice"),
        ("faults: []\nfault: []\n", ":2: unknown field fault"),
        ("faults:\n  - {at: 1m}\n", ":2: expected one of outage, capacity, price, stale"),
        ("faults:\n  - {outtage: cloud}\n", "; did you mean outage?"),
        ("faults:\n  - {outage: cloud, price: cloud}\n", ", not outage and price at once"),
        ("faults:\n  - {capacity: cloud}\n", ":2: expected a factor, such as 50%"),
        ("faults:\n  - cloud\n", ":2: expected each fault to be a mapping"),
        ("faults:\n  - [outage\n", ": invalid YAML"),
        ("", ":1: expected `faults:` with a list"),
    ],
)
def test_a_wrong_fault_is_refused_with_its_line(tmp_path: Path, text: str, place: str) -> None:
    with pytest.raises(ReplayError) as refused:
        read_faults(write(tmp_path / "faults.yaml", text), fleet())
    assert place in str(refused.value)


def test_nothing_that_is_not_text_is_read(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match="cannot be read"):
        read_faults(tmp_path / "nowhere.yaml", fleet())


def test_prices_over_time_are_read_in_order(tmp_path: Path) -> None:
    text = "seconds,key,usdPerMillionTokens\n600,cloud,3\n0,cloud,2\n"
    assert read_prices(write(tmp_path / "prices.csv", text), fleet()) == (
        PriceMove("cloud", 0, math.inf, 2),
        PriceMove("cloud", 600, math.inf, 3),
    )


@pytest.mark.parametrize("line", ["1,nobody,3", "1,cloud", "1,cloud,-3", "soon,cloud,3", "1,cloud,nan", "1,cloud,inf"])
def test_a_wrong_price_is_refused_with_its_line(tmp_path: Path, line: str) -> None:
    with pytest.raises(ReplayError, match=r"prices\.csv:2: "):
        read_prices(write(tmp_path / "prices.csv", f"seconds,key,usdPerMillionTokens\n{line}\n"), fleet())


def test_a_mistyped_or_doubled_price_key_is_told(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match=r":1: no price key or cluster 'clout'; did you mean cloud\?"):
        read_prices(write(tmp_path / "prices.csv", "1,clout,3\n"), fleet())
    with pytest.raises(ReplayError, match=r":2: a second price of cloud at 5 s"):
        read_prices(write(tmp_path / "prices.csv", "5,cloud,3\n5,cloud,4\n"), fleet())
