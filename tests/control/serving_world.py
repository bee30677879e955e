"""A whole control plane in this process, with two simulated clusters and a policy directory to edit."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from bench.ports import free_ports
from penstock.control.assembly import Addresses, serving
from penstock.control.plane import Plane
from penstock.control.xds_port import XdsPort
from penstock.demo.endpoint import SimulatedEndpoint
from penstock.demo.inference_api import SimulatorOptions
from penstock.signals.credentials import Keyring

SURROUNDINGS = """---
apiVersion: penstock/v1
kind: Listener
metadata: {{name: public}}
spec: {{address: 0.0.0.0, port: 10000, dataClass: public}}
---
apiVersion: penstock/v1
kind: Listener
metadata: {{name: vault}}
spec: {{address: 0.0.0.0, port: 10001, dataClass: restricted}}
---
apiVersion: penstock/v1
kind: NodeGroup
metadata: {{name: edge}}
spec: {{match: {{cluster: edge}}, region: eu-central, listeners: [public, vault]}}
---
apiVersion: penstock/v1
kind: ResidencyRule
metadata: {{name: at-home}}
spec: {{dataClass: restricted, allow: {{sites: [on_prem]}}}}
---
apiVersion: penstock/v1
kind: TrafficPolicy
metadata: {{name: records}}
spec: {{match: {{path: /v1/}}, dataClass: restricted, clusters: [onprem]}}
"""
"""Listeners, a group of Envoys, and restricted traffic that stays at home."""

POLICY = (
    """
apiVersion: penstock/v1
kind: Cluster
metadata: {{name: onprem}}
spec:
  site: on_prem
  region: eu-central
  engine: vllm
  models: [m]
  endpoints: [{{address: 127.0.0.1, port: {onprem}}}]
  capacity: {{concurrency: 64}}
---
apiVersion: penstock/v1
kind: Cluster
metadata: {{name: cloud}}
spec:
  site: cloud
  region: eu-west
  engine: vllm
  models: [m]
  endpoints: [{{address: 127.0.0.1, port: {cloud}}}]
  capacity: {{concurrency: 64}}
---
apiVersion: penstock/v1
kind: TrafficPolicy
metadata: {{name: chat}}
spec: {{match: {{path: /v1/}}, dataClass: public, clusters: [onprem, cloud]}}
"""
    + SURROUNDINGS
)


@dataclass
class World:
    """What a test does and asks."""

    plane: Plane
    http: aiohttp.ClientSession
    directory: Path
    policy: str
    admin_port: int

    def edit(self, *changes: tuple[str, str]) -> None:
        """Replace parts of the policy file, in one rename."""
        for old, new in changes:
            assert old in self.policy
            self.policy = self.policy.replace(old, new)
        draft = self.directory / ".draft"
        draft.write_text(self.policy)
        draft.rename(self.directory / "policy.yaml")

    def line_of(self, text: str) -> int:
        """The line of the policy file that begins the document with a text."""
        before = self.policy[: self.policy.index(text)]
        return before[: before.rindex("apiVersion")].count("\n") + 1

    async def ask(self, path: str, method: str = "GET") -> Any:
        """JSON from the admin API."""
        async with self.http.request(method, f"http://127.0.0.1:{self.admin_port}{path}") as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def metrics(self) -> str:
        """The metrics."""
        async with self.http.get(f"http://127.0.0.1:{self.admin_port}/metrics") as answer:
            return await answer.text()


async def serve(
    stack: AsyncExitStack,
    tmp_path: Path,
    template: str,
    xds_port: XdsPort | None = None,
    clock: Callable[[], float] = time.time,
    *,
    credentials: Path | None = None,
    **ports: int,
) -> tuple[World, dict[str, SimulatedEndpoint]]:
    """Serve a policy until the stack ends, with a simulated endpoint for ``onprem`` and one for ``cloud``."""
    engines: dict[str, SimulatedEndpoint] = {}
    for name in ("onprem", "cloud"):
        options = SimulatorOptions(name=name, model="m", slots=8)
        engines[name] = await stack.enter_async_context(SimulatedEndpoint(options))
        ports[name] = engines[name].port
    directory = tmp_path / "policies"
    directory.mkdir()
    policy = template.format(**ports)
    (directory / "policy.yaml").write_text(policy)
    (admin,) = free_ports(1)
    addresses = Addresses("127.0.0.1:0", f"127.0.0.1:{admin}")
    state = f"sqlite:///{tmp_path / 'state.db'}"
    port = xds_port or XdsPort(drain_window=0.0)
    plane = await stack.enter_async_context(
        serving(directory, state, addresses, clock, xds_port=port, keyring=Keyring(credentials))
    )
    http = await stack.enter_async_context(aiohttp.ClientSession())
    return World(plane, http, directory, policy, admin), engines


@asynccontextmanager
async def world(tmp_path: Path, xds_port: XdsPort | None = None) -> AsyncIterator[World]:
    """Serving inside the block."""
    async with AsyncExitStack() as stack:
        serving_world, _ = await serve(stack, tmp_path, POLICY, xds_port)
        yield serving_world
