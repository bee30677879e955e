"""What requests came to, as the edges' access logs tell it: the words between those who read the logs and the ledger.

Amounts are sums over requests that have ended. They carry no text of anybody: names, numbers and times only.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UsageKey:
    """Whose requests. The names are of the policy set in force; what is in no policy set is counted under no key."""

    region: str
    """The edge's, where the request came in."""
    policy: str
    data_class: str
    model: str
    """As routed by; empty for a request that named none."""
    cluster: str
    """The one that answered; empty where none did."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What some requests came to."""

    requests: int = 0
    failed: int = 0
    """Of them, those that ended with a 5xx, a 429 or a broken stream."""
    unmetered: int = 0
    """Of them, those that were answered well without saying their tokens."""
    prompt_tokens: int = 0
    cached_prompt_tokens: int = 0
    """Of the prompt tokens, those that the engine had in its prefix cache."""
    output_tokens: int = 0
    seconds: float = 0.0
    """How long they took, added up."""

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.requests + other.requests,
            self.failed + other.failed,
            self.unmetered + other.unmetered,
            self.prompt_tokens + other.prompt_tokens,
            self.cached_prompt_tokens + other.cached_prompt_tokens,
            self.output_tokens + other.output_tokens,
            self.seconds + other.seconds,
        )


TakeUsage = Callable[[float, Mapping[UsageKey, Usage]], None]
"""Called on the event loop's thread, once a second at most, with the time (Unix seconds) and what ended since the last
call. It must not block."""
