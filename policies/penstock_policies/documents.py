"""From the text of one file to its documents, with positions; whatever is wrong with the YAML becomes problems.

Reading goes on after a mistake: at the next ``---`` after broken syntax, in place after anything milder, so that one
look shows all there is to mend. The text is not trusted: size, depth and what aliases expand to are bounded.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from penstock_policies.composer import Composer, TooMuchError
from penstock_policies.nodes import SourceDocument
from penstock_policies.problems import Problem

MAX_CHARACTERS: Final = 1 << 20
"""Of one file. A Kubernetes ConfigMap holds no more than 1 MiB in all; larger fleets have more files."""

_MAX_SYNTAX_ERRORS: Final = 20
"""Of one file: past these it is not a policy file, and starting again after each would cost quadratic time."""

# What YAML calls printable, less U+0085, U+2028 and U+2029: YAML counts these as line breaks and editors do not.
_UNPRINTABLE: Final = re.compile(
    r"[^\t\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_NEXT_DOCUMENT: Final = re.compile(r"^---(?=\s|$)", re.MULTILINE)

_EXPLANATIONS: Final = {
    "mapping values are not allowed in this context": "quotes round text that holds a colon, or another indentation",
    "did not find expected key": "a key, indented like the one above it",
    "found character that cannot start any token": "quotes round text that begins with such a character",
    "could not find expected ':'": "a colon and a space after the key",
}
"""What is most often behind the parser's messages that do not say it themselves."""

# libyaml where PyYAML was built with it: the same events about ten times as fast.
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class FileReading:
    """What one file holds."""

    documents: tuple[SourceDocument, ...]
    problems: tuple[Problem, ...]
    complete: bool
    """Whether every document was read; broken ones might have declared any name."""


def read(file: str, text: str) -> FileReading:
    """Read the documents of a file. Empty documents (comments alone, a trailing ``---``) are none."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    refused = _refuse(file, text)
    if refused is not None:
        return FileReading((), (refused,), complete=False)
    documents: list[SourceDocument] = []
    problems: list[Problem] = []
    start = first_line = 0
    for _ in range(_MAX_SYNTAX_ERRORS):
        rest = text[start:]
        composer = Composer(file, first_line)
        failed_at = None
        try:
            composer.compose(_events(rest))
        except yaml.MarkedYAMLError as error:
            problem, failed_at = _syntax_problem(file, first_line, rest, error)
            problems.append(problem)
        except TooMuchError as error:
            failed_at = error.index
            problems.append(error.problem)
        documents += composer.documents
        problems += composer.problems
        if failed_at is None:
            return FileReading(tuple(documents), tuple(problems), complete=not problems)
        # At least one character on, so that every round begins at a later document.
        resume = _NEXT_DOCUMENT.search(text, start + max(failed_at, 1))
        if resume is None:
            break
        first_line += text.count("\n", start, resume.start())
        start = resume.start()
    return FileReading(tuple(documents), tuple(problems), complete=False)


def _events(text: str) -> Iterator[yaml.Event]:
    events: Iterator[yaml.Event] = yaml.parse(text, Loader=_LOADER)
    return events


def _refuse(file: str, text: str) -> Problem | None:
    if len(text) > MAX_CHARACTERS:
        return Problem(
            "error", file, 0, 0, "", "the file is too long", f"at most {MAX_CHARACTERS} characters; use several files"
        )
    unprintable = _UNPRINTABLE.search(text)
    if unprintable is None:
        return None
    at = unprintable.start()
    line, column = text.count("\n", 0, at) + 1, at - (text.rfind("\n", 0, at) + 1) + 1
    code = f"U+{ord(unprintable[0]):04X}"
    return Problem("error", file, line, column, "", f"invalid YAML: the control character {code}", "printable text")


def _syntax_problem(file: str, first_line: int, text: str, error: yaml.MarkedYAMLError) -> tuple[Problem, int]:
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return Problem("error", file, 0, 0, "", f"invalid YAML: {error.problem or error.context}"), len(text)
    index: int = mark.index
    if text[index : index + 1] == "\t":
        message, expected = "invalid YAML: a tab", "spaces: YAML allows no tabs in indentation"
    else:
        message, expected = f"invalid YAML: {error.problem}", _EXPLANATIONS.get(error.problem or "", "")
        if error.context and error.context_mark is not None and error.context_mark.line != mark.line:
            message += f" {error.context} that begins in line {first_line + error.context_mark.line + 1}"
    return Problem("error", file, first_line + mark.line + 1, mark.column + 1, "", message, expected), index
