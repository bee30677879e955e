"""The closed vocabularies of the policy language."""

from enum import StrEnum


class DataClass(StrEnum):
    """How sensitive the data of a request is, from least to most strict."""

    PUBLIC = "public"
    INTERNAL = "internal"
    RESTRICTED = "restricted"

    @property
    def strictness(self) -> int:
        """0 for ``public`` up to 2 for ``restricted``."""
        return list(DataClass).index(self)

    def at_least(self) -> tuple["DataClass", ...]:
        """List the class and every stricter one: what a client may turn a request of this class into."""
        return tuple(other for other in DataClass if other.strictness >= self.strictness)


class Site(StrEnum):
    """Who owns the ground a cluster stands on."""

    ON_PREM = "on_prem"
    CLOUD = "cloud"
    EDGE = "edge"


class Engine(StrEnum):
    """The LLM server software behind a cluster: which metrics and endpoints to expect of it."""

    VLLM = "vllm"
    SGLANG = "sglang"
    TRTLLM = "trtllm"
    TRITON = "triton"
    NIM = "nim"
    TGI = "tgi"
    RAYSERVE = "rayserve"
    OLLAMA = "ollama"
    OPENAI = "openai"


class Measure(StrEnum):
    """What can be minimised."""

    COST = "cost"
    """Money at marginal prices."""
    LATENCY = "latency"
    """Network round trip and time to the first token."""
    CARBON = "carbon"
    """Grams of CO2 equivalent."""
    LOCALITY = "locality"
    """Distance: same region, same area, elsewhere."""
    SPREAD = "spread"
    """Distance from shares in proportion to capacity."""


class Survive(StrEnum):
    """Which loss of one cluster the others must be able to carry by plan."""

    NONE = "none"
    SPOT = "spot"
    """Any one spot cluster, by those that are not spot."""
    ANY = "any"
    """Any one cluster, by the others."""


class Vantage(StrEnum):
    """From where a cluster is probed."""

    CONTROL_PLANE = "control-plane"
    """By Penstock itself: one verdict for all."""
    EDGE = "edge"
    """By Envoys of each region of the edge: a verdict for each region."""
