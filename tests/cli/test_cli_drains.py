import getpass

import pytest

from tests.admin.fake_control import NOW, FakeControlPlane
from tests.cli.conftest import Run

pytestmark = pytest.mark.usefixtures("server")


def test_a_drain_is_owned_by_the_user_who_asks(run: Run, control: FakeControlPlane) -> None:
    ran = run("drain", "cloud-eu-west", "--for", "2h", "--reason", "GPU driver upgrade", "--ramp", "30s")
    assert ran.code == 0
    assert "what remains would run at 64 %" in ran.out
    drained = control.overrides.drains["cloud-eu-west"]
    assert (drained.owner, drained.until, drained.ramp) == (getpass.getuser(), NOW + 7200, 30)


def test_a_refused_drain_exits_with_1_and_the_arithmetic(run: Run, control: FakeControlPlane) -> None:
    ran = run("drain", "onprem-fra", "--for", "2h", "--reason", "upgrade")
    assert ran.code == 1
    assert "131 %" in ran.err
    assert "With --force" in ran.err
    assert control.overrides.drains == {}
    ran = run("drain", "onprem-fra", "--for", "2h", "--reason", "upgrade", "-o", "json")
    assert ran.code == 1
    assert ran.json["impact"]["feasible"] is False


def test_force_drains_all_the_same(run: Run, control: FakeControlPlane) -> None:
    assert run("drain", "onprem-fra", "--for", "2h", "--reason", "upgrade", "--force").code == 0
    assert "onprem-fra" in control.overrides.drains


def test_a_dry_run_changes_nothing_and_tells_by_its_exit_code(run: Run, control: FakeControlPlane) -> None:
    feasible = run("drain", "cloud-eu-west", "--for", "2h", "--reason", "upgrade", "--dry-run")
    assert feasible.code == 0
    assert "nothing was changed" in feasible.out
    assert run("drain", "onprem-fra", "--for", "2h", "--reason", "upgrade", "--dry-run").code == 1
    assert control.overrides.drains == {}


def test_a_repeated_drain_says_what_it_replaces(run: Run) -> None:
    run("drain", "cloud-eu-west", "--for", "2h", "--reason", "first", "--owner", "joe")
    assert "Replaces the drain by joe: first" in run("drain", "cloud-eu-west", "--for", "3h", "--reason", "second").out


def test_a_wrong_duration_or_cluster_is_wrong_usage(run: Run) -> None:
    wrong = run("drain", "cloud-eu-west", "--for", "2", "--reason", "upgrade")
    assert wrong.code == 2
    assert "for: expected a duration such as 500ms, 5s, 10m or 2h" in wrong.err
    unknown = run("drain", "cloud-eu-wset", "--for", "2h", "--reason", "upgrade")
    assert unknown.code == 2
    assert "did you mean 'cloud-eu-west'?" in unknown.err


def test_drains_are_listed_until_they_are_ended(run: Run, control: FakeControlPlane) -> None:
    run("drain", "cloud-eu-west", "--for", "2h", "--reason", "upgrade", "--owner", "joe")
    listed = run("drains")
    assert "cloud-eu-west" in listed.out
    assert "joe" in listed.out
    assert run("undrain", "cloud-eu-west", "--reason", "done").code == 0
    assert run("drains").out.strip() == "no cluster is drained"
    assert run("undrain", "cloud-eu-west").code == 1
