"""Time that passes only when a test says so, for sources that sleep: nothing waits, and everything comes in order."""

import asyncio
import heapq
import itertools

_TURNS = 12
"""Of the event loop, in which what a sleeper does on waking has been done."""


class VirtualTime:
    """A clock, and a sleep that goes by it. What is due within ``grain`` seconds is woken together."""

    def __init__(self, now: float = 1000.0, grain: float = 0.0) -> None:
        self.now = now
        self._grain = grain
        self.slept: list[float] = []
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        waking: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + max(0.0, seconds), next(self._order), waking))
        await waking

    async def run(self, seconds: float) -> None:
        """Let this much time pass."""
        await self._settle()
        until = self.now + seconds
        while self._sleepers and self._sleepers[0][0] <= until:
            self.now = min(until, max(self.now, self._sleepers[0][0] + self._grain))
            while self._sleepers and self._sleepers[0][0] <= self.now:
                waking = heapq.heappop(self._sleepers)[2]
                if not waking.done():
                    waking.set_result(None)
            await self._settle()
        self.now = until

    async def _settle(self) -> None:
        for _ in range(_TURNS):
            await asyncio.sleep(0)
