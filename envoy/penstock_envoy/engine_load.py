"""How engines are asked what they are busy with, and how their answers reach the control plane (ORCA).

A request header asks; the engine answers in a header of its own, which Envoy reads, adds up by endpoint for its load
reports, and takes out again: how full the engines are is none of the client's business. Measured with Envoy 1.40: of a
composite cluster it is the leg that must name what is reported, what its members name is not looked at.
"""

from typing import Final

from penstock_policies.schema import Cluster
from penstock_policies.words import Engine

ASKED_BY: Final = "endpoint-load-metrics-format"
FORMAT: Final = "TEXT"

ANSWERS: Final = ("endpoint-load-metrics", "endpoint-load-metrics-bin")
"""Headers an engine answers with: as text or JSON, and serialized."""

REPORTED: Final = ("named_metrics.num_requests_waiting", "named_metrics.kv_cache_usage_perc")
"""What of it Envoys report. vLLM tells no more, and what others might tell must not be made up by them."""

_ENGINES: Final = frozenset({Engine.VLLM})
"""Those that answer (vLLM since 0.11, for answers that are not streamed)."""


def answers(document: Cluster) -> bool:
    """Whether the engines of a cluster tell their load when asked."""
    return document.spec.engine in _ENGINES
