"""What a plan's report is made of: marked lines and tables, in sections, for every form to show in its way."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

ARROW: Final = "->"
"""Between what was and what would be."""


class Mark(StrEnum):
    """What a line is about."""

    NONE = ""
    ADDED = "+"
    CHANGED = "~"
    REMOVED = "-"
    ALARM = "!"


@dataclass(frozen=True, slots=True)
class Line:
    """One statement; ``level`` 1 belongs to the one above it."""

    text: str
    mark: Mark = Mark.NONE
    level: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """Figures; headings that end in ``#`` are of numbers."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report."""

    title: str
    lines: tuple[Line, ...] = ()
    tables: tuple[Table, ...] = ()


def counted(count: int, what: str) -> str:
    """Return so many of something in words."""
    return f"{count} {what}{'' if count == 1 else 's'}"
