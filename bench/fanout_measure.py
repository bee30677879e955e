"""Measuring fan-outs: one server with its clients, and what one push costs."""

import base64
import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.fanout_file import Served
from bench.fanout_processes import (
    Child,
    Message,
    allow_many_files,
    build_all,
    go_control_plane,
    grpc_floor,
    load,
    penstock,
)
from penstock_xds import types

SETTLE_SECONDS: Final = 0.05
"""After a push, for what a server does behind its last acknowledgement."""

CONNECTING_AT_ONCE: Final = 64

AS_ENVOY: Final = (types.CLUSTER, types.ENDPOINT, types.LISTENER, types.ROUTE)
"""The order in which Envoy asks for its types."""

WILDCARDS: Final = frozenset({types.CLUSTER, types.LISTENER})


@dataclass(frozen=True, slots=True)
class Push:
    """One change, from its commit until the last client had acknowledged it."""

    ms: float
    """From commit to the last acknowledgement, as the server received it."""
    acks_ms: tuple[float, ...]
    """Of each stream, ascending."""
    client_ms: float
    """From commit until the last acknowledgement was handed to the kernel by a client."""
    cpu_us: float
    """Server CPU for each stream."""
    client_cpu_us: float
    bytes: int
    """What the clients were sent."""


class Contender:
    """A server and its clients."""

    def __init__(
        self, name: str, server: Child, client: Child, served: Served, *, order: Sequence[str], sotw: bool = False
    ) -> None:
        """``order`` are the types the clients ask for, in turn; acknowledgements of the last are counted."""
        self.name = name
        self.server = server
        self.client = client
        self.streams = 0
        self.kb_per_stream = 0.0
        self._served = served
        self._sotw = sotw
        self._steps = [
            {"type_url": type_url, "names": [] if type_url in WILDCARDS else served.names(type_url)}
            for type_url in order
        ]
        self._address = f"127.0.0.1:{server.hear()['port']}"
        self._weight = 0
        self._version = ""

    def connect(self, streams: int, *, stalled: bool = False, at_once: int = CONNECTING_AT_ONCE) -> Message:
        """Open streams and have all served, up to the last acknowledgement."""
        answer = self.client.ask(
            "connect",
            address=self._address,
            node_cluster=self._served.group,
            steps=self._steps,
            sotw=self._sotw,
            streams=streams,
            at_once=at_once,
            stalled=stalled,
        )
        if not stalled:
            self.streams += streams
        return answer

    def break_connections(self) -> None:
        """Cut the streams; those connected next hold what these did."""
        self.client.ask("break")
        self.streams = 0

    def connect_and_weigh(self, streams: int) -> None:
        """The same, and note what a stream costs in memory, after a push and with garbage collected."""
        before = self.memory_kb()
        self.connect(streams)
        self.push()
        self.kb_per_stream = (self.memory_kb() - before) / streams

    def memory_kb(self) -> int:
        """Memory of the server, garbage collected."""
        self.server.ask("collect")
        return self.server.resident_kb()

    def push(self) -> Push:
        """Change a weight and have every stream acknowledge it."""
        self._weight = self._weight % 9999 + 1
        return self._have_acknowledged("push", weight=self._weight)

    def replace(self, type_url: str, name: str, body: bytes) -> Push:
        """Replace a resource of the type last asked for, and have every stream acknowledge it."""
        encoded = base64.b64encode(body).decode()
        return self._have_acknowledged("replace", type_url=type_url, name=name, body=encoded)

    def change_unseen(self) -> None:
        """Change a weight while nobody is connected."""
        self._weight = self._weight % 9999 + 1
        self.server.ask("push", weight=self._weight, acks=0)

    def body(self, type_url: str, name: str) -> bytes:
        """A resource as it was to begin with."""
        return next(r.body for r in self._served.resources if (r.type_url, r.name) == (type_url, name))

    def _have_acknowledged(self, do: str, **what: object) -> Push:
        client_before = self.client.ask("arm")["cpu_us"]
        before = self.server.ask("usage")["cpu_us"]
        pushed = self.server.ask(do, acks=self.streams, **what)
        collected = self.client.ask("collect", acks=self.streams)
        time.sleep(SETTLE_SECONDS)
        used = self.server.ask("usage")["cpu_us"] - before
        self._check(collected)
        committed = pushed["committed_ns"]
        return Push(
            ms=(pushed["acks_ns"][-1] - committed) / 1e6,
            acks_ms=tuple((at - committed) / 1e6 for at in pushed["acks_ns"]),
            client_ms=(collected["last_ack_ns"] - committed) / 1e6,
            cpu_us=used / self.streams,
            client_cpu_us=(collected["cpu_us"] - client_before) / self.streams,
            bytes=collected["bytes"],
        )

    def _check(self, collected: dict[str, object]) -> None:
        """Every client got exactly one response, and all the same new version."""
        versions = collected["versions"]
        if collected["acks"] != self.streams or not isinstance(versions, dict) or len(versions) != 1:
            raise RuntimeError(f"{self.name}: expected one new version at {self.streams} clients, got {collected}")
        (version,) = versions
        if version == self._version:
            raise RuntimeError(f"{self.name}: the version did not change")
        self._version = version


SERVERS: Final = {"penstock": penstock, "go-control-plane": go_control_plane, "grpc.aio floor": grpc_floor}


@contextlib.contextmanager
def contenders(
    served: Served,
    *,
    order: Sequence[str] = AS_ENVOY,
    sotw: bool = False,
    names: Sequence[str] = ("penstock", "go-control-plane"),
) -> Iterator[list[Contender]]:
    """Servers, each with a load client; ended afterwards."""
    allow_many_files()
    build_all()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        path = Path(folder) / "resources.json"
        served.write(path)
        yield [
            Contender(
                name,
                running.enter_context(SERVERS[name](path)),
                running.enter_context(load()),
                served,
                order=order,
                sotw=sotw,
            )
            for name in names
        ]
