"""What is wrong with a policy directory, said so that the person who wrote it can mend it.

A problem names the place (file, line, column, path of the field), what is wrong, what was expected and, where a guess
is good, what was probably meant.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

Severity = Literal["error", "warning"]
Path = tuple[str | int, ...]
"""Where a value stands in its document: keys and 0-based list positions, from the root."""


_PLAIN_KEY: Final = re.compile(r"[\w-]{1,63}")
_CREDENTIALS: Final = re.compile(r"(?<=://)[^@/\s]*(?=@)")
_MOST_SHOWN: Final = 60
"""Characters of a wrong value that a message repeats: enough to recognise it in the file."""

_MOST_LISTED: Final = 12
"""Words of a vocabulary that a message lists: all of the language's own, and no fleet's thousand clusters."""


def path_text(path: Path) -> str:
    """Write a path as people do: ``spec.endpoints[0].port``; empty for the document itself."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN_KEY.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f"[{shown(step)}]"
    return text


def shown(value: object) -> str:
    """Repeat a wrong value in a message: short, on one line, without credentials of a URL."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = json.dumps(value, ensure_ascii=False)
    if not text.isprintable():
        text = json.dumps(value)  # neither a log nor a terminal shall act on what somebody wrote
    text = _CREDENTIALS.sub("***", text)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}..."


def listed(words: Sequence[str]) -> str:
    """Join the words of a vocabulary for a message, the first of them if they are many."""
    first = [word if word.isprintable() else shown(word) for word in words[:_MOST_LISTED]]
    rest = len(words) - len(first)
    return ", ".join([*first, f"and {rest} more"] if rest else first)


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding. Sorts by place. An error keeps the directory from being used, a warning does not."""

    severity: Severity
    file: str
    """As the caller of the loader named it; empty when the finding is about the directory as a whole."""
    line: int
    """From 1; 0 when the finding is about no line in particular."""
    column: int
    """From 1, counted in characters; 0 as with :attr:`line`."""
    path: str
    """The field, such as ``spec.endpoints[0].port``; empty when the finding is about no field in particular."""
    message: str
    expected: str = ""
    suggestion: str = ""

    def __lt__(self, other: "Problem") -> bool:
        return self._order() < other._order()

    def _order(self) -> tuple[str, int, int, str, str, str, str, str]:
        return (
            self.file,
            self.line,
            self.column,
            self.path,
            self.severity,
            self.message,
            self.expected,
            self.suggestion,
        )

    @property
    def place(self) -> str:
        """``file:line:column``, as editors and terminals make links of."""
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file

    def __str__(self) -> str:
        where = [part for part in (self.place, "warning" if self.severity == "warning" else "", self.path) if part]
        what = [self.message]
        if self.expected:
            what.append(f"expected {self.expected}")
        if self.suggestion:
            what.append(f"did you mean {shown(self.suggestion)}?")
        return ": ".join([*where, "; ".join(what)])


class PolicyError(Exception):
    """A policy directory that cannot be used.

    Attributes:
        problems: everything found, errors and warnings, sorted.

    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        errors = [problem for problem in self.problems if problem.severity == "error"]
        first = f": {errors[0]}" if errors else ""
        super().__init__(f"{len(errors)} error{'' if len(errors) == 1 else 's'} in the policy files{first}")
