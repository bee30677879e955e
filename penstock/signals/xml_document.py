"""XML of somebody else's making, read within limits: elements and text, nothing that an attacker could use. Pure.

A document with a DTD is refused whole: entities, external or growing without bound, begin there, and no price API
sends one. Depth and number of elements are bounded; namespaces and attributes are not looked at.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from xml.parsers import expat

from penstock.signals.price_document import PriceDocumentError

_DEEPEST: Final = 32
"""Three times what the APIs read here nest."""
_MOST_ELEMENTS: Final = 200_000
"""A year of quarter-hours in each of two tracks, and some."""


@dataclass(slots=True)
class Element:
    """An element by its local name, its text, and what it holds."""

    name: str
    children: list["Element"] = field(default_factory=list)
    text: str = ""

    def each(self, name: str) -> Iterator["Element"]:
        """Every child of a name."""
        return (child for child in self.children if child.name == name)

    def words(self, *path: str) -> str | None:
        """Return the text that a path of first children leads to, without spaces round it; None: it leads nowhere."""
        found: Element | None = self
        for name in path:
            found = next(found.each(name), None) if found is not None else None
        return None if found is None else found.text.strip()


def read_xml(text: bytes) -> Element:
    """Read a document.

    Raises:
        PriceDocumentError: it is no XML, has a DTD, or is larger than any that is read here.

    """
    root = Element("")
    open_elements, count = [root], 0

    def begin(name: str, _: object) -> None:
        nonlocal count
        count += 1
        if len(open_elements) > _DEEPEST or count > _MOST_ELEMENTS:
            raise PriceDocumentError("Invalid XML: more than any price document has")
        element = Element(name.rpartition(" ")[2])
        open_elements[-1].children.append(element)
        open_elements.append(element)

    def end(_: str) -> None:
        open_elements.pop()

    def characters(data: str) -> None:
        open_elements[-1].text += data

    def doctype(*_: object) -> None:
        raise PriceDocumentError("Invalid XML: it has a document type declaration, which is refused")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = begin
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(text, True)  # noqa: FBT003 - the library's signature
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise PriceDocumentError(f"Invalid XML: {error}") from error
    return root.children[0]
