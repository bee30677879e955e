"""One thing worth knowing."""

from dataclasses import dataclass
from typing import Final, Literal

Severity = Literal["error", "warning", "info"]
ORDER: Final[tuple[Severity, ...]] = ("error", "warning", "info")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing worth knowing. ``info`` is what people meant to happen, such as a drain, and no fault."""

    severity: Severity
    kind: str
    message: str
