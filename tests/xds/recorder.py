"""A server listener that writes down what happens, for tests to wait on and to read."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from penstock_xds import StreamView


@dataclass(frozen=True)
class Refusal:
    node_id: str
    type_url: str
    names: tuple[str, ...]
    version: str
    message: str


@dataclass
class Recorder:
    connected: list[StreamView] = field(default_factory=list)
    disconnected: list[tuple[StreamView, str]] = field(default_factory=list)
    pushes: list[str] = field(default_factory=list)
    """Type URLs, in the order of sending."""
    acks: list[str] = field(default_factory=list)
    ack_seconds: list[float] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def on_connect(self, view: StreamView) -> None:
        self.connected.append(view)
        self._changed.set()

    def on_disconnect(self, view: StreamView, reason: str) -> None:
        self.disconnected.append((view, reason))
        self._changed.set()

    def on_push(self, view: StreamView, type_url: str, bytes_count: int) -> None:
        assert bytes_count > 0
        self.pushes.append(type_url)
        self._changed.set()

    def on_ack(self, view: StreamView, type_url: str, version: str, seconds: float) -> None:
        self.acks.append(type_url)
        self.ack_seconds.append(seconds)
        self._changed.set()

    def on_nack(self, view: StreamView, type_url: str, names: tuple[str, ...], version: str, message: str) -> None:
        self.refusals.append(Refusal(view.node_id, type_url, names, version, message))
        self._changed.set()

    async def until(self, condition: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait until something that happens makes the condition true."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._changed.clear()
                await self._changed.wait()
