"""What the store hands out: plain values, detached from the database."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

UNVOUCHED: Final = 0
"""In place of an audit entry's number: there is none about it."""


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """A decision as recorded; ``json`` is its canonical text, byte for byte."""

    id: str
    at: float
    """Unix time of the decision."""
    policy_digest: str
    json: str
    material_digest: str = ""
    figures_alone: bool = False
    """Whether it differs from the recorded one before it in figures alone; no audit entry is about it then."""


@dataclass(frozen=True, slots=True)
class PackedInputs:
    """What a decision was made of, to be recorded with it."""

    digest: str
    """SHA-256 of the canonical text, in hexadecimal digits."""
    data: bytes
    """The canonical text, compressed."""


@dataclass(frozen=True, slots=True)
class StoredInputs:
    """What a decision was made of, as recorded."""

    decision: str
    """The decision's id."""
    digest: str
    entry: int
    """The number of the audit entry that holds the digest too, or :data:`UNVOUCHED`."""
    data: bytes


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One entry of the audit log."""

    sequence: int
    """1 for the first entry, without gaps."""
    at: float
    """Unix time of the writing."""
    kind: str
    actor: str
    detail: Mapping[str, object]
    previous: str
    """Digest of the entry before; :data:`penstock.state.chain.GENESIS` for the first."""
    digest: str
