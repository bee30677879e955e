"""Cost feeds whose pauses end when the test says so."""

import asyncio
from pathlib import Path

from penstock.signals.board import ObservationBoard
from penstock.signals.credentials import Keyring
from penstock.signals.feeds import CostFeeds
from penstock_policies.observations import Price
from penstock_policies.policyset import PolicySet


class Feeds:
    """Feeds whose pauses end when the test says so."""

    def __init__(self, keys: Path | None = None) -> None:
        """``keys`` is the directory of credentials."""
        self.now = 1000.0
        self.notified = 0
        self.board = ObservationBoard()
        self.slept: list[float] = []
        self._asleep = asyncio.Event()
        self._wake: list[asyncio.Future[None]] = []
        self.failed: list[str] = []
        self.paused: list[float] = []
        self.feeds = CostFeeds(
            self.board,
            lambda: self.now,
            self._count,
            keyring=Keyring(keys),
            failed=self.failed.append,
            sleep=self._sleep,
            pause=self._pause,
        )

    def _count(self) -> None:
        self.notified += 1

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        wake = asyncio.get_running_loop().create_future()
        self._wake.append(wake)
        self._asleep.set()
        await wake

    async def _pause(self, seconds: float) -> None:
        """For a busy server: told, and not waited for."""
        self.paused.append(seconds)

    async def apply(self, policy: PolicySet, base: Path) -> None:
        self._asleep.clear()
        self.board.apply(policy)
        await self.feeds.apply(policy, base)
        await self.feeds.first_read()
        await self._read()

    async def refresh(self) -> None:
        self._asleep.clear()
        wake, self._wake = self._wake, []
        for one in wake:
            if not one.done():
                one.set_result(None)
        await self._read()

    async def _read(self) -> None:
        async with asyncio.timeout(20):
            await self._asleep.wait()

    def prices(self) -> dict[str, Price]:
        return dict(self.board.snapshot(self.now).prices.get("prices", {}))
