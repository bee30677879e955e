import json
import shutil
from pathlib import Path

import pytest
import yaml

from penstock.control import serve as control_serve
from penstock.control.errors import StartError
from penstock.control.xds_port import TlsFiles
from tests.cli.conftest import Run

EXAMPLE = Path(__file__).parents[2] / "policies" / "examples" / "hybrid"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EXAMPLE, tmp_path / "policies"))


def break_policy(directory: Path) -> None:
    (directory / "broken.yaml").write_text(
        "apiVersion: penstock/v1\nkind: NodeGroup\nmetadata: {name: x}\n"
        "spec: {mach: {cluster: x}, region: a, listeners: [p]}\n"
    )


def test_a_sound_directory_validates(run: Run, directory: Path) -> None:
    ran = run("validate", str(directory))
    assert ran.code == 0
    assert "valid: 2 clusters, 2 traffic policies, 1 node group" in ran.out
    assert run("validate", str(directory), "-o", "json").json["valid"] is True


def test_a_broken_directory_exits_with_1_and_names_the_place(run: Run, directory: Path) -> None:
    break_policy(directory)
    ran = run("validate", str(directory))
    assert ran.code == 1
    assert "broken.yaml:4:" in ran.out
    assert 'did you mean "match"?' in ran.out
    answer = run("validate", str(directory), "-o", "json")
    assert answer.code == 1
    assert "match" in [problem["suggestion"] for problem in answer.json["problems"]]


def test_a_directory_that_is_not_there_exits_with_2(run: Run, tmp_path: Path) -> None:
    assert run("validate", str(tmp_path / "nowhere")).code == 2
    assert run("render", str(tmp_path / "nowhere")).code == 2


def test_render_prints_the_envoy_resources_of_each_group(run: Run, directory: Path) -> None:
    ran = run("render", str(directory))
    assert ran.code == 0
    resources = yaml.safe_load(ran.out)["edge-eu"]
    kinds = {type_url.rpartition(".")[2] for type_url in resources}
    assert kinds == {"Cluster", "ClusterLoadAssignment", "Listener", "RouteConfiguration"}
    assert json.loads(run("render", str(directory), "-o", "json", "--group", "edge-eu").out)["edge-eu"] == resources


def test_render_of_the_same_files_is_the_same_to_the_byte(run: Run, directory: Path) -> None:
    assert run("render", str(directory)).out == run("render", str(directory)).out


def test_render_of_an_unknown_group_or_a_broken_directory_prints_nothing(run: Run, directory: Path) -> None:
    unknown = run("render", str(directory), "--group", "edge-uk")
    assert (unknown.code, unknown.out) == (2, "")
    assert "did you mean edge-eu?" in unknown.err
    break_policy(directory)
    broken = run("render", str(directory))
    assert (broken.code, broken.out) == (1, "")
    assert "broken.yaml:4:" in broken.err


