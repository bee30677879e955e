"""Recorded decisions as auditors ask about them: plain data that crosses the admin side's ports."""

from dataclasses import dataclass
from enum import StrEnum

from penstock_policies.inputs import DecisionInputs
from penstock_policies.policyset import PolicySet


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """A decision as recorded: ``json`` is its canonical text."""

    id: str
    at: float
    policy_digest: str
    json: str


@dataclass(frozen=True, slots=True)
class PastDecision:
    """A recorded decision with what is needed to explain it and to suppose otherwise."""

    stored: StoredDecision
    until: float | None
    """Unix time when the next one was recorded; None while it is the latest."""
    policy: PolicySet | None
    """The policy it was made by; None where its text is not stored, or is none this version reads."""
    inputs: DecisionInputs | None
    """What it was made of; None where that was not recorded, or is nothing this version reads."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at to verify a decision."""

    name: str
    ok: bool
    detail: str
    of_code: bool = False
    """Whether other code than that which decided may fail it by itself, so that it is no sign of tampering."""


class Verdict(StrEnum):
    """What comes of a verification."""

    VERIFIED = "verified"
    OTHER_CODE = "made-by-other-code"
    """Nothing speaks against the record; the code here is not that which decided, and does not answer the same."""
    NOT_VERIFIED = "not-verified"


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where a decision that was made again is not what was recorded."""

    path: str
    """Such as ``rows.chat/eu-west/llama-3-70b.weights.onprem-fra``."""
    recorded: str
    again: str


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether a recorded decision is what the engine makes of its recorded inputs, bit for bit."""

    decision: str
    at: float
    checks: tuple[Check, ...]
    differences: tuple[Difference, ...]
    """The first few."""
    engine: str
    """Which versions decided; empty where that is not known."""
    engine_here: str
    """Which versions this is."""
    vouched: bool = True
    """Whether the audit log vouches for all of the record; False for one that was made for its figures alone."""

    @property
    def verified(self) -> bool:
        """Whether every check held."""
        return all(check.ok for check in self.checks)

    @property
    def untampered(self) -> bool:
        """Whether the record is proven to be what was written, whatever this code makes of it."""
        return self.vouched and self._sound

    @property
    def _sound(self) -> bool:
        return all(check.ok for check in self.checks if not check.of_code)

    @property
    def verdict(self) -> Verdict:
        """What comes of it."""
        if self.verified:
            return Verdict.VERIFIED
        other = self._sound and self.engine != self.engine_here
        return Verdict.OTHER_CODE if other else Verdict.NOT_VERIFIED
