"""A fleet of real engines behind a real Envoy, run by ``penstock serve``: the edge of ``tests/e2e``, other clusters.

Both clusters serve one model, which Penstock spreads by cost, and each serves it by a name of its own as well, so that
a test can say whom it asks.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from bench.ports import free_ports
from tests.e2e.edge import Edge, document
from tests.engines.processes import Engine

VLLM, RAY = "vllm", "ray"
MODEL = "tiny-llama"

_HEALTH = {
    "interval": "500ms",
    # Engines that share two cores with all else are slow now and then, and not down.
    "timeout": "5s",
    "unhealthyThreshold": 2,
    "healthyThreshold": 2,
    "rampInterval": "500ms",
}
_HOWS: Mapping[str, Mapping[str, Any]] = {
    VLLM: {"site": "on_prem", "engine": "vllm", "health": {**_HEALTH, "path": "/health"}},
    RAY: {"site": "cloud", "engine": "rayserve", "health": {**_HEALTH, "path": "/-/healthz"}},
}


@dataclass
class RealEdge(Edge):
    """The running fleet."""

    engines: Mapping[str, Engine] = field(default_factory=dict)
    prices: dict[str, float] = field(default_factory=lambda: {VLLM: 0.1, RAY: 1.0})
    """USD for a million tokens, declared."""
    metrics_path: str = "/metrics"
    probes: dict[str, Any] = field(default_factory=dict)
    """More of ``health``, for both clusters."""

    def policy_documents(self) -> list[dict[str, Any]]:
        """The fleet as policy documents."""
        clusters = [
            document(
                "Cluster",
                name,
                {
                    **_HOWS[name],
                    "health": {**_HOWS[name]["health"], **self.probes},
                    "region": "eu-west",
                    "models": [MODEL, f"{MODEL}-{name}"],
                    "endpoints": [{"address": "127.0.0.1", "port": engine.port}],
                    "metrics": {"port": engine.metrics_port, "path": self.metrics_path},
                    "capacity": {"concurrency": self.concurrency},
                    "cost": {"usdPerMillionTokens": self.prices[name]},
                    "outlierDetection": {"consecutive5xx": 5, "interval": "1s", "baseEjectionTime": "1s"},
                },
            )
            for name, engine in self.engines.items()
        ]
        chat = {"dataClass": "public", "limits": {"maxStep": "50%", "minDwell": "500ms"}}
        return [
            *clusters,
            document("Listener", "public", {"address": "127.0.0.1", "port": self.public_port, "dataClass": "public"}),
            document(
                "NodeGroup",
                "edge-eu",
                {"match": {"cluster": "edge-eu"}, "region": "eu-west", "listeners": ["public"]},
            ),
            document(
                "TrafficPolicy",
                "chat",
                {"match": {"path": "/v1/", "models": [MODEL]}, "clusters": list(self.engines), **chat},
            ),
            *(
                document(
                    "TrafficPolicy",
                    f"only-{name}",
                    {"match": {"path": "/v1/", "models": [f"{MODEL}-{name}"]}, "clusters": [name], **chat},
                )
                for name in self.engines
            ),
        ]

    async def chat(self, *, model: str | None = MODEL, **options: Any) -> tuple[int, Mapping[str, str], Any]:
        """One request through Envoy: status, headers, JSON body."""
        return await super().chat(model=model, **options)

    @property
    def url(self) -> str:
        """The OpenAI API as clients see it, of the Envoy."""
        return f"http://127.0.0.1:{self.public_port}/v1"

    async def cluster(self, name: str) -> Any:
        """What the admin API says of a cluster."""
        items = (await self.get("/api/v1/clusters"))["items"]
        return next(item for item in items if item["name"] == name)

    async def figures(self, name: str) -> Any:
        """What the cluster's engine says of itself, as Penstock knows it; None while it knows nothing."""
        explained = await self.get("/api/v1/explain/chat")
        return next(each["engine"] for each in explained["inputs"] if each["cluster"] == name)


@dataclass
class Stream:
    """One streamed answer, being read."""

    cluster: str = ""
    lines: list[str] = field(default_factory=list)
    error: str = ""
    flowing: asyncio.Event = field(default_factory=asyncio.Event)
    """It has some words, or has ended."""

    @property
    def whole(self) -> bool:
        """Whether it came to its own end."""
        return self.lines[-1:] == ["[DONE]"] and not self.error

    async def read(self, edge: RealEdge, model: str, tokens: int, *, usage: bool = False) -> None:
        """Ask, and read to the end whatever that is."""
        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": "user", "content": "a long answer please"}],
            "max_tokens": tokens,
            "ignore_eos": True,
            "stream": True,
        }
        if usage:
            body["stream_options"] = {"include_usage": True}
        try:
            async with edge.http.post(
                f"{edge.url}/chat/completions", json=body, timeout=aiohttp.ClientTimeout(total=90)
            ) as answer:
                self.cluster = answer.headers.get("x-penstock-cluster", "")
                assert answer.status == 200, await answer.text()
                async for line in answer.content:
                    text = line.decode().strip()
                    if text:
                        self.lines.append(text.removeprefix("data: "))
                    if len(self.lines) > 5:
                        self.flowing.set()
        except (aiohttp.ClientError, TimeoutError, AssertionError) as error:
            self.error = f"{type(error).__name__}: {error}"
        finally:
            self.flowing.set()

    @property
    def usage(self) -> Any:
        """The last usage that was told."""
        told = [json.loads(line).get("usage") for line in self.lines if line != "[DONE]"]
        return next((each for each in reversed(told) if each), None)


@asynccontextmanager
async def real_edge(tmp_path: Path, engines: Mapping[str, Engine]) -> AsyncIterator[RealEdge]:
    """A fleet that serves, inside the block."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=60))
        )
        directory = tmp_path / "policies"
        directory.mkdir()
        xds, admin, public = free_ports(3)
        edge = RealEdge(
            directory=directory, clusters={}, http=http, xds_port=xds, admin_port=admin, public_port=public,
            internal_port=0, concurrency=12, model=MODEL, log_path=tmp_path / "penstock.log", engines=engines,
        )  # fmt: skip
        edge.write_policy()
        stack.push_async_callback(edge.stop_serving)
        await edge.serve()
        stack.callback(lambda: edge.envoy.stop() if edge.envoy else None)
        await edge.start_envoy()
        yield edge
