"""One Envoy under load, fed by a server of ours: what the end-to-end tests of the matrix share.

An `Edge` publishes worlds, sends requests through the Envoy all the while when asked to, counts what fails, and can
stop its server or put another in its place.
"""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp

from penstock_xds import Resource, Snapshot, SnapshotCache, XdsServer
from penstock_xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from tests.xds.envoy_world import (
    Dialect,
    Envoy,
    assignment,
    backend,
    eds_cluster,
    eventually,
    http_listener,
    running_envoy,
    weighted_route,
)
from tests.xds.recorder import Recorder
from tests.xds.xds_replica import task_for, types_in_step

TYPES: Final = {CLUSTER, ENDPOINT, LISTENER, ROUTE}

# Enough that no moment goes unprobed; more would only take the CPU from Envoy and server, which share it.
_LOADERS = 3


@dataclass
class Tally:
    """What came of the requests."""

    answers: Counter[str] = field(default_factory=Counter)
    """By the name of the backend that answered."""
    failures: list[str] = field(default_factory=list)
    """What Envoy or the connection said instead, and what was being published then."""
    last: str = ""
    doing: str = ""
    """Said of failures from here on."""

    @property
    def total(self) -> int:
        return self.answers.total() + len(self.failures)

    def summary(self) -> str:
        kinds = Counter(self.failures).most_common(8)
        return f"{len(self.failures)} of {self.total} requests failed: {kinds}"


class Edge:
    """An Envoy that serves listener `l` by route `r`."""

    def __init__(self, dialect: Dialect, ports: Mapping[str, int]) -> None:
        self.dialect = dialect
        self.ports = ports
        self.cache = SnapshotCache()
        self.recorder = Recorder()
        self.server = self._new_server()
        self.xds_port = 0
        self.envoy: Envoy
        self.listener_port = 0

    def _new_server(self) -> XdsServer:
        return XdsServer(self.cache, group_of=lambda node: node.cluster, identifier="test", listener=self.recorder)

    # The server's side

    def publish(self, *resources: Resource) -> None:
        self.cache.publish("edge", Snapshot.of(resources))

    def world(self, weights: Mapping[str, int], **backends: str) -> tuple[Resource, ...]:
        """Clusters by weight. The backend of each is the one told, or the one of its first letter."""
        return (
            *(eds_cluster(name, dialect=self.dialect) for name in weights),
            *(assignment(name, self.ports[backends.get(name, name[0])]) for name in weights),
            http_listener("l", "r", dialect=self.dialect),
            weighted_route("r", dict(weights)),
        )

    async def start_anew(self, *resources: Resource) -> None:
        """Start a server that knows nothing of the one before it, on the same port."""
        self.cache, self.recorder = SnapshotCache(), Recorder()
        self.publish(*resources)
        self.server = self._new_server()
        assert await self.server.start(f"127.0.0.1:{self.xds_port}") == self.xds_port

    @asynccontextmanager
    async def replica(self, resources: Iterable[Resource]) -> AsyncIterator["Replica"]:
        """Run a server in another process on the same port, and kill it in the end."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.xds.xds_replica"),
            cwd=Path(__file__).parents[2],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            replica = Replica(process)
            assert await replica.ask(task_for(self.xds_port, resources)) == b"listening\n"
            yield replica
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    def is_in_step_on(self, types: set[str]) -> bool:
        """Whether clients ask for all these types and have what they should."""
        return types_in_step(self.server) == types

    # The client's side

    @asynccontextmanager
    async def load(self, tally: Tally) -> AsyncIterator[None]:
        """Send requests through the Envoy for as long as this lasts."""
        stop = asyncio.Event()

        async def send() -> None:
            while not stop.is_set():
                try:
                    answer, failure = await self._get()
                except aiohttp.ClientError as error:
                    answer, failure = "", repr(error)
                if failure:
                    tally.failures.append(f"{failure} [{tally.doing}]")
                else:
                    tally.answers[answer] += 1
                    tally.last = answer

        loaders = [asyncio.create_task(send()) for _ in range(_LOADERS)]
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(*loaders)

    async def _get(self) -> tuple[str, str]:
        async with self.envoy.http.get(f"http://127.0.0.1:{self.listener_port}/") as response:
            text = await response.text()
            return (text, "") if response.status == 200 else ("", f"{response.status} {text}")

    async def has_only_clusters(self, *names: str) -> bool:
        return await self.envoy.clusters() == {"xds", *names}

    async def answers_come_from(self, tally: Tally, *names: str, in_a_row: int = 6) -> None:
        """Wait until that many requests in a row were answered by these backends, each of them among those."""
        wanted = set(names)
        async with asyncio.timeout(20):
            recent: list[str] = []
            seen = tally.total
            while len(recent) < in_a_row or set(recent) != wanted:
                await asyncio.sleep(0.001)
                if tally.total > seen:
                    seen = tally.total
                    recent = [*recent, tally.last][-max(in_a_row, 1) :]

    async def requests(self, tally: Tally, count: int) -> None:
        """Wait for that many more requests of the load."""
        wanted = tally.total + count
        await eventually(lambda: tally.total >= wanted)

    async def updates(self) -> dict[str, int]:
        """How often Envoy took over or refused a configuration, by counter."""
        return await self.envoy.stats(
            r"^(cluster_manager\.cds|listener_manager\.lds|.*\.rds\.r|cluster\.[ab])"
            r"\.(update_success|update_rejected|config_reload)$"
        )

    @staticmethod
    def updates_of(counter: str) -> str:
        """Which type such a counter counts."""
        prefixes = {"cluster_manager.": CLUSTER, "listener_manager.": LISTENER, "cluster.": ENDPOINT}
        return next((t for prefix, t in prefixes.items() if counter.startswith(prefix)), ROUTE)

    async def settled(self, *clusters: str) -> bool:
        """Whether Envoy has these clusters and no others, and is in step with the server on all there is."""
        return await self.has_only_clusters(*clusters) and self.is_in_step_on(TYPES)


class Replica:
    """A server in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pushes: list[str] = []
        """Types it pushed, as of the last question."""

    async def ask(self, line: str) -> bytes:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line.encode() + b"\n")
        async with asyncio.timeout(20):
            return await self._process.stdout.readline()

    async def is_in_step_on(self, types: set[str]) -> bool:
        """Whether clients ask it for all these types and have what they should."""
        state = json.loads(await self.ask("state"))
        self.pushes = state["pushes"]
        return set(state["in_step"]) == types


@asynccontextmanager
async def running_edge(dialect: Dialect, directory: Path) -> AsyncIterator[Edge]:
    """Start backends `a` and `b`, a server and an Envoy that serves all from `a`."""
    async with AsyncExitStack() as stack:
        ports = {name: await stack.enter_async_context(backend(name)) for name in ("a", "b")}
        edge = Edge(dialect, ports)
        edge.xds_port = await edge.server.start("127.0.0.1:0")
        try:
            edge.publish(*edge.world({"a": 100, "b": 0}))
            edge.envoy = await stack.enter_async_context(running_envoy(directory, dialect, edge.xds_port))
            edge.listener_port = await edge.envoy.listening_port("l")
            yield edge
        finally:
            await edge.server.stop(2)
