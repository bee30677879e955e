"""The arithmetic of the audit chain. Pure.

Each entry's digest is ``sha256(previous digest + canonical JSON of the entry)``, so changing, removing, inserting or
reordering entries breaks every digest from there on. The number and digest of the last entry are kept in a place of
their own, so that cutting off the end shows too. Whoever can rewrite the whole database can still forge a whole new
chain: copy the latest digest elsewhere (it is in every line of the log) to guard against that.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

GENESIS: Final = "0" * 64


@dataclass(frozen=True, slots=True)
class Link:
    """An entry as it stands in the database; ``detail`` is its JSON text."""

    sequence: int
    at: float
    kind: str
    actor: str
    detail: str
    previous: str
    digest: str


def canonical(detail: Mapping[str, object]) -> str:
    """Return the one JSON text of a detail.

    Raises:
        TypeError: it holds something JSON cannot.
        ValueError: it holds NaN or an infinity, for which JSON has no words.

    """
    return json.dumps(detail, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_of(*, sequence: int, at: float, kind: str, actor: str, detail: str, previous: str) -> str:
    """Return the digest of an entry that follows the entry with digest ``previous``."""
    entry = canonical({"actor": actor, "at": at, "detail": detail, "kind": kind, "sequence": sequence})
    return hashlib.sha256((previous + entry).encode()).hexdigest()


def append(last: tuple[int, str], at: float, kind: str, actor: str, detail: Mapping[str, object]) -> Link:
    """Return the entry that follows ``last``, given by its number and digest."""
    sequence, previous = last[0] + 1, last[1]
    text = canonical(detail)
    digest = digest_of(sequence=sequence, at=at, kind=kind, actor=actor, detail=text, previous=previous)
    return Link(sequence, at, kind, actor, text, previous, digest)


def follow(links: Iterable[Link], sound: tuple[int, str]) -> tuple[int | None, tuple[int, str]]:
    """Check entries, sorted by number, that follow the entry with the number and digest ``sound``.

    Returns the number of the first that is not what was written, or None, and the last one that is sound.
    """
    for link in links:
        expected = digest_of(
            sequence=link.sequence,
            at=link.at,
            kind=link.kind,
            actor=link.actor,
            detail=link.detail,
            previous=sound[1],
        )
        if link.sequence != sound[0] + 1 or link.previous != sound[1] or link.digest != expected:
            return sound[0] + 1, sound
        sound = link.sequence, link.digest
    return None, sound


def broken_end(sound: tuple[int, str], head: tuple[int, str]) -> int | None:
    """Check the last sound entry against the one that was last written, both by number and digest.

    Returns the number of the first entry that is missing or not what was written, or None.
    """
    if sound == head:
        return None
    return sound[0] + 1 if head[0] > sound[0] else max(sound[0], 1)


def first_broken(links: Iterable[Link], head: tuple[int, str]) -> int | None:
    """Return the number of the first entry that is not what was written, or None.

    ``links`` are all entries by number, ``head`` is the last entry's number and digest. An entry that is missing at the
    end is named by the number it would have.
    """
    broken, sound = follow(links, (0, GENESIS))
    return broken if broken is not None else broken_end(sound, head)
