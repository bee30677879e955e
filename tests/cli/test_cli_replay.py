"""``penstock replay`` as somebody calls it: what it prints, and what it says of what is wrong."""

import json
from pathlib import Path

import pytest

from penstock.cli import replayed
from tests.cli.conftest import Run
from tests.replay.replaying import azure_csv, fleet_text, random_arrivals, write


@pytest.fixture
def directory(tmp_path: Path) -> str:
    made = tmp_path / "policies"
    made.mkdir()
    write(made / "fleet.yaml", fleet_text(80))
    return str(made)


@pytest.fixture
def trace(tmp_path: Path) -> str:
    return str(write(tmp_path / "trace.csv", azure_csv(random_arrivals(40, 1.0))))


def replay(run: Run, directory: str, trace: str, *more: str, baseline: str = "waterfall") -> tuple[int, str, str]:
    ran = run("replay", directory, "--trace", trace, "--run-in", "0", "--jobs", "1", "--baseline", baseline, *more)
    return ran.code, ran.out, ran.err


def test_json_is_json_and_holds_every_strategy(run: Run, directory: str, trace: str) -> None:
    code, out, _ = replay(run, directory, trace, "-o", "json", baseline="all")
    assert code == 0
    report = json.loads(out, parse_constant=pytest.fail)
    assert list(report["strategies"])[:2] == ["penstock", "clairvoyant"]
    assert len(report["strategies"]) == 8
    assert report["strategies"]["penstock"]["residency_breaches"] == 0


def test_the_table_fits_a_terminal_of_80_columns(
    run: Run, directory: str, trace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replayed, "width", lambda: 80)
    _, out, _ = replay(run, directory, trace, baseline="all")
    lines = out.splitlines()
    table = lines[next(number for number, line in enumerate(lines) if line.startswith("strategy")) :]
    table = table[: next(number for number, line in enumerate(table) if line.startswith("More columns"))]
    assert max(len(line.rstrip()) for line in table) <= 80
    assert [line.split("  ")[0] for line in table[2:10]] == [
        "penstock",
        "clairvoyant",
        "static split",
        "on prem only",
        "cloud only",
        "waterfall",
        "cheapest first",
        "latency greedy",
    ]


def test_where_there_is_room_nothing_is_left_out(run: Run, directory: str, trace: str) -> None:
    _, out, _ = replay(run, directory, trace)
    assert "reversals" in out
    assert "More columns" not in out


def test_a_coarse_tick_is_told(run: Run, directory: str, trace: str) -> None:
    _, out, _ = replay(run, directory, trace, "--tick", "5")
    assert "In production Penstock decides every second; here every 5 s" in out


def test_a_mistyped_baseline_gets_a_guess(run: Run, directory: str, trace: str) -> None:
    code, _, err = replay(run, directory, trace, baseline="waterfal")
    assert code == 2
    assert "no baseline 'waterfal'" in err
    assert "did you mean waterfall? Known are all, none, clairvoyant" in err


def test_faults_that_never_come_are_told_by_name(run: Run, directory: str, trace: str, tmp_path: Path) -> None:
    faults = write(
        tmp_path / "x.faults", "faults:\n  - {outage: cloud, at: 10s, for: 5s}\n  - {stale: loads, at: 10m}\n"
    )
    code, out, err = replay(run, directory, trace, "--faults", str(faults))
    assert code == 0
    assert "outage of cloud from 10 s to 15 s" in out
    assert "no news of loads from 600 s: never comes, as the trace ends at" in err
    assert "outage" not in err


def test_a_wrong_file_is_told_with_its_line(run: Run, directory: str, trace: str, tmp_path: Path) -> None:
    faults = write(tmp_path / "x.faults", "faults:\n  - {outage: clowd, at: 10s}\n")
    code, out, err = replay(run, directory, trace, "--faults", str(faults))
    assert (code, out) == (2, "")
    assert f"{faults}:2: no cluster 'clowd'; did you mean cloud?" in err


def test_the_html_report_is_written_beside_the_text(run: Run, directory: str, trace: str, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    replay(run, directory, trace, "--report", str(report))
    assert "<h1>Penstock replay</h1>" in report.read_text(encoding="utf-8")
