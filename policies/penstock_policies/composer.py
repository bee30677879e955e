"""From YAML events to trees with positions, refusing what a policy must not leave open.

Beyond YAML's own syntax these are errors: a key written twice (YAML readers silently keep one of them), words that
readers of YAML 1.1 and 1.2 disagree about, tags other than ``!!str``, keys that are not text, and nesting or aliases
that expand beyond any honest use.
"""

from collections.abc import Iterator
from typing import Final

import yaml

from penstock_policies.nodes import Entry, Node, Position, SourceDocument
from penstock_policies.problems import Path, Problem, path_text, shown
from penstock_policies.scalars import AmbiguousScalarError, Scalar, resolve

MAX_DEPTH: Final = 32
"""Of lists and mappings in one another; the schema needs seven."""

MAX_ALIASED_NODES: Final = 10_000
"""What all aliases of a document may expand to together: stops the billion-laughs bomb."""

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
                root, _ = self._node(next(events), events, ())
                if root.content is not None:
                    self.documents.append(SourceDocument(self._file, root, frozenset(self._flawed)))

    def _begin_document(self) -> None:
        self._anchors: dict[str, tuple[Node, int] | None] = {}
        self._aliased = 0
        self._flawed: set[Path] = set()

    def _node(self, event: yaml.Event, events: Iterator[yaml.Event], path: Path) -> tuple[Node, int]:
        """The node an event begins, and how many nodes it is when every alias is written out."""
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, path)
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self._anchors[anchor] = None
        if len(path) > MAX_DEPTH:
            raise self._too_much(event, path, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.ScalarEvent):
            node, size = Node(self._position(event), self._scalar(event, path)), 1
        elif isinstance(event, yaml.SequenceStartEvent):
            node, size = self._sequence(event, events, path)
        elif isinstance(event, yaml.MappingStartEvent):
            node, size = self._mapping(event, events, path)
        else:
            raise TypeError(f"the YAML parser sent an unknown event: {event!r}")
        if anchor is not None:
            self._anchors[anchor] = (node, size)
        return node, size

    def _alias(self, event: yaml.AliasEvent, path: Path) -> tuple[Node, int]:
        if event.anchor not in self._anchors:
            self._flaw(event, path, f"no anchor &{event.anchor} stands before this alias")
            return Node(self._position(event), None), 1
        known = self._anchors[event.anchor]
        if known is None:
            raise self._too_much(event, path, f"the alias *{event.anchor} stands inside what it names")
        node, size = known
        self._aliased += size
        if self._aliased > MAX_ALIASED_NODES:
            raise self._too_much(event, path, f"aliases expand to more than {MAX_ALIASED_NODES} values")
        return node, size

    def _scalar(self, event: yaml.ScalarEvent, path: Path) -> Scalar:
        value: str = event.value
        if not event.implicit[0]:
            if event.tag not in _TEXT_TAGS and event.tag is not None:
                self._flaw(event, path, f"the tag {shown(event.tag)} is not allowed", "a plain value")
            return value
        try:
            return resolve(value)
        except AmbiguousScalarError as error:
            self._flaw(event, path, str(error))
            return value

    def _sequence(
        self, event: yaml.SequenceStartEvent, events: Iterator[yaml.Event], path: Path
    ) -> tuple[Node, int]:
        self._refuse_tag(event, path)
        items: list[Node] = []
        size = 1
        while not isinstance(item_event := next(events), yaml.SequenceEndEvent):
            item, item_size = self._node(item_event, events, (*path, len(items)))
            items.append(item)
            size += item_size
        return Node(self._position(event), items), size

    def _mapping(self, event: yaml.MappingStartEvent, events: Iterator[yaml.Event], path: Path) -> tuple[Node, int]:
        self._refuse_tag(event, path)
        entries: dict[str, Entry] = {}
        merged: list[Node] = []
        size = 1
        while not isinstance(key_event := next(events), yaml.MappingEndEvent):
            key = self._key(key_event, events, path)
            value, value_size = self._node(next(events), events, (*path, key))
            size += value_size
            if key == _MERGE_KEY and isinstance(key_event, yaml.ScalarEvent) and key_event.implicit[0]:
                merged += self._merged(key_event, value, path)
            elif key in entries:
                first = entries[key].key_position
                self._flaw(
                    key_event, (*path, key), "the key is written twice", f"it once: it stands in line {first.line} already"
                )
            else:
                entries[key] = Entry(self._position(key_event), value)
        for mapping in merged:
            if isinstance(mapping.content, dict):
                entries = {**mapping.content, **entries}
        return Node(self._position(event), entries), size

    def _key(self, event: yaml.Event, events: Iterator[yaml.Event], path: Path) -> str:
        if isinstance(event, yaml.ScalarEvent):
            return str(event.value)
        self._flaw(event, path, "a key is a list, a mapping or an alias", "text as a key")
        node, _ = self._node(event, events, path)
        return shown(node.plain())

    def _merged(self, event: yaml.Event, value: Node, path: Path) -> list[Node]:
        """The mappings a merge key brings in; the first one wins, as YAML 1.1 has it."""
        nodes = value.content if isinstance(value.content, list) else [value]
        if all(isinstance(node.content, dict) for node in nodes):
            return nodes
        self._flaw(event, (*path, _MERGE_KEY), "a merge key that merges no mapping", "an alias of a mapping, or a list of such")
        return []

    def _refuse_tag(self, event: yaml.SequenceStartEvent | yaml.MappingStartEvent, path: Path) -> None:
        if not event.implicit and event.tag not in (None, "!"):
            self._flaw(event, path, f"the tag {shown(event.tag)} is not allowed", "a plain value")

    def _position(self, event: yaml.Event) -> Position:
        return Position(self._first_line + event.start_mark.line + 1, event.start_mark.column + 1)

    def _problem(self, event: yaml.Event, path: Path, message: str, expected: str = "") -> Problem:
        line, column = self._position(event)
        return Problem("error", self._file, line, column, path_text(path), message, expected)

    def _flaw(self, event: yaml.Event, path: Path, message: str, expected: str = "") -> None:
        self._flawed.add(path)
        self.problems.append(self._problem(event, path, message, expected))

    def _too_much(self, event: yaml.Event, path: Path, message: str) -> TooMuchError:
        return TooMuchError(self._problem(event, path, message), event.start_mark.index)
