"""The table of duties names files, functions and tests that exist, and leaves no duty out."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "xds" / "penstock_xds"
ROWS = [
    [cell.strip() for cell in line.strip().strip("|").split(" | ")]
    for line in (ROOT / "xds" / "README.md").read_text().splitlines()
    if re.match(r"\| \d", line)
]
TESTS = {
    name
    for file in (ROOT / "tests" / "xds").glob("test_*.py")
    for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE)
}


def test_every_duty_has_its_row() -> None:
    assert [int(number) for number, *_ in ROWS] == list(range(1, 61))


@pytest.mark.parametrize("row", ROWS, ids=[number for number, *_ in ROWS])
def test_what_a_row_names_exists(row: list[str]) -> None:
    _, _, places, shown_by = row
    for place in re.findall(r"`([^`]+)`", places):
        path, _, symbol = place.partition(":")
        source = (LIBRARY / path).read_text()
        for name in filter(None, symbol.split(".")):
            assert re.search(rf"^\s*(?:async def|def|class) {name}\b|^{name}\b", source, re.MULTILINE), (
                f"no {name} in {path}"
            )
    tests = set(re.findall(r"`(test_\w+)`", shown_by))
    assert tests - TESTS == set()
    assert tests or "does not apply" in shown_by
