import pytest

from penstock.admin.xds_state import ResourceState, SyncStatus
from tests.admin.fake_control import NOW, TYPE_URLS, FakeControlPlane, quarantined
from tests.cli.conftest import Run

pytestmark = pytest.mark.usefixtures("server")


def test_a_sound_fleet_has_nothing_quarantined(run: Run) -> None:
    ran = run("quarantine")
    assert (ran.code, ran.out.strip()) == (0, "nothing is quarantined")


def test_quarantine_shows_why_and_the_policy_line_and_exits_with_1(run: Run, control: FakeControlPlane) -> None:
    control.refusals = [quarantined("public", "eu-1", "eu-2", "eu-3", "eu-4")]
    ran = run("quarantine")
    assert ran.code == 1
    for part in ("edge-eu", "LDS", "v2", "v1", "eu-3 and 1 more", "cannot bind", "policy: policy.yaml:12"):
        assert part in ran.out
    assert run("quarantine", "-o", "json").json["items"][0]["name"] == "public"
    assert run("quarantine", "--group", "edge-us").code == 0


def test_text_of_an_envoy_cannot_drive_the_terminal_here_either(run: Run, control: FakeControlPlane) -> None:
    control.refusals = [quarantined("\x1b[2J", message="\x1b]0;owned\x07")]
    assert "\x1b" not in run("quarantine").out


@pytest.mark.parametrize("by", ["name", "id"])
def test_release_by_name_or_id_is_audited_with_its_reason(run: Run, control: FakeControlPlane, by: str) -> None:
    control.refusals = [quarantined("public")]
    wanted = run("quarantine", "-o", "json").json["items"][0][by]
    ran = run("release", wanted, "--reason", "port freed", "--owner", "maria")
    assert ran.code == 0
    assert "Version v2 of LDS public is sent to edge-eu again." in ran.out
    assert control.refusals == []
    assert (control.audited[0].actor, control.audited[0].detail["reason"]) == ("maria", "port freed")


def test_a_name_quarantined_twice_must_be_named_more_closely(run: Run, control: FakeControlPlane) -> None:
    control.refusals = [quarantined("public"), quarantined("public", group="edge-us")]
    ran = run("release", "public")
    assert ran.code == 2
    assert "edge-us" in ran.err
    assert len(control.refusals) == 2
    assert run("release", "public", "--group", "edge-us").code == 0
    assert [each.group for each in control.refusals] == ["edge-eu"]


def test_release_of_what_is_not_quarantined_exits_with_1(run: Run) -> None:
    ran = run("release", "public")
    assert ran.code == 1
    assert "it may have ended by itself" in ran.err


def test_node_shows_every_resource_of_an_envoy_and_exits_with_1_when_it_refuses_one(
    run: Run, control: FakeControlPlane
) -> None:
    assert run("node", "eu-1").code == 0
    control.held.append(ResourceState(TYPE_URLS[3], "routes", SyncStatus.NACKED, "v1", "v2", "no such cluster", NOW))
    ran = run("node", "eu-1")
    assert ran.code == 1
    assert "RDS routes: no such cluster" in ran.out
    assert run("node", "eu-1", "--type", "CDS").code == 0
    assert run("node", "nobody").code == 2
