"""The Penstock server of the fan-out benchmarks: ``penstock_xds`` in a process of its own, nothing of the policies.

``python bench/fanout_server.py FILE`` serves what the file holds. It is told what to do by lines of JSON on standard
input and answers each with one on standard output, as the peer in ``bench/peers/go-control-plane`` is and does:

    push     change one weight to "weight", publish, wait for "acks" acknowledgements
    replace  replace the resource "type_url", "name" by "body", publish, wait for "acks" acknowledgements
    usage    CPU time used so far
    collect  the same, with garbage collected and free memory given back to the system

Commit is taken before a changed message is serialised: what it takes to make and version the snapshot counts. An
acknowledgement is taken when the server reports it. Both on CLOCK_MONOTONIC.

It ends with an error if anything so much as imports betterproto2: see `bench.untouched`.
"""

import asyncio
import base64
import ctypes
import gc
import json
import os
import resource as process
import sys
import time
from pathlib import Path
from typing import Any, Final

from envoy.config.route.v3.route_pb2 import RouteConfiguration

from bench.fanout_file import Served, read
from bench.untouched import forbid_import
from penstock.control.garbage import collect_less_often
from penstock_xds import Acked, Client, Nacked, Pushed, Resource, Snapshot, SnapshotCache, XdsServer, types

TOTAL_WEIGHT: Final = 10_000

Message = dict[str, Any]


class Acknowledgements:
    """Listens to the server and notes when each acknowledgement of the awaited type arrived."""

    def __init__(self) -> None:
        self.times: list[int] = []
        self.complete = asyncio.Event()
        self.refusal = ""
        self._type_url = types.ROUTE
        self._expected = 0

    def expect(self, type_url: str, count: int) -> None:
        """Start anew."""
        self.times = []
        self._type_url, self._expected = type_url, count
        self.complete.clear()
        if count == 0:
            self.complete.set()

    def on_connect(self, client: Client) -> None:
        """Of no interest here."""

    def on_disconnect(self, client: Client, reason: str) -> None:
        """Of no interest here."""

    def on_push(self, client: Client, pushed: Pushed) -> None:
        """Of no interest here."""

    def on_suppressed(self, client: Client, type_url: str, count: int) -> None:
        """Of no interest here."""

    def on_ack(self, client: Client, acked: Acked) -> None:  # noqa: ARG002 -- whose it is does not matter
        """Note the time."""
        if acked.type_url == self._type_url:
            self.times.append(time.monotonic_ns())
            if len(self.times) == self._expected:
                self.complete.set()

    def on_nack(self, client: Client, nacked: Nacked) -> None:
        """A client that refuses what it is sent makes the figures worthless."""
        self.refusal = f"{client.stream_id}: {nacked.message}"
        self.complete.set()


class Publisher:
    """Changes one resource at a time."""

    def __init__(self, served: Served, cache: SnapshotCache) -> None:
        self._served = served
        self._cache = cache
        self._resources = {(r.type_url, r.name): r for r in served.resources}
        self._table = RouteConfiguration()
        changed = self._resources.get((types.ROUTE, served.changed))
        if changed is not None:
            self._table.ParseFromString(changed.body)

    def set_weight(self, weight: int) -> int:
        """Publish with this weight; returns when that began, the message being in hand."""
        routes = (route for host in self._table.virtual_hosts for route in host.routes)
        weighted = next(r.route.weighted_clusters for r in routes if len(r.route.weighted_clusters.clusters) > 1)
        weighted.clusters[0].weight.value = weight
        weighted.clusters[1].weight.value = TOTAL_WEIGHT - weight
        began = time.monotonic_ns()
        self._publish(types.ROUTE, self._served.changed, self._table.SerializeToString(deterministic=True))
        return began

    def replace(self, type_url: str, name: str, body: bytes) -> int:
        """Publish with another resource; returns when that began."""
        began = time.monotonic_ns()
        self._publish(type_url, name, body)
        return began

    def publish(self) -> None:
        """Publish what there is."""
        self._cache.publish(self._served.group, Snapshot.of(self._resources.values()))

    def _publish(self, type_url: str, name: str, body: bytes) -> None:
        self._resources[type_url, name] = Resource(type_url, name, body)
        self.publish()


async def obey(told: Message, publisher: Publisher, acks: Acknowledgements) -> Message:
    """Do what a line says."""
    match told["do"]:
        case "push":
            acks.expect(types.ROUTE, told["acks"])
            return await acknowledged(publisher.set_weight(told["weight"]), told, acks)
        case "replace":
            acks.expect(told["type_url"], told["acks"])
            committed = publisher.replace(told["type_url"], told["name"], base64.b64decode(told["body"]))
            return await acknowledged(committed, told, acks)
        case do:
            return usage(after_collecting=do == "collect")


def usage(*, after_collecting: bool) -> Message:
    """What the process has used."""
    if after_collecting:
        gc.collect()
        # What debug.FreeOSMemory is to Go.
        ctypes.CDLL(None).malloc_trim(0)
    used = process.getrusage(process.RUSAGE_SELF)
    return {"cpu_us": round((used.ru_utime + used.ru_stime) * 1e6), "pid": os.getpid()}


async def acknowledged(committed: int, told: Message, acks: Acknowledgements) -> Message:
    """Wait for all acknowledgements."""
    try:
        async with asyncio.timeout(told["patience_seconds"]):
            await acks.complete.wait()
    except TimeoutError:
        return {"error": f"{len(acks.times)} of {told['acks']} acknowledged"}
    if acks.refusal:
        return {"error": f"refused by {acks.refusal}"}
    return {"committed_ns": committed, "acks_ns": acks.times}


async def main(path: Path) -> None:
    """Serve until standard input ends."""
    # As `penstock serve` does.
    collect_less_often()
    served = read(path)
    cache = SnapshotCache()
    acks = Acknowledgements()
    server = XdsServer(cache, group_of=lambda node: node.cluster, identifier="penstock-bench", listener=acks)
    publisher = Publisher(served, cache)
    publisher.publish()
    port = await server.start("127.0.0.1:0")
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    print(json.dumps({"port": port}), flush=True)
    try:
        while line := await lines.readline():
            print(json.dumps(await obey(json.loads(line), publisher, acks)), flush=True)
    finally:
        await server.stop(grace=0)


if __name__ == "__main__":
    forbid_import()
    asyncio.run(main(Path(sys.argv[1])))
