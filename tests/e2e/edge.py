"""A whole edge on loopback: simulated clusters, a real ``penstock serve`` process, a real Envoy.

:class:`Edge` is the issue's example fleet with addresses changed and clocks made short. Everything it starts it stops.
"""

import asyncio
import contextlib
import io
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from bench.ports import free_ports
from penstock.demo.endpoint import SimulatedEndpoint
from penstock.demo.inference_api import SimulatorOptions
from penstock_envoy.bootstrap import Variant, render
from penstock_envoy.process import EnvoyProcess

MODEL = "llama-3-70b"
CLOUDS = ("cloud-eu-west", "cloud-us-east")
CLUSTERS = {
    "onprem-fra": ("on_prem", "eu-central", {"usdPerMillionTokens": 0.02, "amortizedUsdPerHour": 8.56}),
    "cloud-eu-west": ("cloud", "eu-west", {"feed": "cloud-prices", "key": "eu"}),
    "cloud-us-east": ("cloud", "us-east", {"feed": "cloud-prices", "key": "us"}),
}
HEALTH = {
    "path": "/health", "interval": "200ms", "timeout": "500ms", "unhealthyThreshold": 2, "healthyThreshold": 2,
    "rampInterval": "500ms",
}  # fmt: skip


def document(kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """One policy document."""
    return {"apiVersion": "penstock/v1", "kind": kind, "metadata": {"name": name}, "spec": dict(spec)}


@dataclass
class Edge:
    """The running fleet."""

    directory: Path
    clusters: dict[str, SimulatedEndpoint]
    http: aiohttp.ClientSession
    xds_port: int
    admin_port: int
    public_port: int
    internal_port: int
    concurrency: int
    model: str = MODEL
    server: asyncio.subprocess.Process | None = None
    envoy: EnvoyProcess | None = None
    log_path: Path = field(default_factory=Path)

    @property
    def admin(self) -> str:
        """Base URL of the admin API."""
        return f"http://127.0.0.1:{self.admin_port}"

    def policy_documents(self) -> list[dict[str, Any]]:
        """The fleet as policy documents."""
        documents = [
            document(
                "Cluster",
                name,
                {
                    "site": site,
                    "region": region,
                    "engine": "vllm",
                    "models": [MODEL],
                    "endpoints": [{"address": "127.0.0.1", "port": self.clusters[name].port}],
                    "capacity": {"concurrency": self.concurrency if site == "on_prem" else 10 * self.concurrency},
                    "cost": cost,
                    "health": HEALTH,
                    "outlierDetection": {"consecutive5xx": 5, "interval": "1s", "baseEjectionTime": "1s"},
                },
            )
            for name, (site, region, cost) in CLUSTERS.items()
        ]
        limits = {"maxStep": "50%", "minDwell": "500ms"}
        listener = {"address": "127.0.0.1"}
        return [
            *documents,
            document("CostFeed", "cloud-prices", {"type": "file", "path": "prices.json", "refresh": "200ms"}),
            document("Listener", "public", {**listener, "port": self.public_port, "dataClass": "public"}),
            document("Listener", "internal", {**listener, "port": self.internal_port, "dataClass": "restricted"}),
            document(
                "NodeGroup",
                "edge-eu",
                {"match": {"cluster": "edge-eu"}, "region": "eu-west", "listeners": ["public", "internal"]},
            ),
            document("ResidencyRule", "default", {"dataClass": "restricted", "allow": {"sites": ["on_prem"]}}),
            document(
                "TrafficPolicy",
                "chat",
                {
                    "match": {"path": "/v1/", "models": [MODEL]},
                    "dataClass": "public",
                    "clusters": list(CLUSTERS),
                    "objective": {"minimize": "cost"},
                    "limits": limits,
                },
            ),
            document(
                "TrafficPolicy",
                "records",
                {"match": {"path": "/v1/"}, "dataClass": "restricted", "clusters": ["onprem-fra"], "limits": limits},
            ),
        ]  # fmt: skip

    def write_policy(self, documents: list[dict[str, Any]] | None = None) -> None:
        """Put the policy files in place, in one rename."""
        text = yaml.safe_dump_all(documents or self.policy_documents(), sort_keys=False)
        self.replace("policy.yaml", text)

    def set_prices(self, **prices: float) -> None:
        """Write the price feed."""
        rows = [{"key": key, "usdPerMillionTokens": price} for key, price in prices.items()]
        self.replace("prices.json", json.dumps({"prices": rows}))

    def replace(self, name: str, text: str) -> None:
        """Write a file of the policy directory atomically."""
        draft = self.directory / f".{name}.draft"
        draft.write_text(text)
        draft.rename(self.directory / name)

    async def serve(self) -> None:
        """Start ``penstock serve`` and wait until it is ready."""
        with self.log_path.open("ab") as log:
            self.server = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "penstock", "serve",
                "--policies", str(self.directory),
                "--state", f"sqlite:///{self.directory.parent / 'state.db'}",
                "--xds-address", f"127.0.0.1:{self.xds_port}",
                "--admin-address", f"127.0.0.1:{self.admin_port}",
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )  # fmt: skip
        await self.until(self.is_ready, "penstock is not ready")

    async def stop_serving(self, number: int = signal.SIGTERM) -> None:
        """End the control plane, by default politely."""
        if self.server is not None and self.server.returncode is None:
            self.server.send_signal(number)
            await self.server.wait()
        self.server = None

    async def is_ready(self) -> bool:
        """What /readyz says."""
        assert self.server is not None
        assert self.server.returncode is None, self.log_path.read_text()[-4000:]
        with contextlib.suppress(aiohttp.ClientError):
            async with self.http.get(f"{self.admin}/readyz") as answer:
                return answer.status == 200
        return False

    async def start_envoy(self, variant: Variant = "delta") -> None:
        """Start a real Envoy of group edge-eu and wait until it serves."""
        bootstrap = render(
            "edge-1", "edge-eu", "127.0.0.1", self.xds_port, region="eu-west", admin_port=0, variant=variant
        )
        self.envoy = EnvoyProcess(bootstrap)
        await asyncio.to_thread(self.envoy.start)
        await asyncio.to_thread(self.envoy.wait_ready)

    async def envoy_stats(self, pattern: str) -> dict[str, int]:
        """Envoy's own counters whose names match."""
        assert self.envoy is not None
        text = await asyncio.to_thread(self.envoy.admin, f"/stats?filter={pattern}")
        return {name: int(value) for name, _, value in (line.partition(": ") for line in text.splitlines())}

    async def get(self, path: str) -> Any:
        """JSON from the admin API."""
        async with self.http.get(f"{self.admin}{path}") as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def metric(self, name: str) -> float:
        """The sum over all labels of a metric of the control plane."""
        async with self.http.get(f"{self.admin}/metrics") as answer:
            lines = (await answer.text()).splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))

    async def shares(self, policy: str = "chat") -> dict[str, int]:
        """Weights (of 10 000) of the policy's row for the fleet's model, by cluster."""
        decision = await self.get(f"/api/v1/weights?policy={policy}")
        rows = [row for row in decision["items"] if row["model"] == self.model]
        return {name: weight for row in rows for name, weight in row["weights"].items()}

    async def drain(self, cluster: str, **options: Any) -> tuple[int, Any]:
        """Ask for a drain; returns status and body."""
        body = {"cluster": cluster, "reason": "test", "owner": "tester", "for": "1h", **options}
        async with self.http.post(f"{self.admin}/api/v1/drains", json=body) as answer:
            return answer.status, await answer.json()

    async def undrain(self, cluster: str) -> None:
        """End a drain."""
        async with self.http.delete(f"{self.admin}/api/v1/drains/{cluster}") as answer:
            assert answer.status in {200, 204}, await answer.text()

    async def chat(
        self, *, port: int | None = None, path: str = "/v1/chat/completions", model: str | None = MODEL,
        headers: Mapping[str, str] | None = None, tokens: int = 4, prompt: str = "hello",
    ) -> tuple[int, Mapping[str, str], Any]:  # fmt: skip
        """One request through Envoy: status, headers, JSON body."""
        body: dict[str, Any] = {"messages": [{"role": "user", "content": prompt}], "max_tokens": tokens}
        if model is not None:
            body["model"] = model
        url = f"http://127.0.0.1:{port or self.public_port}{path}"
        # A stream, because the client warns of large bodies given as bytes.
        payload = io.BytesIO(json.dumps(body).encode())
        sent = {"content-type": "application/json", **(headers or {})}
        async with self.http.post(url, data=payload, headers=sent) as answer:
            return answer.status, answer.headers, await answer.json(content_type=None)

    def requests_at(self, cluster: str) -> int:
        """How many requests for work have reached a cluster, whatever their class."""
        return sum(self.clusters[cluster].counters()["requests"].values())

    async def until(self, condition: Callable[[], Any], complaint: str, seconds: float = 30.0) -> None:
        """Wait for something that must come true; fail with a reason when it does not."""
        deadline = time.monotonic() + seconds
        while not await condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"{complaint}; log of the server:\n{self.log_path.read_text()[-6000:]}")
            await asyncio.sleep(0.02)


