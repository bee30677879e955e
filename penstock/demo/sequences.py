"""How a box of accelerators serves sequences: continuous batching, as arithmetic. No I/O, no clock: time comes in.

Up to ``slots`` sequences run side by side and share the box's decode throughput evenly, each up to a maximum of its
own; the rest wait in line, first come first served. This is processor sharing, so one number describes all progress:
*work*, the tokens a sequence has been able to produce since the box started. A sequence that starts at work W has its
k-th token out at work ``W + prefill + k``, whoever else comes and goes; only the speed of work changes with company.

Owned by one caller (:class:`~penstock.demo.endpoint_clock.SequenceClock`); nothing here is concurrent.
"""

from collections import deque
from dataclasses import dataclass

PREFILL_SPEEDUP = 20.0
"""Prompt tokens processed in the time of one output token: prefill is compute-bound and batched, decode is not."""

RETRY_AFTER_SECONDS = 1
"""What a full box tells its clients to wait: about two requests' time at the speeds the demo uses."""


class QueueFullError(Exception):
    """The line of waiting sequences is as long as it may be: the request gets 429."""

    def __init__(self, waiting: int) -> None:
        super().__init__(f"{waiting} sequences are waiting already")
        self.waiting = waiting


@dataclass(eq=False, slots=True)
class Sequence:
    """One request's life in the box."""

    submitted_at: float
    prompt_tokens: int
    output_tokens: int
    started_at: float | None = None
    """When it left the line; None while it waits."""
    start_work: float = 0.0

    def token_at(self, count: int) -> float:
        """The work at which ``count`` tokens are out (``1`` is the first token)."""
        return self.start_work + self.prompt_tokens / PREFILL_SPEEDUP + count

    @property
    def finish_work(self) -> float:
        """The work at which the last token is out."""
        return self.token_at(self.output_tokens)

    def produced(self, work: float) -> int:
        """Tokens out at this work, from 0 to ``output_tokens``."""
        if self.started_at is None:
            return 0
        # A whisker more than exact, so that the token one was woken for is counted in spite of float rounding.
        done = work + 1e-6 - self.start_work - self.prompt_tokens / PREFILL_SPEEDUP
        return max(0, min(self.output_tokens, int(done)))


class ContinuousBatch:
    """The box: a batch of running sequences and a line of waiting ones."""

    def __init__(
        self, *, slots: int, tokens_per_second: float, sequence_tokens_per_second: float, queue_limit: int, now: float
    ) -> None:
        if slots < 1 or tokens_per_second <= 0 or sequence_tokens_per_second <= 0 or queue_limit < 0:
            raise ValueError("slots, token rates and the queue limit must be positive")
        self._slots = slots
        self._tokens_per_second = tokens_per_second
        self._sequence_tokens_per_second = sequence_tokens_per_second
        self._queue_limit = queue_limit
        self._slowdown = 1.0
        self._now = now
        self._work = 0.0
        self._running: list[Sequence] = []
        self._waiting: deque[Sequence] = deque()

    @property
    def work(self) -> float:
        """Tokens each running sequence could have produced so far, as of the last :meth:`advance`."""
        return self._work

    @property
    def running(self) -> int:
        """Sequences in the batch."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Sequences in line."""
        return len(self._waiting)

    @property
    def speed(self) -> float:
        """Tokens per second each running sequence gets now."""
        share = self._tokens_per_second / max(1, len(self._running))
        return min(self._sequence_tokens_per_second, share) / self._slowdown

    def tokens_held(self) -> int:
        """Tokens whose keys and values are in the cache: prompts and what was produced so far."""
        return sum(s.prompt_tokens + s.produced(self._work) for s in self._running)

    def submit(self, now: float, prompt_tokens: int, output_tokens: int) -> Sequence:
        """Add a sequence, into the batch when there is room, else into the line.

        Raises:
            QueueFullError: the line is full.
        """
        self.advance(now)
        if len(self._running) >= self._slots and len(self._waiting) >= self._queue_limit:
            raise QueueFullError(len(self._waiting))
        sequence = Sequence(now, prompt_tokens, max(1, output_tokens))
        self._waiting.append(sequence)
        self._admit()
        return sequence

    def cancel(self, now: float, sequence: Sequence) -> None:
        """Forget a sequence whose client is gone; one that has finished is no longer known, which is fine."""
        self.advance(now)
        if sequence in self._running:
            self._running.remove(sequence)
            self._admit()
        elif sequence in self._waiting:
            self._waiting.remove(sequence)

    def slow_down(self, now: float, factor: float) -> None:
        """Make all work take ``factor`` times as long from now on (1: full speed)."""
        self.advance(now)
        self._slowdown = factor

    def advance(self, now: float) -> None:
        """Let time pass up to ``now``, one departure after another: each changes everybody's speed."""
        while self._running:
            first = min(self._running, key=lambda s: s.finish_work)
            finish = self._now + max(0.0, first.finish_work - self._work) / self.speed
            if finish > now:
                break
            self._work = max(self._work, first.finish_work)
            self._now = finish
            self._running.remove(first)
            self._admit()
        if now > self._now:
            self._work += (now - self._now) * self.speed if self._running else 0.0
            self._now = now

    def time_of(self, work: float) -> float:
        """When this work will be reached if nobody comes or goes."""
        return self._now + max(0.0, work - self._work) / self.speed

    def next_departure(self) -> float | None:
        """When the next running sequence finishes; None when nothing runs."""
        if not self._running:
            return None
        return self.time_of(min(s.finish_work for s in self._running))

    def _admit(self) -> None:
        while self._waiting and len(self._running) < self._slots:
            sequence = self._waiting.popleft()
            sequence.started_at = self._now
            sequence.start_work = self._work
            self._running.append(sequence)
