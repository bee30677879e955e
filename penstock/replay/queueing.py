"""A cluster as a queue: slots, service times by tokens and load, a waiting room, outages.

A request holds a slot for ``concurrency * (output / tokensPerSecond + prompt / promptTokensPerSecond)`` seconds when
the cluster is full, as its declared capacity says, and for less when it is not: batches that are smaller step faster.
The prompt is read at the speed of one endpoint. Engines that are one's own queue what they cannot take at once; an API
with a quota answers 429.
"""

import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from penstock.replay.faults import Outage
from penstock_policies.schema import Cluster
from penstock_policies.words import Engine

IDLE_SPEED: Final = 0.6
"""Time a token takes in an idle engine, as a part of what it takes in a full one. Decoding is bound by memory, so that
a batch ten times as large takes less than twice as long a step; published curves of 70B models lie about here."""
_FIRST_STEP: Final = 0.03
"""Seconds from a prompt read to its first token on the wire."""
_SLOT_SPEED: Final = 30.0
"""Tokens a second and slot where no throughput is declared."""
_PROMPT_SPEED: Final = 12.0
"""Prompt tokens are read so many times as fast as tokens are generated, where that is not declared."""
_WAITING_ROOM: Final = 2.0
"""Requests that may wait at one's own engines, as a part of their concurrency, before they answer 429."""


def slot_seconds(cluster: Cluster) -> tuple[float, float]:
    """Give the seconds that a generated and a prompt token hold a slot when the cluster is full."""
    capacity = cluster.spec.capacity
    speed = capacity.tokens_per_second or _SLOT_SPEED * capacity.concurrency
    reading = capacity.prompt_tokens_per_second or _PROMPT_SPEED * speed
    return capacity.concurrency / speed, capacity.concurrency / reading


def speed(utilisation: float) -> float:
    """Give the time work takes at a utilisation (0 to 1), as a part of what it takes when the cluster is full."""
    return IDLE_SPEED + (1 - IDLE_SPEED) * utilisation


@dataclass(slots=True)
class Counts:
    """What happened at a cluster since the last report."""

    issued: dict[str, int] = field(default_factory=dict)
    """Edge region to attempts."""
    failed: dict[str, int] = field(default_factory=dict)
    refused: int = 0
    prompt: int = 0
    output: int = 0


class Queue:
    """A cluster in the simulation. Its fields are the inner loop's, which is why there are no accessors."""

    __slots__ = (
        "base",
        "busy_until",
        "connect_timeout",
        "consecutive",
        "counts",
        "egress",
        "eject_after",
        "eject_for",
        "ejected_until",
        "ejections",
        "gone_from",
        "gone_until",
        "hangs",
        "name",
        "outages",
        "per_output",
        "per_prompt",
        "prefill",
        "price",
        "prompt_ratio",
        "recent",
        "slots",
        "slowness",
        "starts",
        "waiting_room",
        "whole_slots",
    )

    def __init__(self, cluster: Cluster, outages: list[Outage]) -> None:
        spec = cluster.spec
        self.name = cluster.name
        self.whole_slots = self.slots = spec.capacity.concurrency
        self.per_output, self.per_prompt = slot_seconds(cluster)
        self.prefill = len(spec.endpoints) * self.per_prompt / self.slots
        self.base = _FIRST_STEP
        own = spec.engine is not Engine.OPENAI
        self.waiting_room = int(self.slots * _WAITING_ROOM) if own else 0
        self.prompt_ratio = spec.cost.prompt_price_ratio
        self.egress = spec.cost.egress_usd_per_million_tokens
        self.price = 0.0
        self.connect_timeout = spec.connect_timeout
        self.eject_after = spec.outlier_detection.consecutive5xx
        self.eject_for = spec.outlier_detection.base_ejection_time
        self.ejected_until = float("-inf")
        self.ejections = 0
        self.consecutive = 0
        self.slowness = 1.0
        self.busy_until: list[float] = []
        self.starts: deque[float] = deque()
        self.recent: deque[tuple[float, float]] = deque()
        self.counts = Counts()
        self.outages = list(outages)
        self.gone_from = self.gone_until = float("inf")
        self.hangs = False
        self._next_outage()

    def _next_outage(self) -> None:
        if self.outages:
            outage = self.outages.pop(0)
            self.gone_from, self.gone_until, self.hangs = outage.start, outage.end, outage.hang
        else:
            self.gone_from = self.gone_until = float("inf")

    def come_back(self) -> None:
        """Restart after an outage, with nothing in flight."""
        self.busy_until.clear()
        self.starts.clear()
        self._next_outage()

    def admit(self, now: float) -> tuple[float, int] | None:
        """Take a slot: when it is free, and how many others are taken then. None: full, and no room to wait."""
        busy = self.busy_until
        while busy and busy[0] <= now:
            heapq.heappop(busy)
        running = len(busy)
        if running < self.slots:
            return now, running
        starts = self.starts
        while starts and starts[0] <= now:
            starts.popleft()
        if len(starts) >= self.waiting_room:
            return None
        while len(busy) > self.slots:
            heapq.heappop(busy)
        start = heapq.heappop(busy)
        starts.append(start)
        return start, self.slots

    def in_flight(self, now: float) -> tuple[int, int]:
        """Count what runs and what waits."""
        if now >= self.gone_from:
            return 0, 0
        while self.starts and self.starts[0] <= now:
            self.starts.popleft()
        running = sum(1 for end in self.busy_until if end > now)
        return min(running, self.slots), len(self.starts)
