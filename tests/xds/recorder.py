"""A server listener that writes down what happens, for tests to wait on and to read."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from penstock_xds import Acked, Client, Nacked, Pushed


@dataclass(frozen=True)
class Refusal:
    node_id: str
    type_url: str
    names: tuple[str, ...]
    version: str
    message: str


@dataclass
class Recorder:
    connected: list[Client] = field(default_factory=list)
    disconnected: list[tuple[Client, str]] = field(default_factory=list)
    pushes: list[str] = field(default_factory=list)
    """Type URLs, in the order of sending."""
    pushed: list[Pushed] = field(default_factory=list)
    pushed_to: list[tuple[str, Pushed]] = field(default_factory=list)
    """With the id of the node."""
    suppressed: list[tuple[str, int]] = field(default_factory=list)
    acks: list[str] = field(default_factory=list)
    ack_seconds: list[float] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def on_connect(self, client: Client) -> None:
        self.connected.append(client)
        self._changed.set()

    def on_disconnect(self, client: Client, reason: str) -> None:
        self.disconnected.append((client, reason))
        self._changed.set()

    def on_push(self, client: Client, pushed: Pushed) -> None:
        assert pushed.bytes > 0
        self.pushes.append(pushed.type_url)
        self.pushed.append(pushed)
        self.pushed_to.append((client.node.id, pushed))
        self._changed.set()

    def on_ack(self, client: Client, acked: Acked) -> None:
        self.acks.append(acked.type_url)
        self.ack_seconds.append(acked.seconds)
        self._changed.set()

    def on_nack(self, client: Client, nacked: Nacked) -> None:
        self.refusals.append(Refusal(client.node.id, nacked.type_url, nacked.names, nacked.version, nacked.message))
        self._changed.set()

    def on_suppressed(self, client: Client, type_url: str, count: int) -> None:
        self.suppressed.append((type_url, count))
        self._changed.set()

    async def until(self, condition: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait until something that happens makes the condition true."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._changed.clear()
                await self._changed.wait()
