"""The words of a report on what traffic came to: what is asked of the ledger, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from penstock.state.ledger import Amounts

PARTS: Final = ("policy", "data_class", "model", "cluster", "site", "region", "edge_region")
"""The columns that a report may tell apart."""
PLACES: Final = ("cluster", "site", "region")
"""Those that the time of a cluster has too."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which report."""

    since: int
    """Unix seconds; begins an hour."""
    until: int
    """Unix seconds, exclusive; begins an hour."""
    by: tuple[str, ...]
    """Of :data:`PARTS`; at least one."""
    hourly: bool
    most: int
    """Lines of either kind to return; one more is read, so that the reader knows of more."""


@dataclass(frozen=True, slots=True)
class Line:
    """What some rows came to."""

    hour: int | None
    """Unix seconds; None where hours are not told apart."""
    of: Mapping[str, str]
    """The columns asked for, by name."""
    amounts: Amounts
    amortized_usd: float


@dataclass(frozen=True, slots=True)
class Idle:
    """What a cluster cost in hours in which it did no work."""

    hour: int | None
    cluster: str
    site: str
    region: str
    seconds: float
    usd: float


@dataclass(frozen=True, slots=True)
class Found:
    """A report."""

    lines: tuple[Line, ...]
    idle: tuple[Idle, ...]
