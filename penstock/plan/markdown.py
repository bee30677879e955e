"""A plan as Markdown, to be a comment on a pull request.

What policies say is untrusted text here: a model's name must not become a link, a mention or a table cell.
"""

import re
from collections.abc import Sequence
from typing import Final

from penstock.plan.comparison import Plan
from penstock.plan.forbid import Verdict
from penstock.plan.lines import Line, Mark, Section, Table
from penstock.plan.report import basis, headline, sections

MARKER: Final = "<!-- penstock plan -->"
"""The first line, by which a pipeline finds its earlier comment to replace it."""

MOST_ROWS: Final = 60
"""Of a table. A comment on GitHub holds 65,536 characters; the JSON form holds everything."""
_MOST_LINES: Final = 150

_SPECIAL: Final = re.compile(r"[\\`*_\[\]<>#|~@&]")
_WORDS: Final = {
    Mark.ADDED: "`+` ",
    Mark.CHANGED: "`~` ",
    Mark.REMOVED: "`-` ",
    Mark.ALARM: "**`!`** ",
    Mark.NONE: "",
}


def as_markdown(plan: Plan, verdicts: Sequence[Verdict]) -> str:
    """Write a plan as GitHub-flavoured Markdown."""
    broken = [verdict for verdict in verdicts if verdict.because]
    title = "### Penstock plan"
    if plan.barred or broken:
        title += ": broken"
    parts = [MARKER, title, f"**{_escaped(headline(plan))}** {_escaped(basis(plan))}"]
    parts += [part for section in sections(plan, verdicts) for part in _section(section)]
    return "\n\n".join(parts) + "\n"


def problems_as_markdown(problems: Sequence[str]) -> str:
    """Write what keeps a directory from being planned."""
    lines = "\n".join(f"- {_escaped(problem)}" for problem in problems)
    return f"{MARKER}\n\n### Penstock plan: the policies cannot be used\n\n{lines}\n"


def _section(section: Section) -> list[str]:
    parts = [f"#### {_escaped(section.title)}"]
    if section.lines:
        shown = [_line(line) for line in section.lines[:_MOST_LINES]]
        rest = len(section.lines) - _MOST_LINES
        parts.append("\n".join([*shown, f"- and {rest} more lines"] if rest > 0 else shown))
    parts += [_table(table) for table in section.tables]
    return parts


def _line(line: Line) -> str:
    return f"{'  ' * line.level}- {_WORDS[line.mark]}{_escaped(line.text)}"


def _table(table: Table) -> str:
    headings = [_escaped(column.removesuffix("#").capitalize()) for column in table.columns]
    alignment = ["---:" if column.endswith("#") else "---" for column in table.columns]
    rows = [_cells([_escaped(cell) for cell in row]) for row in table.rows[:MOST_ROWS]]
    rest = len(table.rows) - MOST_ROWS
    more = [_cells([f"and {rest} more", *[""] * (len(headings) - 1)])] if rest > 0 else []
    return "\n".join([_cells(headings), _cells(alignment), *rows, *more])


def _cells(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """``text`` as it stands, whatever it holds: nothing in it is markup, and it is one line."""
    plain = "".join(char if char.isprintable() else "\ufffd" for char in text)
    # A character reference is never markup, not even inside words, where a backslash does not stop a mention or a link.
    return (
        _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", plain).replace("://", "&#58;//").replace("www.", "www&#46;")
    )
