"""The continuous batch on an event loop: request handlers wait here for their tokens.

One timer for the whole box, moved whenever somebody comes or goes; handlers wait on futures. Everything runs on the
event loop's thread.
"""

import asyncio
import heapq
import itertools

from penstock.demo.sequences import ContinuousBatch, Sequence

TICK_SECONDS = 0.004
"""Wake-ups are gathered into ticks: finer than a token's time at the demo's speeds, coarse enough to cost no CPU."""


class SequenceClock:
    """Wakes whoever waits for a sequence to start or for a token to be out."""

    def __init__(self, batch: ContinuousBatch) -> None:
        self.batch = batch
        self._loop = asyncio.get_running_loop()
        self._due: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._in_line: dict[Sequence, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def submit(self, prompt_tokens: int, output_tokens: int) -> Sequence:
        """Add a sequence; raises QueueFullError as the batch does."""
        sequence = self.batch.submit(self._loop.time(), prompt_tokens, output_tokens)
        self._plan()
        return sequence

    def cancel(self, sequence: Sequence) -> None:
        """Take a sequence out, finished or not."""
        self._in_line.pop(sequence, None)
        self.batch.cancel(self._loop.time(), sequence)
        self._wake()

    def slow_down(self, factor: float) -> None:
        """Change the speed of the box."""
        self.batch.slow_down(self._loop.time(), factor)
        self._wake()

    async def started(self, sequence: Sequence) -> float:
        """Wait until the sequence has left the line; returns when it did (event loop time)."""
        while sequence.started_at is None:
            waiter = self._loop.create_future()
            self._in_line[sequence] = waiter
            await waiter
        return sequence.started_at

    async def produced(self, sequence: Sequence, count: int) -> int:
        """Wait until at least ``count`` tokens of a started sequence are out; returns how many are."""
        while sequence.produced(self.batch.work) < count:
            waiter = self._loop.create_future()
            heapq.heappush(self._due, (sequence.token_at(count), next(self._order), waiter))
            self._plan()
            await waiter
        return sequence.produced(self.batch.work)

    def refresh(self) -> None:
        """Bring the batch up to now, for whoever reads its gauges."""
        self._wake()

    def close(self) -> None:
        """Stop the timer. Waiters are the caller's to cancel."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self) -> None:
        self.batch.advance(self._loop.time())
        for sequence in [s for s in self._in_line if s.started_at is not None]:
            waiter = self._in_line.pop(sequence)
            if not waiter.done():
                waiter.set_result(None)
        # The same whisker as Sequence.produced: whoever is woken finds the token counted.
        while self._due and self._due[0][0] <= self.batch.work + 1e-6:
            _, _, waiter = heapq.heappop(self._due)
            if not waiter.done():
                waiter.set_result(None)
        self._plan()

    def _plan(self) -> None:
        self.close()
        times = [self.batch.next_departure()]
        if self._due:
            times.append(self.batch.time_of(self._due[0][0]))
        upcoming = [time for time in times if time is not None]
        if upcoming:
            self._timer = self._loop.call_at(max(min(upcoming), self._loop.time() + TICK_SECONDS), self._wake)
