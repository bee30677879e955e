"""Did-you-mean: the word of a vocabulary that somebody probably meant."""

from collections.abc import Iterable
from difflib import get_close_matches

_LONGEST_WORD = 128
"""Longer ones get no guess: the comparison is quadratic, and nobody mistypes a word of this length."""


def closest(word: str, vocabulary: Iterable[str]) -> str:
    """Find the word most like ``word``; empty when none is close.

    A word that differs only in case, hyphens and underscores (``data_class`` for ``dataClass``) wins outright.
    """
    if len(word) > _LONGEST_WORD:
        return ""
    words = sorted(set(vocabulary) - {word})
    for candidate in words:
        if letters(candidate) == letters(word):
            return candidate
    matches = get_close_matches(word, words, n=1) or get_close_matches(word.lower(), words, n=1)
    return matches[0] if matches else ""


def letters(word: str) -> str:
    """Leave of a word what counts when case, hyphens and underscores do not."""
    return word.lower().replace("_", "").replace("-", "")
