"""What people and programs are told of a replay, whichever way it went."""

import re
from dataclasses import replace
from typing import Any

import pytest

from penstock.replay.faults import Outage
from penstock.replay.report_html import as_html
from penstock.replay.report_text import COLUMNS, conclusions, table
from penstock.replay.results import Result, above_optimum, as_json, cadence
from penstock.replay.run import run_one
from penstock.replay.scenario import Scenario
from tests.replay.replaying import scenario, steady

MADE = Result(
    strategy="penstock",
    requests=1000,
    cost_usd=10.0,
    slo_missed=0,
    unserved=0,
    interrupted=0,
    failovers=0,
    moved=1.0,
    reversals=2,
    residency_breaches=0,
    ttft_p50=0.1,
    ttft_p95=0.2,
    ttft_p99=0.3,
    tokens=100_000,
    served={"onprem": 1000},
    cost_by_bucket=[10.0],
    missed_by_bucket=[0],
    served_by_bucket={"onprem": [1000]},
)


def told(ours: int, theirs: int, *, cost: float = 10.0, best_missed: int = 0, **changes: Any) -> list[str]:
    results = {
        "penstock": replace(MADE, slo_missed=ours, cost_usd=cost, **changes),
        "clairvoyant": replace(MADE, strategy="clairvoyant", slo_missed=best_missed),
        "waterfall": replace(MADE, strategy="waterfall", slo_missed=theirs),
        "static_split": replace(MADE, strategy="static_split", slo_missed=theirs + 3),
    }
    return list(conclusions(results))


@pytest.mark.parametrize(
    ("ours", "theirs", "sentence"),
    [
        (0, 0, "it missed the SLO for no request, and so did the best baseline (waterfall, at 10.0000 USD)"),
        (4, 4, "it missed the SLO for 4 requests, as many as the best baseline (waterfall, at 10.0000 USD)"),
        (1, 4, "it missed the SLO for 1 request, fewer than the best baseline (waterfall, at 10.0000 USD): 4"),
        (7, 4, "it missed the SLO for 7 requests, more than the best baseline (waterfall, at 10.0000 USD): 4"),
    ],
)
def test_slo_misses_are_held_against_the_best_baseline(ours: int, theirs: int, sentence: str) -> None:
    assert told(ours, theirs)[1] == sentence


def test_cost_is_held_against_the_optimum_only_where_both_served_the_same() -> None:
    assert told(0, 0, cost=10.2)[0].startswith("penstock costs 2.0% more than the clairvoyant optimum")
    assert told(9, 0, cost=9.0)[0].endswith("as empty as the policy plans them: 9 SLO misses against 0")
    assert "cannot be held against the clairvoyant optimum" in told(9, 0, cost=5.0, unserved=9)[0]


def test_above_the_optimum_is_unknown_where_much_was_not_served_or_was_cut_off() -> None:
    def above(**changes: Any) -> float | None:
        return above_optimum({"clairvoyant": MADE, "other": replace(MADE, cost_usd=5.0, **changes)}, "other")

    assert above() == -0.5
    assert above(unserved=5) == -0.5
    assert above(unserved=6) is None
    assert above(tokens=99_000) is None
    assert above(tokens=99_900) == -0.5
    results = {"clairvoyant": MADE, "other": replace(MADE, strategy="other", unserved=500)}
    headings, rows = table(results)
    assert rows[1][headings.index("vs optimum#")] == "-"
    assert as_json(scenario(steady(2, 1)), results)["strategies"]["other"]["above_clairvoyant"] is None


def test_a_day_is_decided_as_often_as_there_is_time_for_and_the_report_says_so() -> None:
    hour, day = scenario(steady(2, 3600), tick=None), scenario(steady(2, 86_400), tick=None)
    assert (hour.tick, cadence(hour)) == (1, "")
    assert day.tick == 9
    assert cadence(day).startswith("In production Penstock decides every second; here every 9 s, so that")
    assert as_json(day, {})["tick_note"] == cadence(day)
    assert cadence(day).split(";")[0] in as_html(day, {"penstock": MADE})
    assert (
        cadence(scenario(steady(2, 60), tick=0.5)) == "In production Penstock decides every second; here every 0.5 s."
    )


def test_what_goes_wrong_in_a_long_day_is_watched_as_closely_as_in_production() -> None:
    day = scenario(steady(2, 86_400), tick=None, faults=(Outage("onprem", 1000, 2000),))
    assert day.close_looks() == [float(at) for start in (1000, 2000) for at in range(start, start + 60)]
    assert "(but every second in the first 60 s after each fault begins or ends)" in cadence(day)
    assert scenario(steady(2, 86_400), tick=9, faults=day.faults).close_looks() == []
    assert scenario(steady(2, 3600), tick=None, faults=day.faults).close_looks() == []


def test_the_narrow_table_leaves_out_what_does_not_fit_and_keeps_what_matters() -> None:
    headings, rows = table({"penstock": MADE}, narrow=True)
    assert {"strategy", "USD#", "vs optimum#", "SLO missed#", "unserved#", "breaches#"} <= set(headings)
    assert len(headings) == len(rows[0]) < len(COLUMNS)


@pytest.fixture(scope="module")
def page() -> str:
    made: Scenario = scenario(steady(60, 1), faults=(Outage("onprem", 10, 20), Outage("cloud", 600, 700)))
    return as_html(made, {name: run_one(made, name) for name in ("penstock", "clairvoyant", "waterfall")})


def test_the_page_explains_its_columns(page: str) -> None:
    for column in COLUMNS:
        assert f"<dt>{column.heading.removesuffix('#')}</dt>" in page
    assert "outage of onprem from 10 s to 20 s" in page


def test_the_page_fetches_nothing_and_offers_to_send_nothing(page: str) -> None:
    markup = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"(src|href|action)\s*=", markup)
    assert not re.search(r"<(link|iframe|img|object|embed)\b", markup)
    assert "connect-src 'none'" in markup
    configs = re.findall(r'\{[^{}]*"displaylogo"[^{}]*\}', page)
    assert configs
    assert all('"displaylogo": false' in each and '"showSendToCloud": false' in each for each in configs)
