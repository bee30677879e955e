"""What the store hands out: plain values, detached from the database."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """A decision as recorded; ``json`` is its canonical text, byte for byte."""

    id: str
    at: float
    """Unix time of the decision."""
    policy_digest: str
    json: str
    material_digest: str = ""


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
    """The number of the audit entry that holds the digest too."""
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
