"""The simulator as a process, and its public names.

``python -m penstock.demo.simulator --port 0 --name cloud-eu --slots 64 --tokens-per-second 4000`` prints one JSON line
``{"name", "pid", "port", "control_port"}`` and serves until SIGTERM or SIGINT; with ``--until-stdin-closes`` also until
its standard input ends, so that it never outlives whoever started it.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
from dataclasses import dataclass

from penstock.demo.endpoint import SimulatedEndpoint
from penstock.demo.faults import Fault, FaultMode
from penstock.demo.inference_api import SimulatorOptions

__all__ = ["Fault", "FaultMode", "SimulatedEndpoint", "SimulatorOptions", "main"]


@dataclass(frozen=True, slots=True)
class _Invocation:
    options: SimulatorOptions
    port: int
    control_port: int
    until_stdin_closes: bool


def main() -> None:
    """Entry point of the process."""
    asyncio.run(_serve(_parse(sys.argv[1:])))


def _parse(arguments: list[str]) -> _Invocation:
    parser = argparse.ArgumentParser(prog="python -m penstock.demo.simulator", description="A simulated LLM endpoint.")
    parser.add_argument("--name", required=True, help="who it is, in answers and counters")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--control-port", type=int, default=0, help="0: a free one")
    parser.add_argument("--model", default="llama-3-70b")
    parser.add_argument("--slots", type=int, default=64, help="sequences that run at once")
    parser.add_argument("--tokens-per-second", type=float, default=4000.0, help="of the whole box")
    parser.add_argument("--sequence-tokens-per-second", type=float, default=80.0, help="at most, each sequence")
    parser.add_argument("--queue-limit", type=int, default=256, help="sequences that may wait before 429")
    parser.add_argument("--until-stdin-closes", action="store_true")
    given = parser.parse_args(arguments)
    return _Invocation(
        options=SimulatorOptions(
            name=given.name,
            model=given.model,
            slots=given.slots,
            tokens_per_second=given.tokens_per_second,
            sequence_tokens_per_second=given.sequence_tokens_per_second,
            queue_limit=given.queue_limit,
        ),
        port=given.port,
        control_port=given.control_port,
        until_stdin_closes=given.until_stdin_closes,
    )


async def _serve(invocation: _Invocation) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    if invocation.until_stdin_closes:
        loop.add_reader(sys.stdin.fileno(), _stop_at_end_of_stdin, stopped)
    endpoint = SimulatedEndpoint(invocation.options)
    await endpoint.start(invocation.port, invocation.control_port)
    ports = {"port": endpoint.port, "control_port": endpoint.control_port}
    sys.stdout.write(json.dumps({"name": invocation.options.name, "pid": os.getpid(), **ports}) + "\n")
    sys.stdout.flush()
    try:
        await stopped.wait()
    finally:
        await endpoint.stop()


def _stop_at_end_of_stdin(stopped: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        stopped.set()


if __name__ == "__main__":
    main()
