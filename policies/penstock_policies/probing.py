"""How the endpoints of a cluster are probed, as an SRE writes it: the words of ``spec.health``.

The words only; what a probe may be asked of which cluster is judged in :mod:`penstock_policies.probing_checks`.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from penstock_policies.model import HttpPath, Model, ModelName
from penstock_policies.quantities import Seconds
from penstock_policies.secret_places import SecretPlace
from penstock_policies.words import Vantage


class Credential(SecretPlace):
    """Where Penstock finds the key it shows when it probes. The key itself never stands in a policy."""

    header: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$")] = "Authorization"
    """The request header that carries it: ``Authorization``, ``api-key``, ``x-api-key``."""
    scheme: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{0,32}$")] = "Bearer"
    """What stands before the key, with a space between; empty for the key alone."""

    @model_validator(mode="after")
    def _one_place(self) -> "Credential":
        if (self.env is None) == (self.file is None):
            raise ValueError("expected env or file, one of them")
        return self


class Generation(Model):
    """A real generation of a few tokens, to find servers that answer health checks and generate nothing."""

    model: ModelName | None = None
    """Which of the cluster's models is asked. Omitted: the first."""
    api: Literal["chat", "completions"] = "chat"
    """Which of OpenAI's interfaces is used."""
    path: HttpPath | None = None
    """Where it is. Omitted: ``/v1/chat/completions`` or ``/v1/completions``."""
    prompt: Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")] = "Say yes."
    """What is asked, after a number that is another each time, so that no cache answers in the engine's place."""
    max_tokens: Annotated[int, Field(ge=1, le=64, strict=True)] = 4
    """Tokens generated at most."""
    limit_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the interface calls that limit; OpenAI's reasoning models know ``max_completion_tokens`` alone."""
    interval: Annotated[Seconds, Field(ge=5, le=86400)] = 60.0
    """From one generation at an endpoint to the next, where ``tokensPerDay`` allows. A failure is looked into at
    ``health.interval``."""
    timeout: Annotated[Seconds, Field(ge=0.1, le=300)] = 15.0
    """For the whole answer; one not ended by then has failed."""
    tokens_per_day: Annotated[int, Field(ge=1000, le=1_000_000_000, strict=True)] = 20_000
    """Tokens, of prompts and answers together, that probing all endpoints of the cluster may cost within any 24
    hours."""
    ttft_warn: Annotated[Seconds, Field(ge=0.001)] | None = None
    """Time to the first token above which people are told. Omitted: never. No traffic moves for it."""


class Health(Model):
    """How a cluster's endpoints are probed."""

    path: HttpPath = "/health"
    """Answered with 200 by a server that is well."""
    interval: Annotated[Seconds, Field(ge=0.1, le=3600)] = 5.0
    """From one probe to the next."""
    timeout: Annotated[Seconds, Field(ge=0.01, le=60)] = 2.0
    """A probe not answered by then has failed."""
    unhealthy_threshold: Annotated[int, Field(ge=1, le=100, strict=True)] = 3
    """Failed probes in a row that make an endpoint unhealthy; so do as many failed generations in a row."""
    healthy_threshold: Annotated[int, Field(ge=1, le=100, strict=True)] = 2
    """Good probes in a row that make it healthy again."""
    ramp_interval: Annotated[Seconds, Field(ge=0.1, le=3600)] = 5.0
    """How long a recovered cluster stays at each step of its ramp (1 %, then doubling)."""
    vantage: Annotated[Vantage, Field(alias="from")] = Vantage.CONTROL_PLANE
    """Who probes: the control plane, or the Envoys of each region of the edge on its behalf, so that a cluster out of
    reach of one region is down for that region alone. ``edge`` needs endpoints with IP addresses."""
    checkers: Annotated[int, Field(ge=1, le=15, strict=True)] = 3
    """With ``from: edge``: how many Envoys of each region probe it, or all of a region that has fewer. Most of their
    votes decide."""
    models: bool = False
    """Whether ``GET /v1/models`` is asked once a minute, and an endpoint that lists none of the cluster's models has
    failed. One that has no such list (404) is well."""
    generation: Generation | None = None
    """Omitted: nothing is generated."""
    credential: Credential | None = None
    """Omitted: probes carry no key."""
