"""The demo's simulated clusters, each a process of its own, and the evidence they hold."""

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import aiohttp

from penstock.demo.children import Child
from penstock.demo.faults import FaultMode
from penstock.demo.fleet import CLOUDS, CLUSTERS, MODEL
from penstock_policies.words import DataClass

START_SECONDS = 20.0
CALL_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Simulator:
    child: Child
    port: int
    control_url: str


class SimulatedClusters:
    """All simulators of the fleet: ``start``, use, ``stop``."""

    def __init__(self, simulators: Mapping[str, _Simulator], session: aiohttp.ClientSession) -> None:
        self._simulators = simulators
        self._session = session

    @classmethod
    async def start(cls, directory: Path) -> Self:
        """Start every cluster of the fleet; on failure none is left.

        Raises:
            ChildFailedError: a simulator did not come up.
        """
        children: dict[str, Child] = {}
        try:
            for name, size in CLUSTERS.items():
                command = [
                    *(sys.executable, "-m", "penstock.demo.simulator", "--name", name, "--model", MODEL),
                    *("--slots", str(size.slots), "--tokens-per-second", str(size.tokens_per_second)),
                    "--until-stdin-closes",
                ]
                children[name] = await Child.start(name, command, directory, announces=True)
            simulators = {}
            for name, child in children.items():
                ports = await child.announcement(START_SECONDS)
                control_url = f"http://127.0.0.1:{ports['control_port']}"
                simulators[name] = _Simulator(child, int(str(ports["port"])), control_url)
        except BaseException:
            await asyncio.gather(*(child.stop() for child in children.values()))
            raise
        timeout = aiohttp.ClientTimeout(total=CALL_TIMEOUT_SECONDS)
        return cls(simulators, aiohttp.ClientSession(timeout=timeout))

    @property
    def ports(self) -> dict[str, int]:
        """Cluster to the port Envoy uses."""
        return {name: simulator.port for name, simulator in self._simulators.items()}

    async def set_fault(self, cluster: str, mode: FaultMode) -> None:
        """Switch a fault. An outage spares answers that are already being streamed: nobody could move those."""
        body = {"mode": str(mode), "cut_streams": False}
        url = f"{self._simulators[cluster].control_url}/simulator/fault"
        async with self._session.post(url, json=body) as response:
            response.raise_for_status()

    async def restricted_at_clouds(self) -> tuple[int, int]:
        """Restricted requests, and bytes of them, that any cloud cluster has received."""
        requests = size = 0
        for name in CLOUDS:
            url = f"{self._simulators[name].control_url}/simulator/counters"
            async with self._session.get(url) as response:
                response.raise_for_status()
                counters = await response.json()
            requests += counters["requests"][DataClass.RESTRICTED]
            size += counters["bytes"][DataClass.RESTRICTED]
        return requests, size

    async def stop(self) -> None:
        """Stop every simulator."""
        await self._session.close()
        await asyncio.gather(*(simulator.child.stop() for simulator in self._simulators.values()))
