"""What requests to a cluster were like in the last minute: their sizes, and how long first tokens took.

An entry of an access log arrives when its request has *ended*, load reports count requests as they are *sent*. A rate
of tokens by arrival of entries would lag behind the rate of requests by as long as answers take, and whoever divides
one by the other would get sizes that are wrong whenever traffic comes or goes. So what is measured here is the mean
size of the requests that ended lately, and :func:`with_requests` multiplies it with the rate of those being sent.
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Final

from penstock_policies.observations import Load

SLOT: Final = 10.0
"""Seconds to a slot."""
_SLOTS: Final = 6

_LEAST_REQUESTS: Final = 5
"""Requests of which a mean says something; the engine adds up more of them for itself."""
_LEAST_SHARE: Final = 0.5
"""Of the good answers that must have said their tokens: a few clients that ask for usage do not speak for the rest."""
_LEAST_FIRST_TOKENS: Final = 20
"""First tokens below which 95 of 100 is a guess at the slowest one."""

# Buckets of first tokens, each 5 % wider than the one before: 5 % is as exact as anybody acts on. 1 ms to a day.
_SHORTEST: Final = 0.001
_STEP: Final = math.log(1.05)
_MOST_BUCKETS: Final = 1 + int(math.log(86_400.0 / _SHORTEST) / _STEP)


@dataclass(frozen=True, slots=True)
class Measured:
    """What requests to a cluster were like; None is unknown."""

    prompt_tokens: float | None
    """Mean of a request."""
    output_tokens: float | None
    ttft_p95: float | None
    """Seconds that 95 of 100 first tokens took at most."""


@dataclass(slots=True)
class _Slot:
    at: float
    good: int = 0
    metered: int = 0
    prompt: int = 0
    output: int = 0
    first_tokens: dict[int, int] = field(default_factory=dict)


def with_requests(load: Mapping[str, Load], measured: Mapping[str, Measured]) -> dict[str, Load]:
    """Add to a region's load, by cluster, what requests are like."""
    return {name: _with_requests(one, measured[name]) if name in measured else one for name, one in load.items()}


def _with_requests(load: Load, measured: Measured) -> Load:
    served = max(0.0, load.request_rate - load.error_rate)
    prompt, output = measured.prompt_tokens, measured.output_tokens
    return replace(
        load,
        prompt_tokens=None if prompt is None else prompt * served,
        output_tokens=None if output is None else output * served,
        ttft_p95=measured.ttft_p95,
    )


class RecentRequests:
    """Of one cluster, from one region."""

    __slots__ = ("_slots",)

    def __init__(self) -> None:
        self._slots: deque[_Slot] = deque(maxlen=_SLOTS)

    def answered(self, now: float, prompt_tokens: int, output_tokens: int, *, metered: bool) -> None:
        """Count a request that was answered well; an unmetered one has no tokens that anybody knows."""
        slot = self._slot(now)
        slot.good += 1
        if metered:
            slot.metered += 1
            slot.prompt += prompt_tokens
            slot.output += output_tokens

    def first_token(self, now: float, seconds: float) -> None:
        """Count a first token."""
        counts = self._slot(now).first_tokens
        bucket = _bucket(seconds)
        counts[bucket] = counts.get(bucket, 0) + 1

    def measured(self, now: float) -> Measured:
        """What the last minute tells."""
        slots = [slot for slot in self._slots if now - SLOT * _SLOTS < slot.at <= now + SLOT]
        good, metered = sum(slot.good for slot in slots), sum(slot.metered for slot in slots)
        known = metered >= _LEAST_REQUESTS and metered >= _LEAST_SHARE * good
        return Measured(
            prompt_tokens=sum(slot.prompt for slot in slots) / metered if known else None,
            output_tokens=sum(slot.output for slot in slots) / metered if known else None,
            ttft_p95=_p95(slots),
        )

    def _slot(self, now: float) -> _Slot:
        if not self._slots or not 0 <= now - self._slots[-1].at < SLOT:
            self._slots.append(_Slot(now))
        return self._slots[-1]


def _bucket(seconds: float) -> int:
    return min(_MOST_BUCKETS, int(math.log(seconds / _SHORTEST) / _STEP)) if seconds > _SHORTEST else 0


def _p95(slots: list[_Slot]) -> float | None:
    counts: dict[int, int] = {}
    for slot in slots:
        for bucket, count in slot.first_tokens.items():
            counts[bucket] = counts.get(bucket, 0) + count
    total = sum(counts.values())
    if total < _LEAST_FIRST_TOKENS:
        return None
    buckets = sorted(counts)
    passed = accumulate(counts[bucket] for bucket in buckets)
    reached = next(bucket for bucket, count in zip(buckets, passed, strict=True) if count >= 0.95 * total)
    # The middle of the bucket, by its logarithm.
    return _SHORTEST * math.exp(_STEP * (reached + 0.5))
