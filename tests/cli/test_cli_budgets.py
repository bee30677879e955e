"""``penstock budgets`` as a user calls it."""

import pytest

from tests.admin.fake_control import FakeControlPlane
from tests.admin.test_admin_budgets import give, view
from tests.cli.conftest import Run


@pytest.mark.usefixtures("server")
def test_budgets_are_listed_with_what_is_left(run: Run, control: FakeControlPlane) -> None:
    give(control, view(250.0, limit=1.25))
    ran = run("budgets")
    assert ran.code == 0
    for shown in ("cloud-month", "site cloud", "paced", "$250.00 (25.0%)", "$1,000.00", "$850.00", "$1.25"):
        assert shown in ran.out
    assert "NOW is a mean over about 4.0 h for cloud-month." in ran.out


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(("on_exhausted", "says"), [("shift", "by choice"), ("reject", "503 budget_exhausted")])
def test_an_exhausted_budget_is_a_finding_and_says_what_happens_now(
    run: Run, control: FakeControlPlane, on_exhausted: str, says: str
) -> None:
    give(control, view(1001.0, limit=0.0, exhausted=True), onExhausted=on_exhausted)
    ran = run("budgets")
    assert ran.code == 1
    assert says in ran.out


@pytest.mark.usefixtures("server")
def test_programs_get_the_answer_as_it_is(run: Run, control: FakeControlPlane) -> None:
    give(control, None)
    ran = run("budgets", "-o", "json")
    assert ran.code == 0
    assert ran.json["items"][0]["state"] == "unknown"


@pytest.mark.usefixtures("server")
def test_a_policy_without_budgets_says_so(run: Run) -> None:
    assert "no budgets" in run("budgets").out
