"""Can a cluster be probed as its document says? Fields that need one another, and keys that would travel openly."""

from collections.abc import Iterator
from typing import Final

from penstock_policies.catalogue import Written
from penstock_policies.problems import Path, Problem, listed, shown
from penstock_policies.quantities import format_duration
from penstock_policies.schema import Cluster
from penstock_policies.suggestions import closest
from penstock_policies.words import Vantage

_FRAMING: Final = frozenset(
    {"host", "connection", "content-length", "content-type", "transfer-encoding", "accept-encoding", "te", "upgrade"}
)
"""Headers that say where a request ends and whom it is for."""


def check_probing(cluster: Written[Cluster]) -> Iterator[Problem]:
    """Tell what is wrong with how a cluster is to be probed."""
    yield from _checkers(cluster)
    yield from _generation(cluster)
    yield from _models(cluster)
    yield from _credential(cluster)


def _checkers(cluster: Written[Cluster]) -> Iterator[Problem]:
    health = cluster.document.spec.health
    if "checkers" in health.model_fields_set and health.vantage is not Vantage.EDGE:
        yield cluster.warning(
            ("spec", "health", "checkers"),
            "changes nothing: only Envoys that probe have checkers among them",
            expected="from: edge, or no checkers",
        )


def _generation(cluster: Written[Cluster]) -> Iterator[Problem]:
    spec = cluster.document.spec
    generation = spec.health.generation
    if generation is None:
        return
    path: Path = ("spec", "health", "generation")
    if generation.model is not None and generation.model not in spec.models:
        yield cluster.problem(
            (*path, "model"),
            f"a generation by {shown(generation.model)}, which the cluster does not serve",
            expected=f"one of {listed(spec.models)}",
            suggestion=closest(generation.model, spec.models),
        )
    if generation.interval < spec.health.interval:
        yield cluster.problem(
            (*path, "interval"),
            "generations more often than the probes that tell whether there is anybody to ask",
            expected=f"at least spec.health.interval, {format_duration(spec.health.interval)}",
        )
    if generation.ttft_warn is not None and generation.ttft_warn >= generation.timeout:
        yield cluster.warning(
            (*path, "ttftWarn"),
            "a generation that takes so long has failed before it is told to be slow",
            expected=f"less than its timeout, {format_duration(generation.timeout)}",
        )


def _models(cluster: Written[Cluster]) -> Iterator[Problem]:
    health = cluster.document.spec.health
    if health.models and health.vantage is Vantage.EDGE:
        yield cluster.problem(
            ("spec", "health", "models"),
            "Envoys look at no list of models",
            expected="from: control-plane, or no models",
        )


def _credential(cluster: Written[Cluster]) -> Iterator[Problem]:
    credential = cluster.document.spec.health.credential
    if credential is None:
        return
    path: Path = ("spec", "health", "credential")
    if credential.header.lower() in _FRAMING:
        yield cluster.problem(
            (*path, "header"),
            f"{shown(credential.header)} carries no key",
            expected="a header such as Authorization, api-key or x-api-key",
        )
    if any(endpoint.tls is None for endpoint in cluster.document.spec.endpoints):
        yield cluster.warning(
            path, "the key is sent in plain text to endpoints without tls", expected="tls, or no credential"
        )
