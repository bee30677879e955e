"""One task per thing that must be looked at again and again, following a changing list of such things.

Used by the probes and the cost feeds. A worker whose key and specification stay the same across a change of policy is
not touched. A worker is meant to run until it is cancelled and to deal with every failure it can foresee; one that
fails all the same is logged with its traceback and started again, so that no surprise silences a source for good.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Generic, TypeVar

logger = logging.getLogger(__name__)

K = TypeVar("K")
S = TypeVar("S")

RESTART_DELAY: Final = 1.0
"""Seconds before a failed worker is started again: long enough that a failure at every start is no busy loop."""


class Workers(Generic[K, S]):
    """Tasks by key. ``work(key, specification)`` is what each runs. All methods belong to the event loop's thread."""

    def __init__(self, name: str, work: Callable[[K, S], Awaitable[None]]) -> None:
        self._name = name
        self._work = work
        self._running: dict[K, tuple[S, asyncio.Task[None]]] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def apply(self, wanted: Mapping[K, S]) -> None:
        """Have exactly one worker for each entry of ``wanted``, restarting those whose specification changed."""
        for key, (specification, task) in list(self._running.items()):
            if key not in wanted or wanted[key] != specification:
                del self._running[key]
                self._end(task)
        for key, specification in wanted.items():
            if key not in self._running:
                task = asyncio.get_running_loop().create_task(
                    self._keep_working(key, specification), name=f"{self._name} {key}"
                )
                self._running[key] = (specification, task)

    async def settled(self) -> None:
        """Wait until the workers that were told to end are gone."""
        await asyncio.gather(*self._ending, return_exceptions=True)

    async def stop(self) -> None:
        """End every worker and wait until they are gone."""
        self.apply({})
        await self.settled()

    def _end(self, task: asyncio.Task[None]) -> None:
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        task.cancel()

    async def _keep_working(self, key: K, specification: S) -> None:
        while True:
            try:
                await self._work(key, specification)
            except Exception:
                logger.exception("worker failed", extra={"worker": self._name, "key": str(key)})
            await asyncio.sleep(RESTART_DELAY)
