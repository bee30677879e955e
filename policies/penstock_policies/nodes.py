"""A YAML document as a tree that remembers where everything was written."""

from dataclasses import dataclass
from typing import NamedTuple

from penstock_policies.problems import Path, Problem, Severity, path_text
from penstock_policies.scalars import Scalar

PlainValue = Scalar | list["PlainValue"] | dict[str, "PlainValue"]


class Position(NamedTuple):
    """Line and column, from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A key of a mapping and what it holds."""

    key_position: Position
    node: "Node"


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it begins. An alias is the very node its anchor names."""

    position: Position
    content: Scalar | list["Node"] | dict[str, Entry]

    def plain(self) -> PlainValue:
        """Get the value without positions."""
        content = self.content
        if isinstance(content, dict):
            return {key: entry.node.plain() for key, entry in content.items()}
        if isinstance(content, list):
            return [item.plain() for item in content]
        return content


@dataclass(frozen=True, slots=True)
class SourceDocument:
    """One document of a file."""

    file: str
    root: Node
    flawed: frozenset[Path] = frozenset()
    """Paths already reported while reading: judging them again would only repeat it."""

    def value_position(self, path: Path) -> Position:
        """Where the value at a path begins; where the path does not exist, its nearest ancestor's key."""
        return self._walk(path)[1]

    def key_position(self, path: Path) -> Position:
        """Where the key of a path is written; for a list item or the root, where its value begins."""
        return self._walk(path)[0]

    def value(self, path: Path) -> PlainValue:
        """Get the plain value at a path; None where there is none."""
        node: Node | None = self.root
        for step in path:
            node = _child(node, step) if node is not None else None
        return None if node is None else node.plain()

    def problem(
        self,
        path: Path,
        message: str,
        *,
        severity: Severity = "error",
        expected: str = "",
        suggestion: str = "",
        at_key: bool = False,
    ) -> Problem:
        """Make a finding about a path of this document."""
        position = self.key_position(path) if at_key else self.value_position(path)
        return Problem(
            severity, self.file, position.line, position.column, path_text(path), message, expected, suggestion
        )

    def _walk(self, path: Path) -> tuple[Position, Position]:
        node = self.root
        key = value = node.position
        for step in path:
            child = _child(node, step)
            if child is None:
                return key, key
            entry = node.content.get(step) if isinstance(node.content, dict) and isinstance(step, str) else None
            key = child.position if entry is None else entry.key_position
            value = child.position
            node = child
        return key, value


def _child(node: Node, step: str | int) -> Node | None:
    content = node.content
    if isinstance(content, dict) and isinstance(step, str):
        entry = content.get(step)
        return None if entry is None else entry.node
    if isinstance(content, list) and isinstance(step, int) and 0 <= step < len(content):
        return content[step]
    return None
