"""Everything the demo runs, brought up in order and taken down in reverse: simulators, control plane, Envoys, load.

What is started is registered on the caller's exit stack at once, so whatever fails half way, nothing is left behind.
"""

import asyncio
import socket
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from penstock.demo.acts import EU, EU_RESTRICTED, STEADY_RATES, US, US_RESTRICTED, Scene
from penstock.demo.admin_client import AdminClient
from penstock.demo.children import Child
from penstock.demo.clusters import SimulatedClusters
from penstock.demo.fleet import LIST_PRICES, ON_PREM, ON_PREM_PRICE, Edge, write_policies
from penstock.demo.gauge import Gauge
from penstock.demo.load import LoadGenerator, Traffic
from penstock.demo.stage import Stage
from penstock_envoy import bootstrap
from penstock_envoy.process import EnvoyProcess
from penstock_policies.words import DataClass

ADMIN_PORT: Final = 18080
"""Where the dashboard is when that port is free: the one ``penstock`` commands look at by default."""

START_SECONDS: Final = 60.0
"""How long the control plane may take to be ready: importing and compiling on a slow, busy machine included."""

POLL_SECONDS: Final = 0.1


class PortTakenError(Exception):
    """Somebody else took a port between its choice and its use: start again."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Free ports of this machine, all different."""

    xds: int
    admin: int
    edges: tuple[Edge, ...]


async def set_up(stack: AsyncExitStack, console: Console, directory: Path) -> Scene:
    """Bring everything up, with traffic flowing.

    Raises:
        ChildFailedError: a simulator or the control plane did not come up.
        EnvoyFailedError: an Envoy did not.
        EnvoyNotFound: there is no Envoy on this machine.
        PortTakenError: a port was taken by somebody else meanwhile.
    """
    ports = free_ports()
    policies = directory / "policies"
    policies.mkdir()
    console.print("starting three simulated LLM clusters ...")
    clusters = await SimulatedClusters.start(directory)
    stack.push_async_callback(clusters.stop)
    write_policies(policies, clusters.ports, ports.edges)
    console.print("starting the control plane: penstock serve ...")
    admin = await _start_control_plane(stack, directory, policies, ports)
    console.print("starting two Envoys: edge-eu and edge-us ...")
    await _start_envoys(stack, ports)
    console.print()
    console.rule("[bold]Penstock demo")
    console.print(f"dashboard      [bold green]{admin.url}/[/]")
    for edge in ports.edges:
        console.print(
            f"{edge.group:<14} public http://127.0.0.1:{edge.public_port}/v1   "
            f"restricted http://127.0.0.1:{edge.internal_port}/v1",
            soft_wrap=True,
        )
    console.print(f"policy files   {policies}", soft_wrap=True)
    prices = {**LIST_PRICES, ON_PREM: ON_PREM_PRICE}
    load = LoadGenerator(_traffic(ports.edges), price_of=lambda cluster: prices.get(cluster, 0.0))
    await load.start()
    stack.push_async_callback(load.stop)
    gauge = Gauge(load, admin)
    sampling = asyncio.create_task(gauge.run())
    stack.push_async_callback(_end, sampling)
    return Scene(
        load=load,
        gauge=gauge,
        clusters=clusters,
        admin=admin,
        stage=Stage(console),
        policies=policies,
        prices=prices,
    )


async def _start_control_plane(stack: AsyncExitStack, directory: Path, policies: Path, ports: Ports) -> AdminClient:
    command = [
        *(sys.executable, "-m", "penstock", "serve", "--policies", str(policies)),
        *("--state", f"sqlite:///{directory / 'penstock.db'}"),
        *("--xds-address", f"127.0.0.1:{ports.xds}", "--admin-address", f"127.0.0.1:{ports.admin}"),
    ]
    child = await Child.start("penstock", command, directory)
    stack.push_async_callback(child.stop)
    admin = await stack.enter_async_context(AdminClient(f"http://127.0.0.1:{ports.admin}"))
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    while not await admin.ready():
        if not child.running:
            raise child.failed("ended at the start")
        if asyncio.get_running_loop().time() > deadline:
            raise child.failed(f"was not ready within {START_SECONDS:.0f} s")
        await asyncio.sleep(POLL_SECONDS)
    return admin


async def _start_envoys(stack: AsyncExitStack, ports: Ports) -> None:
    envoys = [
        EnvoyProcess(
            bootstrap.render(f"{edge.group}-1", edge.group, "127.0.0.1", ports.xds, region=edge.region, admin_port=0)
        )
        for edge in ports.edges
    ]
    for envoy in envoys:
        stack.push_async_callback(asyncio.to_thread, envoy.stop)
    # Threads cannot be cancelled: on Ctrl-C the exit stack's stop waits for the start to have ended.
    await asyncio.gather(*(asyncio.to_thread(envoy.start) for envoy in envoys))
    await asyncio.gather(*(asyncio.to_thread(envoy.wait_ready) for envoy in envoys))
    for envoy, edge in zip(envoys, ports.edges, strict=True):
        for listener in (edge.public_listener, edge.internal_listener):
            # An Envoy is ready also without a listener it could not bind; traffic would then go to a stranger.
            try:
                await asyncio.to_thread(envoy.listener_port, listener)
            except KeyError as error:
                raise PortTakenError(f"{edge.group} could not open its listener {listener}") from error


def _traffic(edges: Sequence[Edge]) -> list[Traffic]:
    eu, us = edges
    kinds = (
        (EU, eu.public_port, DataClass.PUBLIC),
        (US, us.public_port, DataClass.PUBLIC),
        (EU_RESTRICTED, eu.internal_port, DataClass.RESTRICTED),
        (US_RESTRICTED, us.internal_port, DataClass.RESTRICTED),
    )
    return [
        Traffic(name, f"http://127.0.0.1:{port}", data_class, rate=STEADY_RATES[name])
        for name, port, data_class in kinds
    ]


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def free_ports() -> Ports:
    """Choose ports that nobody listens on; the dashboard's own one if it is free."""
    with ExitStack() as held:
        free = []
        for _ in range(6):
            # Held open until all are chosen, so that no two are the same.
            listening = held.enter_context(socket.socket())
            listening.bind(("127.0.0.1", 0))
            free.append(listening.getsockname()[1])
        admin = free[5]
        with suppress(OSError):
            wanted = held.enter_context(socket.socket())
            wanted.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            wanted.bind(("127.0.0.1", ADMIN_PORT))
            admin = ADMIN_PORT
    edges = (Edge("edge-eu", "eu-west", free[0], free[1]), Edge("edge-us", "us-east", free[2], free[3]))
    return Ports(free[4], admin, edges)
