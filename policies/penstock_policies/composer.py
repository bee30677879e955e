"""From YAML events to trees with positions, refusing what a policy must not leave open.

Beyond YAML's own syntax these are errors: a key written twice (YAML readers silently keep one of them), words that
readers of YAML 1.1 and 1.2 disagree about, tags other than ``!!str``, keys that are not text, and nesting or aliases
that expand beyond any honest use.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import yaml

from penstock_policies.nodes import Entry, Node, Position, SourceDocument
from penstock_policies.problems import Path, Problem, path_text, shown
from penstock_policies.scalars import AmbiguousScalarError, Scalar, resolve

MAX_DEPTH: Final = 32
"""Of lists and mappings in one another; the schema needs seven."""

MAX_VALUES: Final = 50_000
"""Of a document, every alias written out: room for a cluster of ten thousand endpoints, none for a billion laughs."""

_MOST_OF_A_TAG: Final = 60
"""Characters of a tag that a message repeats."""

_TEXT_TAGS: Final = frozenset({"!", "tag:yaml.org,2002:str"})
_MERGE_KEY: Final = "<<"


class TooMuchError(Exception):
    """A document beyond the bounds; reading it goes no further.

    Attributes:
        problem: the finding.
        index: how many characters of the text were read.

    """

    def __init__(self, problem: Problem, index: int) -> None:
        super().__init__(str(problem))
        self.problem = problem
        self.index = index


class _Value(NamedTuple):
    """A node with what it costs to write out every alias in it."""

    node: Node
    size: int
    height: int
    """How many levels stand below it."""


class Composer:
    """Builds the documents of one stream of events. What was finished before an exception stays in ``documents``."""

    def __init__(self, file: str, first_line: int) -> None:
        self.documents: list[SourceDocument] = []
        self.problems: list[Problem] = []
        self._file = file
        self._first_line = first_line
        self._begin_document()

    def compose(self, events: Iterator[yaml.Event]) -> None:
        """Read every document.

        Raises:
            yaml.MarkedYAMLError: the syntax is broken.
            TooMuchError: a document is beyond the bounds.

        """
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._begin_document()
                root = self._value(next(events), events, ()).node
                if root.content is not None:
                    self.documents.append(SourceDocument(self._file, root, frozenset(self._flawed)))

    def _begin_document(self) -> None:
        self._anchors: dict[str, _Value | None] = {}
        self._values = 0
        self._flawed: set[Path] = set()

    def _value(self, event: yaml.Event, events: Iterator[yaml.Event], path: Path) -> _Value:
        """Build the value an event begins."""
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, path)
        self._count(1, event, path)
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self._anchors[anchor] = None
        if len(path) > MAX_DEPTH:
            raise self._too_deep(event, path)
        if isinstance(event, yaml.ScalarEvent):
            value = _Value(Node(self._position(event), self._scalar(event, path)), size=1, height=0)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(event, events, path)
        elif isinstance(event, yaml.MappingStartEvent):
            value = self._mapping(event, events, path)
        else:
            raise TypeError(f"the YAML parser sent an unknown event: {event!r}")
        if anchor is not None:
            self._anchors[anchor] = value
        return value

    def _alias(self, event: yaml.AliasEvent, path: Path) -> _Value:
        if event.anchor not in self._anchors:
            self._flaw(event, path, f"no anchor {shown(event.anchor)} stands before this alias")
            return _Value(Node(self._position(event), None), size=1, height=0)
        value = self._anchors[event.anchor]
        if value is None:
            raise self._too_much(event, path, f"the alias {shown(event.anchor)} stands inside what it names")
        if len(path) + value.height > MAX_DEPTH:
            raise self._too_deep(event, path)
        self._count(value.size, event, path)
        return value

    def _scalar(self, event: yaml.ScalarEvent, path: Path) -> Scalar:
        value: str = event.value
        if not event.implicit[0]:
            if event.tag not in _TEXT_TAGS and event.tag is not None:
                self._refuse_tag(event, path)
            return value
        try:
            return resolve(value)
        except AmbiguousScalarError as error:
            self._flaw(event, path, str(error))
            return value

    def _sequence(self, event: yaml.SequenceStartEvent, events: Iterator[yaml.Event], path: Path) -> _Value:
        if not event.implicit:
            self._refuse_tag(event, path)
        items: list[_Value] = []
        while not isinstance(item := next(events), yaml.SequenceEndEvent):
            items.append(self._value(item, events, (*path, len(items))))
        return _whole(Node(self._position(event), [item.node for item in items]), items)

    def _mapping(self, event: yaml.MappingStartEvent, events: Iterator[yaml.Event], path: Path) -> _Value:
        if not event.implicit:
            self._refuse_tag(event, path)
        entries: dict[str, Entry] = {}
        merged: list[Node] = []
        values: list[_Value] = []
        while not isinstance(key_event := next(events), yaml.MappingEndEvent):
            key = self._key(key_event, events, path)
            value = self._value(next(events), events, (*path, key))
            values.append(value)
            if key == _MERGE_KEY and isinstance(key_event, yaml.ScalarEvent) and key_event.implicit[0]:
                merged += self._merged(key_event, value.node, path)
            elif key in entries:
                expected = f"it once: it stands in line {entries[key].key_position.line} already"
                self._flaw(key_event, (*path, key), "the key is written twice", expected)
            else:
                entries[key] = Entry(self._position(key_event), value.node)
        for mapping in merged:
            if isinstance(mapping.content, dict):
                entries = {**mapping.content, **entries}
        return _whole(Node(self._position(event), entries), values)

    def _key(self, event: yaml.Event, events: Iterator[yaml.Event], path: Path) -> str:
        if isinstance(event, yaml.ScalarEvent):
            return str(event.value)
        self._flaw(event, path, "a key is a list, a mapping or an alias", "text as a key")
        return shown(self._value(event, events, (*path, "?")).node.plain())

    def _merged(self, event: yaml.Event, value: Node, path: Path) -> list[Node]:
        """Find the mappings a merge key brings in; the first one wins, as YAML 1.1 has it."""
        nodes = value.content if isinstance(value.content, list) else [value]
        if all(isinstance(node.content, dict) for node in nodes):
            return nodes
        expected = "an alias of a mapping, or a list of such"
        self._flaw(event, (*path, _MERGE_KEY), "a merge key that merges no mapping", expected)
        return []

    def _refuse_tag(
        self, event: yaml.ScalarEvent | yaml.SequenceStartEvent | yaml.MappingStartEvent, path: Path
    ) -> None:
        tag = str(event.tag).replace("tag:yaml.org,2002:", "!!", 1)
        self._flaw(event, path, f"the tag {tag[:_MOST_OF_A_TAG]} is not allowed", "a value without a tag")

    def _position(self, event: yaml.Event) -> Position:
        line, column, _ = _mark(event)
        return Position(self._first_line + line + 1, column + 1)

    def _problem(self, event: yaml.Event, path: Path, message: str, expected: str = "") -> Problem:
        line, column = self._position(event)
        return Problem("error", self._file, line, column, path_text(path), message, expected)

    def _flaw(self, event: yaml.Event, path: Path, message: str, expected: str = "") -> None:
        self._flawed.add(path)
        self.problems.append(self._problem(event, path, message, expected))

    def _count(self, values: int, event: yaml.Event, path: Path) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            raise self._too_much(event, path[:3], f"the document holds more than {MAX_VALUES} values")

    def _too_deep(self, event: yaml.Event, path: Path) -> TooMuchError:
        return self._too_much(event, path[:3], f"nested deeper than {MAX_DEPTH} levels")

    def _too_much(self, event: yaml.Event, path: Path, message: str) -> TooMuchError:
        return TooMuchError(self._problem(event, path, message), _mark(event)[2])


def _whole(node: Node, parts: Sequence[_Value]) -> _Value:
    return _Value(
        node, size=1 + sum(part.size for part in parts), height=1 + max((part.height for part in parts), default=0)
    )


def _mark(event: yaml.Event) -> tuple[int, int, int]:
    """Give line, column and index, from 0, of where an event begins."""
    mark = event.start_mark
    if mark is None:
        raise TypeError(f"the YAML parser sent an event without a position: {event!r}")
    return mark.line, mark.column, mark.index
