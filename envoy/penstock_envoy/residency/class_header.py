"""What requests can say in ``x-data-class``, and which of them a matcher lets through.

The header may be absent, or have any number of lines with any text. Matchers here tell apart only a few words, so all
texts but those behave alike and one stand-in (:data:`OTHER`) speaks for them; and Envoy asks "does any line match", so
what counts is the *set* of texts. That makes the states few enough to try them all: a proof, not a sample. (An Envoy
that joins lines with commas sees such a request as one text that is no word: :data:`OTHER`, tried as well.)
"""

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from itertools import combinations
from typing import Final

from penstock_envoy.residency.breach import ResidencyBreach
from penstock_policies.words import DataClass

HEADER: Final = "x-data-class"

_WORDS: Final = ("", *(each.value for each in DataClass))


class _Other(Enum):
    OTHER = "any other text"


OTHER: Final = _Other.OTHER

Text = str | _Other
State = frozenset[Text]

_ALPHABET: Final[tuple[Text, ...]] = (*_WORDS, OTHER)
STATES: Final[tuple[State, ...]] = tuple(
    frozenset(chosen) for size in range(len(_ALPHABET) + 1) for chosen in combinations(_ALPHABET, size)
)
EVERY_STATE: Final = (1 << len(STATES)) - 1
"""Sets of states are bit masks over :data:`STATES`."""

# "Any text but this word", spelt out. Written by hand here and held against the definition by a test.
_ALL_BUT: Final = {
    "(|[^p].*|p(|[^u].*|u(|[^b].*|b(|[^l].*|l(|[^i].*|i(|[^c].*|c.+))))))": "public",
    "(|[^i].*|i(|[^n].*|n(|[^t].*|t(|[^e].*|e(|[^r].*|r(|[^n].*|n(|[^a].*|a(|[^l].*|l.+))))))))": "internal",
}
_ONE_OF: Final = re.compile(r"\(([a-z]+(?:\|[a-z]+)*)\)(\?)?")


@dataclass(frozen=True, slots=True)
class ClassMatcher:
    """A matcher on the header: the texts it lets through (all but them, if ``negated``), and whether absence does."""

    texts: frozenset[str]
    negated: bool
    absent: bool

    @property
    def mask(self) -> int:
        """The states it lets through."""
        return _mask(self)


def exact(text: str, *, absent_is_empty: bool) -> ClassMatcher:
    """A matcher for one text.

    Raises:
        ResidencyBreach: the text is none of the words of data classes.
    """
    return _of({text}, negated=False, absent_is_empty=absent_is_empty)


def pattern(regex: str, *, absent_is_empty: bool) -> ClassMatcher:
    """A matcher by regular expression, if it is one of the few shapes that can be reasoned about.

    Raises:
        ResidencyBreach: it is not.
    """
    if regex in _ALL_BUT:
        return _of({_ALL_BUT[regex]}, negated=True, absent_is_empty=absent_is_empty)
    shape = _ONE_OF.fullmatch(regex)
    if shape is None:
        raise ResidencyBreach((HEADER,), f"pattern {regex!r} is not one the proof can reason about")
    texts = set(shape[1].split("|")) | ({""} if shape[2] else set())
    return _of(texts, negated=False, absent_is_empty=absent_is_empty)


def class_of(state: State, floor: DataClass) -> DataClass:
    """The class of a request in a state on a listener of class ``floor``: never looser than the listener's."""
    if not state:
        return floor
    text = next(iter(state)) if len(state) == 1 else OTHER
    said = DataClass(text) if isinstance(text, str) and text in set(DataClass) else DataClass.RESTRICTED
    return max(floor, said, key=lambda each: each.strictness)


@lru_cache(maxsize=len(DataClass))
def masks_by_class(floor: DataClass) -> dict[DataClass, int]:
    """For each class, the states of requests of that class on a listener of class ``floor``."""
    masks = dict.fromkeys(DataClass, 0)
    for index, state in enumerate(STATES):
        masks[class_of(state, floor)] |= 1 << index
    return masks


def _of(texts: set[str], *, negated: bool, absent_is_empty: bool) -> ClassMatcher:
    strange = texts.difference(_WORDS)
    if strange:
        raise ResidencyBreach((HEADER,), f"tells apart {', '.join(sorted(strange))}, which are no data classes")
    return ClassMatcher(frozenset(texts), negated, absent=absent_is_empty and (("" in texts) is not negated))


@lru_cache(maxsize=1024)
def _mask(matcher: ClassMatcher) -> int:
    mask = 0
    for index, state in enumerate(STATES):
        through = any((text in matcher.texts) is not matcher.negated for text in state) if state else matcher.absent
        mask |= through << index
    return mask
