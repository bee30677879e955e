"""``deploy/`` passes its checks, and the checks see what is wrong."""

import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from deploy.check import check
from deploy.findings import Finding, image_problem

ROOT = Path(__file__).resolve().parents[2]
CONTEXT = ("constraints.txt", "pyproject.toml", "README.md", "LICENSE", "xds", "policies", "envoy", "penstock")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of deploy/ in a root that has all it refers to."""
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    shutil.copytree(ROOT / "policies/examples", tmp_path / "policies/examples")
    for name in CONTEXT:
        (tmp_path / name).mkdir(exist_ok=True) if "." not in name else (tmp_path / name).touch()
    return tmp_path / "deploy"


def texts(findings: Iterable[Finding]) -> list[str]:
    return [str(finding) for finding in findings]


def test_deploy_as_it_stands_has_no_findings() -> None:
    assert texts(check(ROOT / "deploy")) == []


def test_the_script_says_so_and_exits_zero() -> None:
    done = subprocess.run([sys.executable, ROOT / "deploy/check.py"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "deploy: 0 finding(s)\n"), done.stderr


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("Dockerfile", "python:3.11-slim-bookworm\nLABEL", "python:latest\nLABEL", "not pinned"),
        ("Dockerfile", "USER 65532:65532", "USER root", "runs as root"),
        ("Dockerfile", "USER 65532:65532", "USER penstock", "must be a number"),
        ("Dockerfile", "COPY xds ./xds", "COPY xdss ./xds", "xdss does not exist"),
        ("Dockerfile", 'ENTRYPOINT ["penstock"]', "ENTRYPOINT penstock", "exec form"),
        ("Dockerfile", "HEALTHCHECK --interval", "# --interval", "HEALTHCHECK: is missing"),
        ("compose.yaml", "distroless-v1.40.0", "latest", "not pinned"),
        ("compose.yaml", "127.0.0.1:18080:18080", "18080:18080", "every address"),
        ("compose.yaml", "depends_on: [penstock]", "depends_on: [penstok]", "penstok: no such service"),
        ("compose.yaml", "  state: {}", "  state: {}\n  spare: {}", "volume spare: is declared and unused"),
        ("compose.yaml", "./compose/edge-eu.yaml", "./compose/edge-us.yaml", "edge-us.yaml, which does not exist"),
        ("compose.yaml", "services:", "services: [", "is not YAML"),
        ("compose/edge-eu.yaml", "address: penstock\n", "address: elsewhere\n", "elsewhere is no service"),
        ("compose/edge-eu.yaml", "max_interval: 2s", "max_interval: 90s", "is not what `penstock bootstrap` prints"),
        ("kubernetes/namespace.yaml", "name: penstock", "name: other", "is in no namespace"),
        ("kubernetes/kustomization.yaml", "  - edge-example.yaml\n", "", "edge-example.yaml: exists and is not listed"),
        ("kubernetes/control-plane.yaml", "apiVersion: apps/v1", "apiVersion: v1", "apiVersion must be apps/v1"),
        ("kubernetes/control-plane.yaml", "  replicas: 1\n", "", "spec.replicas is missing"),
        ("kubernetes/control-plane.yaml", "targetPort: xds", "targetPort: grpc", "port grpc is none of"),
        ("kubernetes/control-plane.yaml", "kind: StatefulSet", "kind: StatefulSett", "a kind the checks do not know"),
        ("kubernetes/control-plane.yaml", "{name: penstock-policies}", "{name: policy}", "ConfigMap policy is not"),
        ("kubernetes/control-plane.yaml", "mountPath: /etc/penstock/policies", "mountPath: /p", "no ConfigMap of pol"),
        ("kubernetes/control-plane.yaml", "{name: tmp, mountPath", "{name: temp, mountPath", "temp: no such volume"),
        (
            "kubernetes/control-plane.yaml",
            "serviceAccountName: penstock",
            "serviceAccountName: root",
            "service account",
        ),
        ("kubernetes/control-plane.yaml", "image: penstock:0.1.0", "image: penstock", "not pinned"),
        ("kubernetes/control-plane.yaml", "runAsNonRoot: true", "runAsNonRoot: false", "may run as root"),
        ("kubernetes/control-plane.yaml", "capabilities: {drop: [ALL]}", "capabilities: {}", "must drop ALL"),
        ("kubernetes/control-plane.yaml", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "readOnlyR"),
        (
            "kubernetes/edge-example.yaml",
            "tcpSocket: {port: public}",
            "tcpSocket: {port: admin}",
            "no container has it",
        ),
        ("kubernetes/edge-example.yaml", 'penstock.dev/edge: "true"', 'penstock.dev/edge: "no"', "matches no pod"),
        ("kubernetes/edge-example.yaml", "edge-eu-bootstrap}", "edge-us-bootstrap}", "edge-us-bootstrap is not among"),
        ("kubernetes/edge-bootstrap.yaml", "cluster: edge-eu", "cluster: edge-xx", "no NodeGroup"),
        ("kubernetes/edge-bootstrap.yaml", "penstock.penstock.svc", "penstock.other.svc", "is no Service"),
        ("kubernetes/network-policies.yaml", "port: xds", "port: admin", "port admin is no port of the pods"),
        ("kubernetes/policies.yaml", "clusters: [onprem-fra]", "clusters: [onprem-far]", "onprem-far"),
        ("kubernetes/policies.yaml", "clusters: [onprem-fra]", "clusters: [cloud-eu-west]", "restricted"),
        ("kubernetes/policies.yaml", "  prices.json: |", "  costs.json: |", "reads prices.json, which is not there"),
    ],
)
def test_a_mistake_is_found(copy: Path, file: str, old: str, new: str, expected: str) -> None:
    path = copy / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1) if file == "Dockerfile" else text.replace(old, new))
    found = texts(check(copy))
    assert any(expected in finding for finding in found), found


def test_what_envoy_refuses_is_found(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = copy / "compose/edge-eu.yaml"
    path.write_text(path.read_text().replace("api_type: DELTA_GRPC", "api_type: CARRIER_PIGEON"))
    assert any("Envoy refuses it" in finding for finding in texts(check(copy)))


@pytest.mark.parametrize(
    ("image", "good"),
    [
        ("envoyproxy/envoy:v1.40.0", True),
        ("registry.example.com:5000/penstock:0.1.0", True),
        ("python@sha256:" + "0" * 64, True),
        ("registry.example.com:5000/penstock", False),
        ("python:latest", False),
        ("python:3", False),
        ("", False),
        (None, False),
    ],
)
def test_an_image_is_pinned_when_it_names_an_exact_version(image: str | None, *, good: bool) -> None:
    assert (image_problem(image) is None) is good
