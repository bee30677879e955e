"""What was measured, by whom it is about and when. The only way the world reaches the engine.

All times are seconds of the same clock (Unix time as the process received the fact; a source's own clock is never
trusted for ages). Values come as measured: the engine's sanitise stage refuses what is absurd.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class EndpointProbe:
    """The state of the probing of one endpoint."""

    at: float
    consecutive_ok: int
    consecutive_failed: int
    latency: float | None = None
    """Seconds of the last probe that was answered."""
    detail: str = ""
    """Why the last probe failed, for people."""
    generation_failed: int = 0
    """Generations that failed in a row, where probes generate. As many as make an endpoint unhealthy stay until as many
    as make it healthy again have succeeded in a row."""
    limited_at: float | None = None
    """When a probe was last answered that too much is asked for (429); None for never."""


@dataclass(frozen=True, slots=True)
class Load:
    """What the edges of one region report about one cluster, over the last reporting interval."""

    at: float
    in_flight: float
    """Requests under way."""
    request_rate: float
    """Requests issued per second."""
    error_rate: float
    """Requests failed per second."""
    reporters: int = 1
    """How many Envoys the figures are the sum of."""
    success_rate: float | None = None
    """Requests completed well per second; None where the source cannot tell. Only this proves that a cluster whose
    probes fail is alive: a hung cluster takes requests and reports no errors either."""
    prompt_tokens: float | None = None
    """Prompt tokens per second; None where the source cannot tell."""
    output_tokens: float | None = None
    """Tokens generated per second; None where the source cannot tell."""
    ttft_p95: float | None = None
    """Seconds to the first token that 95 of 100 requests stayed under; None where the source cannot tell."""


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """What the engines of a cluster say of themselves, all endpoints together; None is unknown, never 0."""

    at: float
    waiting: float | None = None
    """Requests queued."""
    running: float | None = None
    """Requests being worked on."""
    prompt_tokens: float | None = None
    """Prompt tokens per second."""
    output_tokens: float | None = None
    """Tokens generated per second."""
    ttft_p95: float | None = None
    """Seconds to the first token that 95 of 100 requests stayed under."""


@dataclass(frozen=True, slots=True)
class Price:
    """A price of tokens for a key of a cost feed."""

    at: float
    usd_per_million_tokens: float
    """Of a generated token."""
    prompt_ratio: float | None = None
    """What a prompt token costs of that; None where the source does not tell."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A price of machines' time or of electricity for a key of a cost feed."""

    at: float
    usd: float
    """May be negative for electricity."""
    per: str
    """What it is a price of, in the words of :class:`penstock_policies.feeds.Basis`."""


@dataclass(frozen=True, slots=True)
class Intensity:
    """A carbon intensity for a key of a feed that measures carbon."""

    at: float
    grams_per_million_tokens: float


@dataclass(frozen=True, slots=True)
class Spend:
    """What was spent under a budget in a period."""

    at: float
    period_start: float
    """When the period began that this counts, Unix time: of another period, it says nothing of this one."""
    usd: float


@dataclass(frozen=True, slots=True)
class Observations:
    """Everything known about the world at one moment."""

    probes: Mapping[str, Mapping[str, EndpointProbe]] = field(default_factory=dict)
    """Cluster, endpoint key to probe."""
    load: Mapping[str, Mapping[str, Load]] = field(default_factory=dict)
    """Edge region, cluster to load."""
    prices: Mapping[str, Mapping[str, Price]] = field(default_factory=dict)
    """Feed, key to price."""
    engines: Mapping[str, EngineLoad] = field(default_factory=dict)
    """Cluster to what its engines say of themselves."""
    carbon: Mapping[str, Mapping[str, Intensity]] = field(default_factory=dict)
    """Feed, key to carbon intensity."""
    spend: Mapping[str, Spend] = field(default_factory=dict)
    """Budget to what was spent."""
    edge_probes: Mapping[str, Mapping[str, Mapping[str, EndpointProbe]]] = field(default_factory=dict)
    """Edge region, cluster, endpoint key to what most of the Envoys there that probe it say: of clusters with
    ``health.from: edge``."""
    rates: Mapping[str, Mapping[str, Rate]] = field(default_factory=dict)
    """Feed, key to a price of something else than tokens."""
