"""What the sources of facts tell beyond what the engine decides by: for people, dashboards and alerts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from penstock.signals.engine_shown import EngineShown
from penstock.signals.load_endpoints import EndpointLoad, Outcome
from penstock.signals.load_facts import ClusterReport, LoadFacts

__all__ = ["ClusterReport", "EndpointLoad", "EngineShown", "EngineSummary", "LoadFacts", "Outcome", "Signals", "Source"]

Source = Literal["metrics page", "answers", "edges"]
"""Where an engine's figures come from: its own page, what it says in its answers (ORCA), or nowhere: then its cluster
is judged by what Envoys measure."""

FAILING: Final = 0.5
"""Share of an endpoint's requests from which on it is called failing."""
ENOUGH: Final = 10.0
"""Requests of which that share must be."""


@dataclass(frozen=True, slots=True)
class EngineSummary:
    """What is read of the engines of one cluster."""

    has_page: bool
    """It is an engine whose metrics page is read. Ollama's and plain OpenAI servers have none."""
    shown: EngineShown | None = None
    """What the pages say together; None while none was read lately."""


class Signals(Protocol):
    """What engines and edges tell. Answered from memory, on the event loop's thread, without raising."""

    def engine(self, cluster: str) -> EngineSummary:
        """Tell what a cluster's engines say of themselves, together."""
        ...

    def engine_pages(self, cluster: str) -> Mapping[str, EngineShown | None]:
        """Tell what each page of a cluster's engines says, by its ``address:port``; None of one not read lately."""
        ...

    def cluster_report(self, cluster: str) -> ClusterReport:
        """Tell what edges report of a cluster, by region, locality and endpoint."""
        ...

    def outcomes(self) -> Mapping[tuple[str, str], Outcome]:
        """Tell how requests at every endpoint went lately, by cluster and ``address:port``."""
        ...

    def drops(self) -> Mapping[tuple[str, str], int]:
        """Count the requests turned away at edges since the start, by cluster and category."""
        ...

    def load_reporting(self) -> LoadFacts:
        """Tell how the edges' load reporting goes."""
        ...


MANY: Final = 10
"""Requests in flight at an endpoint that shall not go unnoticed if nobody is answered."""
NEXT_TO_NONE: Final = 0.1
"""Requests ended lately: one fades to this in fifty seconds, ten in a hundred."""


def failing(outcome: Outcome) -> bool:
    """Tell whether most requests at an endpoint fail, of enough to say so."""
    return outcome.ended >= ENOUGH and outcome.error_share >= FAILING


def swallowing(outcome: Outcome) -> bool:
    """Tell whether an endpoint has many requests and none has ended for about a minute, well or badly."""
    return outcome.in_flight >= MANY and outcome.ended < NEXT_TO_NONE


def by_endpoint(report: ClusterReport) -> dict[str, dict[str, EndpointLoad]]:
    """Turn a report of regions into one of endpoints, each with its regions."""
    turned: dict[str, dict[str, EndpointLoad]] = {}
    for region, endpoints in report.endpoints.items():
        for endpoint, load in endpoints.items():
            turned.setdefault(endpoint, {})[region] = load
    return turned
