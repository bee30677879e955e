import socket
from dataclasses import replace

import pytest

from penstock.admin.ports import Readiness
from penstock_policies.decision import ClusterHealth, HealthState
from penstock_policies.problems import Problem
from tests.admin.fake_control import NOW, FakeControlPlane, envoy
from tests.admin.fake_signals import busy_signals
from tests.cli.conftest import Run

pytestmark = pytest.mark.usefixtures("server")


def test_status_of_a_sound_fleet_exits_with_0(run: Run) -> None:
    ran = run("status")
    assert ran.code == 0
    assert "ready" in ran.out
    assert "2 connected (2 SYNCED)" in ran.out
    assert "connection refused" in ran.out


def test_status_of_a_broken_policy_edit_shows_where_and_exits_with_1(run: Run, control: FakeControlPlane) -> None:
    control.policy_rejected_at = NOW
    control.policy_problems = (Problem("error", "policy.yaml", 12, 9, "spec.sight", "unknown field", "", "site"),)
    ran = run("status")
    assert ran.code == 1
    assert 'policy.yaml:12:9: spec.sight: unknown field; did you mean "site"?' in ran.out


def test_status_exits_with_1_when_not_ready_in_json_too(run: Run, control: FakeControlPlane) -> None:
    control.readiness = Readiness(ready=False, details={"reason": "no policy is in force yet"})
    control.policy_set = control.decision = None
    assert "NOT READY" in run("status").out
    ran = run("status", "-o", "json")
    assert ran.code == 1
    assert ran.json["readiness"]["reason"] == "no policy is in force yet"


def test_weights_show_shares_and_reasons(run: Run) -> None:
    ran = run("weights")
    assert ran.code == 0
    assert " 60.0%  onprem-fra" in ran.out
    assert "on-prem is full; the rest goes to the cheapest cloud" in ran.out
    assert {item["policy"] for item in run("weights", "records", "-o", "json").json["items"]} == {"records"}


def test_a_row_nobody_may_serve_reads_as_refused(run: Run, control: FakeControlPlane) -> None:
    assert control.decision is not None
    rows = {key: replace(row, weights={}, legs={}) for key, row in control.decision.rows.items()}
    control.decision = replace(control.decision, rows=rows)
    assert "refused" in run("weights").out


def test_an_unknown_policy_is_wrong_usage_with_the_one_that_was_meant(run: Run) -> None:
    for command in ("weights", "explain"):
        ran = run(command, "caht")
        assert ran.code == 2
        assert "did you mean 'chat'?" in ran.err


def test_nodes_exit_with_1_and_the_refusal_when_an_envoy_refuses(run: Run, control: FakeControlPlane) -> None:
    assert run("nodes").code == 0
    control.envoys.append(envoy("us-2", "edge-us", "no such cluster"))
    ran = run("nodes")
    assert ran.code == 1
    assert "us-2 refused RDS: no such cluster" in ran.out
    assert run("nodes", "--group", "edge-eu").code == 0
    assert "no Envoy of group edge-of-the-world is connected" in run("nodes", "--group", "edge-of-the-world").out


def test_text_of_an_envoy_cannot_drive_the_terminal(run: Run, control: FakeControlPlane) -> None:
    control.envoys.append(envoy("us-2", "edge-us", "\x1b]0;owned\x07[red]bad[/red]"))
    ran = run("nodes")
    assert "\x1b" not in ran.out
    assert "[red]bad[/red]" in ran.out


def test_explain_prints_the_explanation(run: Run) -> None:
    ran = run("explain", "records")
    assert ran.code == 0
    assert "excluded cloud-eu-west: rule default allows restricted data only at on_prem" in ran.out
    assert run("explain", "records", "-o", "json").json["policy"] == "records"


def test_a_defect_of_the_server_is_a_failure_that_names_the_log_entry(run: Run, control: FakeControlPlane) -> None:
    control.bug = RuntimeError("hidden")
    ran = run("nodes")
    assert ran.code == 2
    assert "the log tells more under" in ran.err


def test_an_unreachable_server_exits_with_2_and_says_what_to_do(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, never listening: connections are refused
        port = taken.getsockname()[1]
        ran = run("status", "--server", f"127.0.0.1:{port}")
    assert ran.code == 2
    assert f"cannot reach Penstock at http://127.0.0.1:{port}" in ran.err
    assert "PENSTOCK_SERVER" in ran.err
    assert ran.out == ""


@pytest.mark.parametrize("server", ["ftp://x", "http://", "http://x:notaport", "http://[::1"])
def test_what_is_no_url_exits_with_2(run: Run, server: str) -> None:
    assert run("status", "--server", server).code == 2


def test_wrong_usage_exits_with_2(run: Run) -> None:
    for arguments in (["nonsense"], ["status", "-o", "xml"], ["explain"], ["drain", "x"]):
        assert run(*arguments).code == 2


def test_version_and_help_need_no_server(run: Run) -> None:
    assert run("version").out.startswith("penstock ")
    assert run("version", "-o", "json").json["name"] == "penstock"
    assert "drain" in run("--help").out


def test_status_shows_where_a_cluster_is_seen_otherwise(run: Run, control: FakeControlPlane) -> None:
    assert control.decision is not None
    down = ClusterHealth(HealthState.DOWN, NOW, 0.0, reason="out of reach")
    control.decision = replace(
        control.decision,
        edge_health={"eu-west": {"onprem-fra": down}, "us-east": {"onprem-fra": ClusterHealth(HealthState.UP, NOW)}},
        frozen_regions={"us-east": "probes of 2 of 2 clusters failed together"},
    )
    out = run("status").out
    assert "DOWN from eu-west" in out
    assert "UP from us-east" not in out
    assert "Frozen for us-east: probes of 2 of 2" in run("weights").out


def test_status_says_what_engines_tell(run: Run, control: FakeControlPlane) -> None:
    control.signals = busy_signals(NOW)
    ran = run("status")
    assert "waiting 3, KV 45%, prefix hits 30%, TTFT p95 0.9 s" in ran.out
    assert "judged by Envoy, has no metrics page" in ran.out
    assert "pages silent, judged by Envoy" in ran.out


def test_one_cluster_is_shown_down_to_its_endpoints(run: Run, control: FakeControlPlane) -> None:
    control.signals = busy_signals(NOW)
    ran = run("cluster", "onprem-fra")
    assert ran.code == 0
    for word in ("10.0.1.11:8000", "75%", "v7", "eu-central", "7 overflow", "0.9 s"):
        assert word in ran.out


def test_an_unknown_cluster_is_wrong_usage_with_the_one_that_was_meant(run: Run) -> None:
    ran = run("cluster", "onprem-far")
    assert ran.code == 2
    assert "onprem-fra" in ran.err
