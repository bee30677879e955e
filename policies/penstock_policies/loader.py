"""From the text of policy files to a checked :class:`~penstock_policies.policyset.PolicySet`.

Pure: whoever reads the files hands over their text. Everything wrong with a directory is found in one go, by stages:
each document's YAML, each document's schema, then what documents say of one another, as far as they passed.
:func:`load` never raises for what a text says: a bad text is an answer, not an exception.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, TypeVar

from penstock_policies import coherence, conflicts, idle, references, sharing, wishes
from penstock_policies.catalogue import Catalogue, Written
from penstock_policies.documents import read
from penstock_policies.nodes import SourceDocument
from penstock_policies.policyset import PolicySet
from penstock_policies.problems import PolicyError, Problem, Severity, shown
from penstock_policies.schema import (
    KINDS,
    AnyDocument,
    Budget,
    Cluster,
    CostFeed,
    Listener,
    NodeGroup,
    ResidencyRule,
    TrafficPolicy,
)
from penstock_policies.validation import validate

D = TypeVar("D", bound=AnyDocument)

MAX_PROBLEMS: Final = 200
"""Shown of one file. Whoever has more mends the first and looks again; logs stay readable meanwhile."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came of a directory. Without errors there is a policy set; with even one there is none."""

    policy_set: PolicySet | None
    problems: tuple[Problem, ...]
    """Sorted by file, line and column."""

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that keep the directory from being used."""
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """The problems that do not."""
        return tuple(problem for problem in self.problems if problem.severity == "warning")

    def require(self) -> PolicySet:
        """Get the policy set.

        Raises:
            PolicyError: there is none; carries every problem.

        """
        if self.policy_set is None:
            raise PolicyError(self.problems)
        return self.policy_set


def load(files: Mapping[str, str]) -> Loaded:
    """Load a policy directory, given as file names (as messages shall show them) to text.

    The order of the files, and of the documents in them, makes no difference to the policy set.
    """
    problems: list[Problem] = []
    sources: list[SourceDocument] = []
    all_read = True
    for file in sorted(files):
        reading = read(file, files[file])
        sources += reading.documents
        problems += reading.problems
        all_read = all_read and reading.complete
    written: list[Written[AnyDocument]] = []
    for source in sources:
        document, found = validate(source)
        problems += found
        if document is not None:
            written.append(Written(document, source))
    catalogue = _catalogue(sources, written, complete=not problems, all_read=all_read)
    problems += _duplicate_names(sources)
    problems += _nothing_to_serve(sources, catalogue)
    for check in (references.check, coherence.check, conflicts.check, sharing.check):
        problems += check(catalogue)
    if catalogue.complete:
        problems += idle.check(catalogue)
        problems += wishes.check(catalogue)
    failed = any(problem.severity == "error" for problem in problems)
    return Loaded(None if failed else _policy_set(catalogue), tuple(_shortened(sorted(set(problems)))))


def _shortened(problems: Sequence[Problem]) -> Iterator[Problem]:
    """Leave out what comes after the first many problems of a file, and say how many these are."""
    for _, of_file in groupby(problems, key=lambda problem: problem.file):
        found = list(of_file)
        yield from found[:MAX_PROBLEMS]
        rest = found[MAX_PROBLEMS:]
        if rest:
            severity: Severity = "error" if any(problem.severity == "error" for problem in rest) else "warning"
            first = rest[0]
            yield Problem(severity, first.file, first.line, first.column, "", f"{len(rest)} more problems from here on")


def _identity(source: SourceDocument) -> tuple[str, str] | None:
    """Kind and name of a document, whatever else is wrong with it; None when it does not even say these."""
    kind, name = source.value(("kind",)), source.value(("metadata", "name"))
    if isinstance(kind, str) and kind in KINDS and isinstance(name, str):
        return kind, name
    return None


def _duplicate_names(sources: Sequence[SourceDocument]) -> Iterator[Problem]:
    first: dict[tuple[str, str], SourceDocument] = {}
    for source in sources:
        identity = _identity(source)
        if identity is None:
            continue
        original = first.setdefault(identity, source)
        if original is not source:
            kind, name = identity
            line, column = original.value_position(("metadata", "name"))
            yield source.problem(
                ("metadata", "name"),
                f"a second {kind} named {shown(name)}; the first stands at {original.file}:{line}:{column}",
                expected=f"a name that no other {kind} has",
            )


def _nothing_to_serve(sources: Sequence[SourceDocument], catalogue: Catalogue) -> Iterator[Problem]:
    """Refuse a directory that serves no Envoy.

    That is far more often a lost mount than a wish to take every Envoy's configuration away.
    """
    if not catalogue.all_named:
        return
    if not sources:
        yield Problem("error", "", 0, 0, "", "the directory holds no policy document", "at least one NodeGroup")
    elif not catalogue.names.get("NodeGroup"):
        yield Problem("error", "", 0, 0, "", "no Envoy is served: the directory has no NodeGroup", "at least one")


def _catalogue(
    sources: Sequence[SourceDocument], written: Sequence[Written[AnyDocument]], *, complete: bool, all_read: bool
) -> Catalogue:
    names: dict[str, set[str]] = {}
    all_named = all_read
    for source in sources:
        identity = _identity(source)
        if identity is None:
            all_named = False
        else:
            names.setdefault(identity[0], set()).add(identity[1])
    return Catalogue(
        budgets=_of_kind(Budget, written),
        clusters=_of_kind(Cluster, written),
        feeds=_of_kind(CostFeed, written),
        listeners=_of_kind(Listener, written),
        groups=_of_kind(NodeGroup, written),
        residency=_of_kind(ResidencyRule, written),
        policies=_of_kind(TrafficPolicy, written),
        names={kind: frozenset(found) for kind, found in names.items()},
        complete=complete,
        all_named=all_named,
    )


def _of_kind(kind: type[D], written: Sequence[Written[AnyDocument]]) -> dict[str, Written[D]]:
    """Pick the documents of a kind by name, sorted; of documents with one name, the first as written."""
    found: dict[str, Written[D]] = {}
    for entry in written:
        if isinstance(entry.document, kind):
            found.setdefault(entry.name, Written(entry.document, entry.source))
    return dict(sorted(found.items()))


def _policy_set(catalogue: Catalogue) -> PolicySet:
    by_kind: tuple[Mapping[str, Written[AnyDocument]], ...] = (
        catalogue.budgets,
        catalogue.clusters,
        catalogue.feeds,
        catalogue.listeners,
        catalogue.groups,
        catalogue.residency,
        catalogue.policies,
    )
    written = [entry for entries in by_kind for entry in entries.values()]
    return PolicySet(
        digest=digest([entry.document for entry in written]),
        clusters={name: entry.document for name, entry in catalogue.clusters.items()},
        feeds={name: entry.document for name, entry in catalogue.feeds.items()},
        listeners={name: entry.document for name, entry in catalogue.listeners.items()},
        groups={name: entry.document for name, entry in catalogue.groups.items()},
        residency={name: entry.document for name, entry in catalogue.residency.items()},
        policies={name: entry.document for name, entry in catalogue.policies.items()},
        budgets={name: entry.document for name, entry in catalogue.budgets.items()},
        origins={(entry.document.kind, entry.name): entry.origin for entry in written},
    )


def digest(documents: Sequence[AnyDocument]) -> str:
    """SHA-256 of what the documents mean, defaults included: layout, order and spelling of durations do not count."""
    meanings = sorted(
        (document.model_dump(mode="json", by_alias=True) for document in documents),
        key=lambda meaning: (meaning["kind"], meaning["metadata"]["name"]),
    )
    canonical = json.dumps(meanings, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
