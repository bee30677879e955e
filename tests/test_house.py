"""The shape of the house: what would break silently if nobody looked."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE_FOLDERS = {"xds": "penstock_xds", "policies": "penstock_policies", "envoy": "penstock_envoy"}


@pytest.mark.parametrize(("folder", "package"), PACKAGE_FOLDERS.items())
def test_no_top_folder_shadows_an_installed_package(folder: str, package: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()
    assert (ROOT / folder / package / "__init__.py").is_file()


def test_installed_envoy_and_xds_protobufs_are_importable_from_the_checkout() -> None:
    code = "import envoy.service.discovery.v3.discovery_pb2, xds.data.orca.v3.orca_load_report_pb2"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_lock_file_names_no_index_host() -> None:
    assert not re.search(r"https?://|--(extra-)?index-url|--find-links", (ROOT / "constraints.txt").read_text())


def test_every_dependency_of_the_program_has_its_reason_in_the_architecture() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[\[><=~]", one)[0] for one in project["dependencies"]}
    section = (ROOT / "docs/architecture.md").read_text().split("\n## Dependencies\n")[1]
    told = {name for cell in re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE) for name in cell.split(", ")}
    assert needed - told == set()


def documents() -> list[Path]:
    return [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "xds/README.md"]


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    broken = [
        target
        for target in re.findall(r"\]\((?!https?://|#)([^)#\s]+)", document.read_text())
        if not (document.parent / target).exists()
    ]
    assert not broken


def test_every_test_file_is_collected() -> None:
    stray = [
        path
        for path in (ROOT / "tests").rglob("*.py")
        if "def test_" in path.read_text() and not path.name.startswith("test_")
    ]
    assert not stray