@asynccontextmanager
async def running_edge(
    tmp_path: Path, *, concurrency: int = 64, slots: int = 256, variant: Variant = "delta"
) -> AsyncIterator[Edge]:
    """A fleet that serves, inside the block."""
    async with AsyncExitStack() as stack:
        clusters = {
            name: await stack.enter_async_context(
                SimulatedEndpoint(
                    SimulatorOptions(
                        name=name,
                        model=MODEL,
                        slots=slots,
                        tokens_per_second=200_000.0,
                        sequence_tokens_per_second=2000.0,
                    )
                )
            )
            for name in CLUSTERS
        }
        # A connector without keep-alive: each request meets Envoy as a new client would.
        http = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=30))
        )
        directory = tmp_path / "policies"
        directory.mkdir()
        xds, admin, public, internal = free_ports(4)
        edge = Edge(
            directory=directory, clusters=clusters, http=http, xds_port=xds, admin_port=admin, public_port=public,
            internal_port=internal, concurrency=concurrency, log_path=tmp_path / "penstock.log",
        )  # fmt: skip
        edge.set_prices(eu=0.90, us=1.00)
        edge.write_policy()
        stack.push_async_callback(edge.stop_serving)
        await edge.serve()
        stack.callback(lambda: edge.envoy.stop() if edge.envoy else None)
        await edge.start_envoy(variant)
        yield edge
