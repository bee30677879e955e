"""Every document that passed the schema, with the place it came from: what the checks between documents look at."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from penstock_policies.nodes import SourceDocument
from penstock_policies.policyset import Origin
from penstock_policies.problems import Path, Problem, Severity
from penstock_policies.schema import (
    AnyDocument,
    Budget,
    Cluster,
    CostFeed,
    Listener,
    NodeGroup,
    ResidencyRule,
    TrafficPolicy,
)

D_co = TypeVar("D_co", bound=AnyDocument, covariant=True)


@dataclass(frozen=True, slots=True)
class Written(Generic[D_co]):
    """A document and the text it came from."""

    document: D_co
    source: SourceDocument

    @property
    def name(self) -> str:
        """The document's name."""
        return self.document.name

    @property
    def origin(self) -> Origin:
        """Where the document begins."""
        position = self.source.root.position
        return Origin(self.source.file, position.line, position.column)

    def place(self, path: Path) -> str:
        """``file:line:column`` of a path, to name it in a message about another document."""
        position = self.source.value_position(path)
        return f"{self.source.file}:{position.line}:{position.column}"

    def problem(
        self, path: Path, message: str, *, severity: Severity = "error", expected: str = "", suggestion: str = ""
    ) -> Problem:
        """Make a finding about a path of the document."""
        return self.source.problem(path, message, severity=severity, expected=expected, suggestion=suggestion)

    def warning(self, path: Path, message: str, *, expected: str = "", suggestion: str = "") -> Problem:
        """Make a finding that keeps nothing from running."""
        return self.problem(path, message, severity="warning", expected=expected, suggestion=suggestion)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Documents by name, one of each kind and name, sorted."""

    budgets: Mapping[str, Written[Budget]] = field(default_factory=dict)
    clusters: Mapping[str, Written[Cluster]] = field(default_factory=dict)
    feeds: Mapping[str, Written[CostFeed]] = field(default_factory=dict)
    listeners: Mapping[str, Written[Listener]] = field(default_factory=dict)
    groups: Mapping[str, Written[NodeGroup]] = field(default_factory=dict)
    residency: Mapping[str, Written[ResidencyRule]] = field(default_factory=dict)
    policies: Mapping[str, Written[TrafficPolicy]] = field(default_factory=dict)
    names: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Kind to every name declared, also by documents that did not pass: naming these is no mistake of its own."""
    complete: bool = True
    """Whether every document passed. What is missing or unused cannot be told from an incomplete catalogue."""
    all_named: bool = True
    """Whether the name of every document is known; if not, an unknown name may be that of a broken document."""

    def listeners_of(self, group: Written[NodeGroup]) -> tuple[Written[Listener], ...]:
        """Find the listeners a group names that passed, in its order."""
        named = (self.listeners.get(name) for name in group.document.spec.listeners)
        return tuple(listener for listener in named if listener is not None)

    def clusters_of(self, policy: Written[TrafficPolicy]) -> tuple[Written[Cluster], ...]:
        """Find the clusters a policy names that passed, in its order."""
        named = (self.clusters.get(name) for name in policy.document.spec.clusters)
        return tuple(cluster for cluster in named if cluster is not None)

    def models_of(self, policy: Written[TrafficPolicy]) -> tuple[str, ...]:
        """List the models a policy is for, sorted, as far as its clusters that passed serve them."""
        served = {model for cluster in self.clusters_of(policy) for model in cluster.document.spec.models}
        wanted = policy.document.spec.match.models
        return tuple(sorted(served if wanted is None else served.intersection(wanted)))
