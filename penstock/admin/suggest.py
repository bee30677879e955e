"""The name somebody probably meant."""

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """The known name nearest to ``word``, when one is near enough to be worth saying."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)), None)
