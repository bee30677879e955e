"""What a load generator's requests came to. Plain counting, with differences between two moments for live figures."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Self

from penstock.demo.histogram import Histogram
from penstock_policies.words import DataClass

NOWHERE = "none"
"""The cluster of an answer that names none: Envoy's own replies, and requests without an answer."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request's end."""

    traffic: str
    data_class: DataClass
    status: int
    """HTTP status, or 0 when there was no answer."""
    cluster: str = NOWHERE
    attempts: int = 1
    seconds: float = 0.0
    first_token_seconds: float | None = None
    """Until the first byte of a streamed answer; None for answers in one piece."""
    tokens: int = 0
    """Prompt and completion together, as billed."""
    cost_usd: float = 0.0
    failure: str = ""
    """Why it failed; empty when it did not."""

    @property
    def refused_as_restricted(self) -> bool:
        """A restricted request that was told 503: the answer it is owed when no allowed cluster is up."""
        return self.data_class is DataClass.RESTRICTED and self.status == 503


@dataclass(slots=True)
class Tally:
    """Totals of a run."""

    requests: int = 0
    """Requests of every class."""
    failed: int = 0
    """Requests of any class that failed, restricted ones that were told 503 not among them."""
    restricted: int = 0
    restricted_503: int = 0
    not_sent: int = 0
    """Arrivals the generator itself gave up on because too many requests were under way."""
    retried: int = 0
    """Requests that succeeded at a second attempt or later."""
    tokens: int = 0
    cost_usd: float = 0.0
    served: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(traffic, cluster) to requests that succeeded."""
    failures: Counter[str] = field(default_factory=Counter)
    latency: Histogram = field(default_factory=Histogram)
    first_token: Histogram = field(default_factory=Histogram)

    def add(self, outcome: Outcome) -> None:
        """Count one request."""
        self.requests += 1
        self.restricted += outcome.data_class is DataClass.RESTRICTED
        if outcome.refused_as_restricted:
            self.restricted_503 += 1
        elif outcome.failure:
            self.failed += 1
            self.failures[f"{outcome.traffic}: {outcome.failure}"] += 1
        else:
            self.served[(outcome.traffic, outcome.cluster)] += 1
            self.retried += outcome.attempts > 1
            self.tokens += outcome.tokens
            self.cost_usd += outcome.cost_usd
            self.latency.observe(outcome.seconds)
            if outcome.first_token_seconds is not None:
                self.first_token.observe(outcome.first_token_seconds)

    def share(self, traffic: str | None = None) -> dict[str, float]:
        """Cluster to its fraction of the requests that succeeded, of one traffic or of all."""
        counts: Counter[str] = Counter()
        for (name, cluster), count in self.served.items():
            if traffic in {None, name}:
                counts[cluster] += count
        total = sum(counts.values())
        return {cluster: count / total for cluster, count in sorted(counts.items())} if total else {}

    def copy(self) -> Self:
        """An independent copy, to take a difference from later."""
        return self.minus(type(self)())

    def minus(self, earlier: Self) -> Self:
        """What was counted since ``earlier``, a copy of this tally."""
        return type(self)(
            requests=self.requests - earlier.requests,
            failed=self.failed - earlier.failed,
            restricted=self.restricted - earlier.restricted,
            restricted_503=self.restricted_503 - earlier.restricted_503,
            not_sent=self.not_sent - earlier.not_sent,
            retried=self.retried - earlier.retried,
            tokens=self.tokens - earlier.tokens,
            cost_usd=self.cost_usd - earlier.cost_usd,
            served=self.served - earlier.served,
            failures=self.failures - earlier.failures,
            latency=self.latency.minus(earlier.latency),
            first_token=self.first_token.minus(earlier.first_token),
        )
