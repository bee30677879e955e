"""How the cache waits: the running event loop's timers, or those of a test."""

import asyncio
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A call to come."""

    def cancel(self) -> None:
        """Have it not come."""


CallLater = Callable[[float, Callable[[], None]], Timer]
"""Have a function called after so many seconds, on the cache's thread."""


def on_running_loop(seconds: float, callback: Callable[[], None]) -> Timer:
    """Wait on the running event loop."""
    return asyncio.get_running_loop().call_later(seconds, callback)
