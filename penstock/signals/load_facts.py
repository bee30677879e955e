"""What load reporting knows, as values for people and metrics."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.signals.load_endpoints import EndpointLoad
from penstock.signals.load_reports import Figures


@dataclass(frozen=True, slots=True)
class Doubt:
    """A reporter that is not believed about a cluster (:mod:`penstock.signals.load_doubt`)."""

    node: str
    region: str
    cluster: str


@dataclass(frozen=True, slots=True)
class LoadFacts:
    """How load reporting goes."""

    streams: int = 0
    silent: int = 0
    """Streams that count for nothing, because they have not reported for three intervals."""
    unplaced: int = 0
    """Streams that count for nothing, because no region is known for their Envoy."""
    reports: int = 0
    refused: int = 0
    """Absurd figures of single clusters, taken for unknown."""
    unknown: int = 0
    """Entries about clusters that are not in the policy: the Envoy's own, and what a client made up."""
    doubts: tuple[Doubt, ...] = ()


@dataclass(frozen=True, slots=True)
class ClusterReport:
    """What is reported of one cluster."""

    localities: Mapping[str, Mapping[bytes, Figures]] = field(default_factory=dict)
    """Region to locality, serialized, to figures of the last reports."""
    endpoints: Mapping[str, Mapping[str, EndpointLoad]] = field(default_factory=dict)
    """Region to ``address:port`` to figures of about the last twenty seconds; "" is endpoints not told one by one."""
    drops: Mapping[str, int] = field(default_factory=dict)
    """Category to requests turned away at edges since the start."""
