"""The demo's policy files are good ones."""

import json
from pathlib import Path

from penstock.demo.fleet import CLOUD_US, CLOUDS, CLUSTERS, LIST_PRICES, ON_PREM, Edge, write_policies, write_prices
from penstock_policies.loader import load
from penstock_policies.words import DataClass

EDGES = (Edge("edge-eu", "eu-west", 10000, 10001), Edge("edge-us", "us-east", 10002, 10003))


def test_the_policy_files_load_without_a_complaint_and_keep_restricted_data_on_prem(tmp_path: Path) -> None:
    write_policies(tmp_path, {name: 8000 + index for index, name in enumerate(CLUSTERS)}, EDGES)
    loaded = load({path.name: path.read_text() for path in tmp_path.glob("*.yaml")})
    assert loaded.problems == ()
    policy = loaded.policy_set
    assert policy is not None
    assert set(policy.clusters) == set(CLUSTERS)
    assert policy.regions() == ("eu-west", "us-east")
    allowed = {name for name, c in policy.clusters.items() if policy.allowed(c, DataClass.RESTRICTED) is None}
    assert allowed == {ON_PREM}


def test_prices_are_replaced_in_one_piece_under_the_keys_the_clusters_name(tmp_path: Path) -> None:
    write_policies(tmp_path, dict.fromkeys(CLUSTERS, 8000), EDGES)
    write_prices(tmp_path, {**LIST_PRICES, CLOUD_US: 0.6})
    prices = {p["key"]: p["usdPerMillionTokens"] for p in json.loads((tmp_path / "prices.json").read_text())["prices"]}
    assert prices == {"eu-west/llama-3-70b": 0.90, "us-east/llama-3-70b": 0.6}
    assert len(prices) == len(CLOUDS)
    assert not list(tmp_path.glob(".prices*"))
