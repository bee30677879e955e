"""Which code decides: what a decision's bytes depend on besides its inputs.

Versions of packages alone would not tell two checkouts of one version apart, and a changed line of the engine may well
change a decision. So the sources of ``penstock_policies`` are told by a digest of their text.
"""

import hashlib
import zoneinfo
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

_PACKAGES: Final = ("highspy", "numpy", "cronsim")
"""Whose answers decisions are made of."""
_DIGITS: Final = 12
_SYSTEM_ZONES: Final = "tzdata.zi"
"""In a system's time zones, the file whose first line names their version."""


@cache
def engine_version() -> str:
    """Return the versions that a decision's bytes depend on, for people and to compare."""
    packages = ", ".join(f"{name} {_version(name)}" for name in _PACKAGES)
    return (
        f"penstock {_version('penstock')} (engine {sources_digest(files('penstock_policies'))}), {packages}, {_zones()}"
    )


def sources_digest(package: Traversable) -> str:
    """Return the digest of a package's Python sources: names and text."""
    digest = hashlib.sha256()
    for name, source in sorted(_sources(package, ""), key=lambda pair: pair[0]):
        text = source.read_bytes()
        digest.update(f"{name}\0{len(text)}\0".encode())
        digest.update(text)
    return digest.hexdigest()[:_DIGITS]


def _sources(folder: Traversable, path: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        name = f"{path}/{entry.name}"
        if entry.is_dir():
            yield from _sources(entry, name)
        elif name.endswith(".py"):
            yield name, entry


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _zones() -> str:
    """Name the time zones that schedules and budgets go by: the system's where it has any, as zoneinfo looks there."""
    for folder in map(Path, zoneinfo.TZPATH):
        try:
            first, _, _ = (folder / _SYSTEM_ZONES).read_text(encoding="utf-8").partition("\n")
        except (OSError, UnicodeDecodeError):
            if (folder / "UTC").exists():
                return f"system time zones, tzdata {_version('tzdata')}"
            continue
        return f"system time zones {first.removeprefix('# version ')}, tzdata {_version('tzdata')}"
    return f"tzdata {_version('tzdata')}"
