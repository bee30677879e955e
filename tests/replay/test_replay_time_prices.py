"""Clusters priced by the hour in a replay."""

from pathlib import Path

from penstock.replay.prepare import prepare
from penstock.replay.run import run_all
from penstock_policies.loader import load
from tests.replay.replaying import FLEET

FEED = """
---
apiVersion: penstock/v1
kind: CostFeed
metadata: {name: gpus}
spec: {type: file, path: gpus.json, map: [{pointer: /eu, key: eu, unit: usdPerHour}]}
"""
POLICY = (
    FLEET.replace("cost: {usdPerMillionTokens: 10.0}", "cost: {feed: gpus, key: eu}")
    .replace("CHAT", "60")
    .replace("RECORDS", "40")
) + FEED


def test_an_hourly_price_is_one_of_tokens_throughout_in_worker_processes_too(tmp_path: Path) -> None:
    (tmp_path / "gpus.json").write_text('{"eu": 14.4}', encoding="utf-8")
    trace = tmp_path / "trace.csv"
    lines = [f"2026-11-16 18:15:{second:02},800,100" for second in range(20)]
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + "\n".join(lines), encoding="utf-8")
    files = {"policy.yaml": POLICY}
    scenario, warnings = prepare(tmp_path, files, load(files).require(), trace=trace)
    # 14.4 USD an hour over 400 tokens a second.
    assert warnings == ("cloud is priced by the hour: taken for 10 USD/Mtok throughout",)
    assert scenario.prices["cloud"] == 10.0
    names = ["penstock", "cheapest_first"]
    alone = run_all(scenario, names, processes=1, told=lambda *_: None)
    together = run_all(scenario, names, processes=2, told=lambda *_: None)
    assert {name: one.cost_usd for name, one in alone.items()} == {name: one.cost_usd for name, one in together.items()}
