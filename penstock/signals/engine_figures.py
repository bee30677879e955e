"""What is known of one LLM server at a moment, whatever its engine: the canonical form of all metrics pages."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

Buckets = Mapping[float, float]
"""A histogram: upper bound in seconds (the last is infinite) to how many were within it, cumulative and ascending."""

MOST: Final = 1e15
"""No count of tokens or requests is greater; one that is says that the text is not what it seems."""

COUNTERS: Final = ("prompt_tokens", "output_tokens", "prefix_hits", "prefix_lookups")
"""The figures that only grow while a server runs."""

HISTOGRAMS: Final = ("ttft", "inter_token")
"""The same, by bucket."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One reading of one server. None is unknown, never 0: an engine has no such figure, or its page made no sense."""

    running: float | None = None
    """Requests being worked on."""
    waiting: float | None = None
    """Requests queued."""
    prompt_tokens: float | None = None
    """Prompt tokens read since the server started."""
    output_tokens: float | None = None
    """Tokens generated since the server started."""
    prefix_hits: float | None = None
    """Of ``prefix_lookups`` those found in the prefix cache. Tokens or blocks, as the engine counts."""
    prefix_lookups: float | None = None
    """What was looked up in the prefix cache since the server started, in the unit of ``prefix_hits``."""
    prefix_hit_rate: float | None = None
    """The share, 0 to 1, as the engine itself reckons it; over which time, engines differ."""
    kv_used: float | None = None
    """Share of the KV cache in use, 0 to 1: the mean of all engines on the page. They are alike, so the mean is the
    share of the whole; the fullest one alone would let one unlucky engine speak for all."""
    ttft: Buckets | None = None
    """Time to the first token."""
    inter_token: Buckets | None = None
    """Time from one token of an answer to the next."""
    ready: bool | None = None
    """Whether it says that it can take requests."""
    models: tuple[str, ...] = ()
    """The models the page tells figures of, sorted."""
    revision: str | None = None
    """The version of the model, where the page tells one and only one."""

    @property
    def empty(self) -> bool:
        """Whether nothing at all is known."""
        return self == Figures(models=self.models, revision=self.revision)


def merged(histograms: list[Buckets]) -> Buckets | None:
    """Add histograms up on the bounds that all of them have; None of none.

    Cumulative counts may be added bound by bound, and only so: a bound that one of them lacks would fall behind its
    neighbours. The infinite bound is in all.
    """
    if not histograms:
        return None
    common = set(histograms[0]).intersection(*histograms[1:])
    return {bound: sum(each[bound] for each in histograms) for bound in sorted(common)}
