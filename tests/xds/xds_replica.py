"""A server in a process of its own, as another replica would be: same content, nothing else in common.

It reads one line of JSON with the port and the resources from standard input, says when it listens, and then answers
each further line with the types it pushed so far and the types all its streams are in step on.
"""

import asyncio
import base64
import json
import sys
from collections.abc import Iterable
from typing import Any

from penstock_xds import Resource, Snapshot, SnapshotCache, SyncStatus, XdsServer
from tests.xds.recorder import Recorder


def task_for(port: int, resources: Iterable[Resource]) -> str:
    """Return the line that tells a replica what to do."""
    bodies = [(r.type_url, r.name, base64.b64encode(r.body).decode()) for r in resources]
    return json.dumps({"port": port, "resources": bodies})


def types_in_step(server: XdsServer) -> set[str]:
    """Find the types some client asks for and every client that asks is in step on."""
    views = [view for stream in server.streams() for view in stream.types.values()]
    return {v.type_url for v in views} - {v.type_url for v in views if v.status is not SyncStatus.SYNCED}


async def main() -> None:
    loop = asyncio.get_running_loop()
    task: Any = json.loads(await loop.run_in_executor(None, sys.stdin.readline))
    cache, recorder = SnapshotCache(), Recorder()
    # In another order than the first server had them, which must not matter.
    resources = [Resource(t, name, base64.b64decode(body)) for t, name, body in reversed(task["resources"])]
    cache.publish("edge", Snapshot.of(resources))
    server = XdsServer(cache, group_of=lambda node: node.cluster, identifier="replica", listener=recorder)
    await server.start(f"127.0.0.1:{task['port']}")
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    while await loop.run_in_executor(None, sys.stdin.readline):
        state = {"pushes": recorder.pushes, "in_step": sorted(types_in_step(server))}
        sys.stdout.write(json.dumps(state) + "\n")
        sys.stdout.flush()
    await server.stop(1)


if __name__ == "__main__":
    asyncio.run(main())
