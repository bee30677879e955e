"""Where the metrics pages of a cluster's engines are."""

from dataclasses import dataclass

from penstock.signals.engine_table import ADAPTERS
from penstock_policies.schema import ClusterSpec, Endpoint
from penstock_policies.words import Engine


@dataclass(frozen=True, slots=True)
class EnginePage:
    """One page and how to read it."""

    engine: Engine
    endpoint: Endpoint
    """Where it is asked for; of a page apart this is no server of requests."""
    path: str
    apart: bool = False
    """It has a port of its own. Its silence says nothing of the server, which may well be carrying load."""


def engine_pages(spec: ClusterSpec) -> dict[str, EnginePage]:
    """List the pages of a cluster by ``address:port``; none for an engine that serves no metrics.

    Endpoints that share a page, as those on one Ray node do, are listed once, so that it is not counted twice. A port
    of its own is asked in plain text, as Triton and Ray serve theirs.
    """
    adapter = ADAPTERS.get(spec.engine)
    if adapter is None:
        return {}
    path = spec.metrics.path or adapter.path
    port = spec.metrics.port or adapter.port
    pages: dict[str, EnginePage] = {}
    for endpoint in spec.endpoints:
        if port is None or port == endpoint.port:
            pages[endpoint.key] = EnginePage(spec.engine, endpoint, path)
        else:
            asked = Endpoint(address=endpoint.address, port=port)
            pages[asked.key] = EnginePage(spec.engine, asked, path, apart=True)
    return pages
