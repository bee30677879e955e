"""From the text of policy files to a checked :class:`~penstock_policies.policyset.PolicySet`.

Pure: whoever reads the files hands over their text. Everything wrong with a directory is found in one go, by stages:
each document's YAML, each document's schema, then what documents say of one another, as far as they passed. Nothing
but memory exhaustion makes :func:`load` raise: bad text is an answer, not an exception.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from penstock_policies import coherence, conflicts, idle, references
from penstock_policies.catalogue import Catalogue, Written
from penstock_policies.documents import read
from penstock_policies.nodes import SourceDocument
from penstock_policies.policyset import PolicySet
from penstock_policies.problems import PolicyError, Problem, shown
from penstock_policies.schema import (
    KINDS,
    AnyDocument,
    Cluster,
    CostFeed,
    Listener,
    NodeGroup,
    ResidencyRule,
    TrafficPolicy,
)
from penstock_policies.validation import validate

D = TypeVar("D", bound=AnyDocument)


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
        """The policy set.

        Raises:
            PolicyError: there is none; carries every problem.
        """
        if self.policy_set is None:
            raise PolicyError(self.problems)
        return self.policy_set


def load(files: Mapping[str, str]) -> Loaded:
    """Load a policy directory, given as file names (as messages shall show them) to text.

    The order of the files and of documents in them makes no difference.
    """
    problems: list[Problem] = []
    sources: list[SourceDocument] = []
    readable = True
    for file in sorted(files):
        reading = read(file, files[file])
        sources += reading.documents
        problems += reading.problems
        readable = readable and reading.complete
    written: list[Written[AnyDocument]] = []
    for source in sources:
        document, found = validate(source)
        problems += found
        if document is not None:
            written.append(Written(document, source))
    problems += _duplicate_names(sources)
    catalogue = _catalogue(sources, written, readable=readable and len(written) == len(sources))
    for check in (references.check, coherence.check, conflicts.check):
        problems += check(catalogue)
    if not problems:
        problems += _nothing_to_serve(catalogue)
    if catalogue.complete:
        problems += idle.check(catalogue)
    failed = any(problem.severity == "error" for problem in problems)
    return Loaded(None if failed else _policy_set(catalogue), tuple(sorted(set(problems))))
