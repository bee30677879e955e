"""What a plain (unquoted) YAML word means, and which words mean too much.

YAML 1.1 and YAML 1.2 read some words differently: ``no`` is false or text, ``010`` is 8 or 10, ``10:30`` is 630 or
text, ``1e3`` is text or 1000. A policy must mean one thing to every reader, so those words are refused and the writer
is asked to quote them or to spell them out. Everything else is read by the YAML 1.2 core schema.
"""

import re
from collections.abc import Mapping
from typing import Final

Scalar = str | int | float | bool | None

_WORDS: Final[Mapping[str, Scalar]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_YES_OR_NO: Final = re.compile(r"yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF")
_INTEGER: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_HEXADECIMAL: Final = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+][0-9]+)?")
_EXPONENT: Final = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+")
_SEXAGESIMAL: Final = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
_OTHER_BASES: Final = re.compile(r"[-+]?(?:0[0-9_]+|0o[0-7]+|0b[01_]+|0x[0-9a-fA-F_]+)")
_UNDERSCORES: Final = re.compile(r"[-+]?(?:[0-9][0-9_]*_[0-9_]*(?:\.[0-9_]*)?|[0-9]+\.[0-9]*_[0-9_]*)")

_MOST_DIGITS: Final = 18
"""Whole numbers up to this length are exact in every reader's 64-bit integer."""

_LONGEST_NUMBER: Final = 64
"""Longer words are text: no field holds such a number, and the patterns above are not linear in a word's length."""


class AmbiguousScalarError(ValueError):
    """A plain word that YAML readers disagree about. Its text says why and what to write instead."""


def resolve(word: str) -> Scalar:
    """Find the value of a plain scalar.

    Raises:
        AmbiguousScalarError: readers of YAML 1.1 and 1.2 would not agree on it.

    """
    if word in _WORDS:
        return _WORDS[word]
    if len(word) > _LONGEST_NUMBER:
        return word
    _refuse_ambiguous(word)
    if _INTEGER.fullmatch(word):
        return int(word)
    if _HEXADECIMAL.fullmatch(word):
        return int(word, 16)
    if _FLOAT.fullmatch(word):
        return float(word)
    return word


def _refuse_ambiguous(word: str) -> None:
    if _YES_OR_NO.fullmatch(word):
        meaning = word.lower() in {"yes", "on"}
        raise AmbiguousScalarError(
            f'{word} means {str(meaning).lower()} to some YAML readers; write "{word}" in quotes'
        )
    if _SEXAGESIMAL.fullmatch(word):
        raise AmbiguousScalarError(f'{word} is a base-60 number to some YAML readers; write "{word}" in quotes')
    if _OTHER_BASES.fullmatch(word) and not _HEXADECIMAL.fullmatch(word):
        raise AmbiguousScalarError(
            f"{word} is not the same number to all YAML readers; write it in plain decimal digits"
        )
    if _UNDERSCORES.fullmatch(word):
        raise AmbiguousScalarError(f"{word} is text to some YAML readers; write the number without underscores")
    if _EXPONENT.fullmatch(word) and not _FLOAT.fullmatch(word):
        raise AmbiguousScalarError(f"{word} is text to some YAML readers; write the number without an exponent")
    if (_INTEGER.fullmatch(word) or _HEXADECIMAL.fullmatch(word)) and len(word) > _MOST_DIGITS:
        raise AmbiguousScalarError("a whole number of so many digits is not exact to all YAML readers")
