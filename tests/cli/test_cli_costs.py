"""``penstock costs`` as a user calls it."""

import csv
import io

import pytest

from penstock.state.costs import Found
from tests.admin.costs_world import REPORT
from tests.admin.fake_control import FakeControlPlane
from tests.admin.test_admin_costs import coarse
from tests.cli.conftest import Run


@pytest.mark.usefixtures("server")
def test_costs_are_shown_by_part_with_idle_time_and_a_total(run: Run, control: FakeControlPlane) -> None:
    control.found = coarse(REPORT, "cluster", "policy")
    ran = run("costs", "--by", "cluster,policy", "--since", "24h")
    assert ran.code == 0
    lines = ran.out.splitlines()
    home = next(line for line in lines if line.startswith("onprem-fra"))
    for shown in ("chat", "100,000", "$0.002", "$0.02", "$8.56", "$85.60", "99.0%", "$0.09"):
        assert shown in home
    assert "onprem-ams" in ran.out
    assert "(idle 30.0 min)" in ran.out
    assert "(none answered)" in ran.out
    (total,) = (line for line in lines if line.startswith("TOTAL"))
    assert "$12.88" in total or "$12.89" in total
    assert "34.0% of the tokens are estimated" in ran.out
    assert "do not ask whether there was room" in ran.out


@pytest.mark.usefixtures("server")
def test_idle_time_is_shown_whatever_is_told_apart(run: Run, control: FakeControlPlane) -> None:
    control.found = coarse(REPORT, "policy")
    ran = run("costs", "--by", "policy")
    assert "onprem-ams (idle 30.0 min)" in ran.out


@pytest.mark.usefixtures("server")
def test_hours_are_told_apart_when_asked_for(run: Run, control: FakeControlPlane) -> None:
    control.found = Found(tuple(line for line in REPORT.lines if line.of["cluster"]), REPORT.idle)
    ran = run("costs", "--by", "policy", "--hourly", "--until", "1h")
    assert ran.code == 0
    assert "2027-01-15T07:00:00.000Z" in ran.out
    assert control.asked[0].hourly


@pytest.mark.usefixtures("server")
def test_programs_get_the_answer_as_it_is(run: Run, control: FakeControlPlane) -> None:
    control.found = coarse(REPORT, "cluster")
    assert run("costs", "-o", "json").json["idle"][0]["usd"] == 4.28


@pytest.mark.usefixtures("server")
def test_focus_is_the_whole_ledger_as_csv(run: Run, control: FakeControlPlane) -> None:
    control.found = REPORT
    ran = run("costs", "-o", "focus", "--since", "1h", "--until", "1h")
    assert ran.code == 0
    rows = list(csv.DictReader(io.StringIO(ran.out)))
    assert [row["ResourceId"] for row in rows] == ["cloud-eu-west", "onprem-fra", "", "onprem-ams"]
    assert ran.err == "4 charges exported\n"


@pytest.mark.usefixtures("server")
def test_a_time_without_traffic_is_said(run: Run) -> None:
    ran = run("costs")
    assert ran.code == 0
    assert "no traffic in that time" in ran.out


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--by", "polcy"), "did you mean 'policy'?"),
        (("--since", "soon"), "expected a moment"),
        (("-o", "focus", "--by", "policy"), "--by and --hourly do not go with -o focus"),
        (("-o", "focus", "--since", "500d"), "kept for 400 days"),
    ],
)
def test_a_slip_is_told_and_exits_with_2(run: Run, arguments: tuple[str, ...], says: str) -> None:
    ran = run("costs", *arguments)
    assert ran.code == 2
    assert says in ran.err