def test_schema_is_a_json_schema(run: Run) -> None:
    assert run("schema").json["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_bootstrap_is_what_envoy_is_started_with(run: Run) -> None:
    ran = run("bootstrap", "--node-id", "edge-1", "--group", "edge-eu", "--xds", "penstock.example:18000")
    assert ran.code == 0
    assert yaml.safe_load(ran.out)["node"]["id"] == "edge-1"
    as_json = run("bootstrap", "--node-id", "edge-1", "--group", "edge-eu", "--xds", "[::1]:18000", "-o", "json")
    assert json.loads(as_json.out)["node"]["cluster"] == "edge-eu"


@pytest.mark.parametrize("address", ["18000", "host:", "host:0", "::1:18000"])
def test_bootstrap_of_a_wrong_address_exits_with_2(run: Run, address: str) -> None:
    ran = run("bootstrap", "--node-id", "edge-1", "--group", "edge-eu", "--xds", address)
    assert ran.code == 2
    assert "--xds" in ran.err


def test_serve_hands_its_options_over(run: Run, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[control_serve.ServeOptions] = []
    monkeypatch.setattr(control_serve, "run", given.append)
    assert (
        run("serve", "--policies", str(directory), "--admin-address", "127.0.0.1:0", "--log-format", "json").code == 0
    )
    (options,) = given
    assert options.policies == directory
    assert (options.admin_address, options.xds_address) == ("127.0.0.1:0", "127.0.0.1:18000")
    assert (options.state, options.log_format) == ("sqlite:///penstock.db", "json")
    assert (options.xds_port.tls, options.xds_port.max_age, options.xds_port.drain_window) == (None, None, 1.0)


def test_serve_that_cannot_start_exits_with_2_and_says_why(
    run: Run, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: control_serve.ServeOptions) -> None:
        raise StartError("cannot serve xDS on 127.0.0.1:18000: taken")

    monkeypatch.setattr(control_serve, "run", fail)
    ran = run("serve", "--policies", str(directory))
    assert ran.code == 2
    assert "taken" in ran.err


def test_serve_hands_tls_and_the_lives_of_streams_over(
    run: Run, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[control_serve.ServeOptions] = []
    monkeypatch.setattr(control_serve, "run", given.append)
    tls = ["--xds-tls-cert", "server.pem", "--xds-tls-key", "server.key", "--xds-client-ca", "ca.pem"]
    lives = ["--xds-max-age", "1h", "--xds-drain-window", "20s"]
    assert run("serve", "--policies", str(directory), *tls, *lives, "--xds-refusal-tolerance", "10%").code == 0
    port = given[0].xds_port
    assert port.tls == TlsFiles(Path("server.pem"), Path("server.key"), Path("ca.pem"))
    assert (port.max_age, port.drain_window, port.refusal_tolerance) == (3600.0, 20.0, 0.1)


@pytest.mark.parametrize(
    "options",
    [
        ["--xds-tls-cert", "server.pem"],
        ["--xds-tls-key", "server.key"],
        ["--xds-client-ca", "ca.pem"],
        ["--xds-max-age", "1"],
        ["--xds-max-age", "1s"],
        ["--xds-drain-window", "1h"],
        ["--xds-refusal-tolerance", "100%"],
        ["--xds-refusal-tolerance", "some"],
    ],
)
def test_serve_with_half_of_tls_or_a_time_out_of_range_serves_nothing(
    run: Run, directory: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    given: list[control_serve.ServeOptions] = []
    monkeypatch.setattr(control_serve, "run", given.append)
    ran = run("serve", "--policies", str(directory), *options)
    assert (ran.code, given) == (2, [])
    assert "--xds-" in ran.err


def test_bootstrap_over_mutual_tls_names_its_files_and_what_to_expect_of_the_server(run: Run) -> None:
    tls = ["--xds-ca", "/etc/ca.pem", "--cert", "/etc/edge-1.pem", "--key", "/etc/edge-1.key"]
    ran = run("bootstrap", "--node-id", "edge-1", "--group", "edge-eu", "--xds", "penstock.example:18000", *tls)
    assert ran.code == 0
    (cluster,) = yaml.safe_load(ran.out)["static_resources"]["clusters"]
    context = cluster["transport_socket"]["typed_config"]
    assert context["sni"] == "penstock.example"
    expected = context["common_tls_context"]["validation_context"]["match_typed_subject_alt_names"]
    assert expected == [{"san_type": "DNS", "matcher": {"exact": "penstock.example"}}]
    assert context["common_tls_context"]["tls_certificates"][0]["private_key"] == {"filename": "/etc/edge-1.key"}


def test_an_envoy_need_not_probe(run: Run) -> None:
    asked = ("bootstrap", "--node-id", "edge-1", "--group", "edge-eu", "--xds", "penstock.example:18000")
    assert "hds_config" in yaml.safe_load(run(*asked).out)
    assert "hds_config" not in yaml.safe_load(run(*asked, "--no-health-checks").out)


@pytest.mark.parametrize("half", [["--cert", "a.pem", "--key", "a.key"], ["--xds-ca", "ca.pem", "--cert", "a.pem"]])
def test_bootstrap_with_half_of_tls_prints_nothing(run: Run, half: list[str]) -> None:
    ran = run("bootstrap", "--node-id", "edge-1", "--group", "edge-eu", "--xds", "127.0.0.1:18000", *half)
    assert (ran.code, ran.out) == (2, "")
