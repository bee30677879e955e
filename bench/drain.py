"""From an operator's drain to the last new request at the drained cluster, with a real Envoy under load.

Fifty times: drain the cluster that has all the traffic, note when the call was made and when the cluster received its
last request, then undrain and wait until it has the traffic back. Milliseconds from the call to that last request; the
clock is one process's, as the backends, the clients and the caller all live in this one.
"""

import asyncio
import json
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp
import yaml

from bench.ports import free_ports
from bench.report import quantile, report
from penstock.demo.children import Child
from penstock_envoy import bootstrap
from penstock_envoy.process import EnvoyProcess

MODEL: Final = "llama-3-70b"
DRAINED: Final = "onprem-fra"
OTHER: Final = "cloud-eu-west"
ROUNDS: Final = 50
CLIENTS: Final = 8
# About 800 requests a second in all: one a millisecond or so, the resolution of what is measured.
PAUSE_SECONDS: Final = 0.005
# No request within this time after a drain: the one before was the last.
QUIET_SECONDS: Final = 0.15
PATIENCE_SECONDS: Final = 20.0
ANSWER: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


@dataclass
class Backend:
    """A server that answers at once and remembers when it was last asked for work."""

    last: float = 0.0
    count: int = 0
    connections: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"POST"):
                    self.last = time.perf_counter()
                    self.count += 1
                    length = next(
                        int(h.split(b":")[1]) for h in head.lower().split(b"\r\n") if h.startswith(b"content-length")
                    )
                    await reader.readexactly(length)
                writer.write(ANSWER)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # The client hung up, which is how every connection ends.
        finally:
            self.connections.discard(writer)
            writer.close()


def documents(ports: dict[str, int], listener: int) -> list[dict[str, object]]:
    """Two clusters and a policy that may move everything at once."""

    def document(kind: str, name: str, spec: dict[str, object]) -> dict[str, object]:
        return {"apiVersion": "penstock/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}

    def cluster(name: str, site: str, price: float) -> dict[str, object]:
        return document(
            "Cluster",
            name,
            {
                "site": site,
                "region": "eu-west",
                "engine": "vllm",
                "models": [MODEL],
                "endpoints": [{"address": "127.0.0.1", "port": ports[name]}],
                "capacity": {"concurrency": 1000},
                "cost": {"usdPerMillionTokens": price},
                "health": {"interval": "1s", "rampInterval": "100ms"},
            },
        )

    return [
        cluster(DRAINED, "on_prem", 0.02),
        cluster(OTHER, "cloud", 0.9),
        document("Listener", "public", {"address": "127.0.0.1", "port": listener, "dataClass": "public"}),
        document("NodeGroup", "edge", {"match": {"cluster": "edge"}, "region": "eu-west", "listeners": ["public"]}),
        document(
            "TrafficPolicy",
            "chat",
            {
                "match": {"path": "/v1/", "models": [MODEL]},
                "dataClass": "public",
                "clusters": [DRAINED, OTHER],
                "limits": {"maxStep": "100%", "minDwell": "100ms"},
            },
        ),
    ]


async def client(port: int, stop: asyncio.Event, failures: list[bytes]) -> None:
    body = json.dumps({"model": MODEL, "messages": []}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: edge\r\ncontent-type: application/json\r\n"
    request = b"%scontent-length: %d\r\n\r\n%s" % (head, len(body), body)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while not stop.is_set():
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(h.split(b":")[1]) for h in head.lower().split(b"\r\n") if h.startswith(b"content-length")), 0
        )
        await reader.readexactly(length)
        if not head.startswith(b"HTTP/1.1 200"):
            failures.append(head.split(b"\r\n")[0])
        await asyncio.sleep(PAUSE_SECONDS)
    writer.close()


async def wait_for_requests(backend: Backend, count: int) -> None:
    wanted = backend.count + count
    deadline = time.perf_counter() + PATIENCE_SECONDS
    while backend.count < wanted:
        if time.perf_counter() > deadline:
            raise TimeoutError("a cluster that should have traffic has none")
        await asyncio.sleep(0.005)


async def drain_once(http: aiohttp.ClientSession, admin: str, backends: dict[str, Backend]) -> tuple[float, float]:
    """Milliseconds to the last new request, and to the answer of the call."""
    await wait_for_requests(backends[DRAINED], 50)
    body = {"cluster": DRAINED, "reason": "bench", "owner": "bench", "for": "1h"}
    called = time.perf_counter()
    async with http.post(f"{admin}/api/v1/drains", json=body) as answer:
        if answer.status >= 400:
            raise RuntimeError(await answer.text())
    answered = time.perf_counter()
    while (quiet := time.perf_counter() - max(backends[DRAINED].last, answered)) < QUIET_SECONDS:  # noqa: ASYNC110
        await asyncio.sleep(QUIET_SECONDS - quiet)  # An event per request would disturb what is measured.
    last = max(0.0, backends[DRAINED].last - called) * 1000
    await wait_for_requests(backends[OTHER], 20)
    async with http.delete(f"{admin}/api/v1/drains/{DRAINED}") as answer:
        answer.raise_for_status()
    return last, (answered - called) * 1000


async def measure() -> dict[str, object]:
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-bench-")))
        backends = {name: Backend() for name in (DRAINED, OTHER)}
        ports = {}
        for name, backend in backends.items():
            server = await asyncio.start_server(backend.serve, "127.0.0.1", 0)
            ports[name] = server.sockets[0].getsockname()[1]
            stack.callback(server.close)
        xds, admin_port, listener = free_ports(3)
        policies = directory / "policies"
        policies.mkdir()
        (policies / "policy.yaml").write_text(yaml.safe_dump_all(documents(ports, listener)))
        command = [
            *(sys.executable, "-m", "penstock", "serve", "--policies", str(policies)),
            *("--state", f"sqlite:///{directory / 'state.db'}"),
            *("--xds-address", f"127.0.0.1:{xds}", "--admin-address", f"127.0.0.1:{admin_port}"),
        ]
        server_process = await Child.start("penstock", command, directory)
        stack.push_async_callback(server_process.stop)
        envoy = EnvoyProcess(bootstrap.render("bench", "edge", "127.0.0.1", xds, admin_port=0))
        stack.callback(envoy.stop)
        await asyncio.to_thread(envoy.start)
        await asyncio.to_thread(envoy.wait_ready)
        http = await stack.enter_async_context(aiohttp.ClientSession())
        stop, failures = asyncio.Event(), list[bytes]()
        clients = [asyncio.create_task(client(listener, stop, failures)) for _ in range(CLIENTS)]
        admin = f"http://127.0.0.1:{admin_port}"
        results = [await drain_once(http, admin, backends) for _ in range(ROUNDS)]
        stop.set()
        await asyncio.gather(*clients)
        requests = sum(backend.count for backend in backends.values())
        for backend in backends.values():
            for connection in tuple(backend.connections):
                connection.close()
    last = [one for one, _ in results]
    answers = [one for _, one in results]
    return {
        "bench": "drain",
        "drains": ROUNDS,
        "requests": requests,
        "failed": len(failures),
        "p50_ms": round(quantile(last, 0.50), 2),
        "p99_ms": round(quantile(last, 0.99), 2),
        "max_ms": round(max(last), 2),
        "answer_p50_ms": round(quantile(answers, 0.50), 2),
        "answer_p99_ms": round(quantile(answers, 0.99), 2),
    }


if __name__ == "__main__":
    report(asyncio.run(measure()))
