"""Writing to people and programs: results on standard output, everything else on standard error.

Text from policies and from Envoys is printed as text: no markup is read from it and no control character reaches the
terminal. ``NO_COLOR`` is respected, and nothing moves where standard error is not a terminal.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

# Wide enough for any table of ours, where the reader is a pipe and has no width.
_PIPE_WIDTH: Final = 200

STYLES: Final = {
    "UP": "green",
    "SYNCED": "green",
    "PROBATION": "yellow",
    "RAMP": "yellow",
    "STALE": "yellow",
    "DOWN": "red",
    "NACKED": "red",
    "error": "red",
    "warning": "yellow",
    "info": "blue",
}


class Output(StrEnum):
    """The forms of a result."""

    TABLE = "table"
    JSON = "json"


class CostsForm(StrEnum):
    """The forms of a report on costs."""

    TABLE = "table"
    JSON = "json"
    FOCUS = "focus"


class PlanForm(StrEnum):
    """The forms of a plan."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


class ReplayForm(StrEnum):
    """The forms of a replay's report."""

    TEXT = "text"
    JSON = "json"
    HTML = "html"


class Rendering(StrEnum):
    """The forms of a rendered document."""

    YAML = "yaml"
    JSON = "json"


def clean(text: object) -> str:
    """``text`` without anything a terminal would obey; line breaks stay."""
    return "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in str(text))


def styled(text: object, style: str | None = None) -> Text:
    """``text`` as it stands, in the style of its meaning when it has one."""
    cleaned = clean(text)
    return Text(cleaned, style=style if style is not None else STYLES.get(cleaned, ""))


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PIPE_WIDTH
    return Console(file=stream, markup=False, highlight=False, emoji=False, soft_wrap=not stream.isatty(), width=width)


def width() -> int:
    """Characters that fit in a line of the result."""
    return _console(stderr=False).width


def say(text: object = "", style: str | None = None) -> None:
    """Return a line of the result."""
    _console(stderr=False).print(styled(text, style))


def complain(text: object, style: str | None = None) -> None:
    """Return a line on standard error."""
    _console(stderr=True).print(styled(text, style))


def write(text: str) -> None:
    """Write a whole document to standard output, byte for byte as given."""
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")


def write_json(value: object) -> None:
    """Write a result as JSON."""
    write(json.dumps(value, indent=2, ensure_ascii=False))


def show_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = "", empty: str = "") -> None:
    """Show rows under headings; columns whose heading ends in ``#`` hold figures. ``empty`` is said of no rows."""
    if title:
        say(title, "bold")
    if not rows:
        say(empty or "nothing")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, show_header=any(columns))
    for column in columns:
        figures = column.endswith("#")
        table.add_column(column.removesuffix("#"), justify="right" if figures else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else styled(cell) for cell in row))
    _console(stderr=False).print(table)


@contextmanager
def waiting(message: str) -> Iterator[None]:
    """Show that something is under way, where a person watches."""
    if not sys.stderr.isatty():
        yield
        return
    with _console(stderr=True).status(message):
        yield
