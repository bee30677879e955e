"""A plan reads the files of feeds that nobody has read yet, in whatever shape they are."""

from dataclasses import replace
from pathlib import Path

import pytest

from penstock.plan.feeds import with_feeds
from penstock.plan.inputs import Inputs
from penstock_policies.engine import decide
from penstock_policies.observations import Rate
from penstock_policies.overrides import Overrides
from penstock_policies.policyset import PolicySet
from tests.plan.planning import NOW, policies
from tests.policies.writing import SOUND

FED = SOUND.replace("capacity: {concurrency: 100}", "capacity: {concurrency: 100}\n  cost: {feed: bills, key: home}", 1)


def fed_by(spec: str) -> PolicySet:
    feed = f"---\napiVersion: penstock/v1\nkind: CostFeed\nmetadata: {{name: bills}}\nspec: {spec}\n"
    return policies(FED + feed)


def test_a_mapped_file_in_another_currency_is_read_as_the_control_plane_would(tmp_path: Path) -> None:
    (tmp_path / "bill.json").write_text('{"power": [{"eur": 0.002}]}', encoding="utf-8")
    policy = fed_by(
        "{type: file, path: bill.json, currency: EUR, rates: {EUR: 1.5}, "
        "map: [{pointer: /power/0/eur, key: home, unit: perThousandTokens}]}"
    )
    fed = with_feeds(replace(Inputs(), at=NOW), policy, tmp_path, None)
    assert fed.unread == ()
    assert fed.inputs.observations.prices["bills"]["home"].usd_per_million_tokens == 3.0


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    policy = fed_by("{type: file, path: nowhere.json}")
    fed = with_feeds(replace(Inputs(), at=NOW), policy, tmp_path, None)
    assert len(fed.unread) == 1
    assert "feed bills is not read" in fed.unread[0]


def test_a_price_by_the_gpu_hour_is_read_in_its_own_unit(tmp_path: Path) -> None:
    (tmp_path / "gpus.json").write_text('{"eur": 2.0}', encoding="utf-8")
    rates = "capacity: {concurrency: 100, tokensPerSecond: 5000, promptTokensPerSecond: 50000, gpus: 4}"
    feed = (
        "---\napiVersion: penstock/v1\nkind: CostFeed\nmetadata: {name: bills}\n"
        "spec: {type: file, path: gpus.json, currency: EUR, rates: {EUR: 1.5}, "
        "map: [{pointer: /eur, key: home, unit: perGpuHour}]}\n"
    )
    policy = policies(FED.replace("capacity: {concurrency: 100}", rates, 1) + feed)
    fed = with_feeds(replace(Inputs(), at=NOW), policy, tmp_path, None)
    assert fed.inputs.observations.rates["bills"]["home"] == Rate(NOW, 3.0, "GPU-hour")
    decision = decide(policy, fed.inputs.observations, Overrides(), None, NOW)
    assert decision.clusters["onprem"].price == pytest.approx(12 / 18)


def test_a_price_api_is_not_asked_and_that_is_told(tmp_path: Path) -> None:
    policy = fed_by("{type: azure, azure: [{key: home, region: westeurope, sku: s, unit: perMillionTokens}]}")
    fed = with_feeds(replace(Inputs(), at=NOW), policy, tmp_path, None)
    assert fed.unread == ("feed bills is not read: plans read files alone",)
