"""``python -m penstock.demo``: the whole of Penstock on one machine, telling a story.

Simulated clusters, the real control plane (``penstock serve``) and two real Envoys as child processes; the load
generator and the story in this one. Whatever happens, every child is stopped at the end. With ``DEMO_SECONDS`` in the
environment (or ``--seconds``) the story is played once, in about that time; without, until Ctrl-C. The last line
printed is one JSON object. Exit codes: 0 every promise held, 1 one did not, 2 the demo could not be set up, 130 it was
stopped before the first act had ended.
"""

import argparse
import asyncio
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final, TypeVar

from rich.console import Console

from penstock.demo.acts import Scene
from penstock.demo.children import ChildFailedError
from penstock.demo.rig import PortTakenError, set_up
from penstock.demo.story import Record, Summary, play, summary
from penstock_envoy.binary import EnvoyNotFound
from penstock_envoy.process import EnvoyFailedError

logger = logging.getLogger(__name__)

LOAD_GRACE_SECONDS: Final = 10.0
"""What is under way at the end of the story may end; it is part of the record."""

T = TypeVar("T")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit code."""
    seconds = _seconds(arguments)
    console = Console(highlight=False)
    directory = Path(tempfile.mkdtemp(prefix="penstock-demo-"))
    logging.basicConfig(filename=directory / "demo.log", level=logging.INFO)
    code = 2
    try:
        code = asyncio.run(_demo(console, directory, seconds))
    except (ChildFailedError, EnvoyFailedError, EnvoyNotFound, PortTakenError) as error:
        sys.stderr.write(f"the demo could not be set up: {error}\n")
    finally:
        if code in {0, 130}:
            shutil.rmtree(directory, ignore_errors=True)
        else:
            sys.stderr.write(f"logs are kept in {directory}\n")
    return code


def _seconds(arguments: Sequence[str] | None) -> float | None:
    parser = argparse.ArgumentParser(prog="python -m penstock.demo", description="Penstock on one machine: a story.")
    given = os.environ.get("DEMO_SECONDS") or None
    parser.add_argument("--seconds", type=float, default=given, help="play once in about this time (DEMO_SECONDS)")
    seconds: float | None = parser.parse_args(arguments).seconds
    if seconds is not None and seconds <= 0:
        parser.error("the time must be positive")
    return seconds


async def _demo(console: Console, directory: Path, seconds: float | None) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        scene = await finish_unless(stop, set_up(stack, console, directory))
        if scene is None:
            return 130
        record = Record()
        with scene.stage:
            await finish_unless(stop, play(scene, record, seconds=seconds))
        line = await _judge(scene, record)
    # Last of all, after everything is stopped: whoever reads the line may rely on an empty house.
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
    if not record.acts:
        return 130
    return 0 if record.held and line["failed"] == 0 and line["restricted_to_cloud"] == 0 else 1


async def _judge(scene: Scene, record: Record) -> Summary:
    await scene.load.stop(LOAD_GRACE_SECONDS)
    leaked, _ = await scene.clusters.restricted_at_clouds()
    return summary(scene, record, restricted_to_cloud=leaked)


async def finish_unless(stop: asyncio.Event, work: Coroutine[object, object, T]) -> T | None:
    """Do the work, or cancel it when told to stop: then None."""
    task = asyncio.create_task(work)
    told = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, told}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        return None
    finally:
        for unfinished in (task, told):
            unfinished.cancel()
        await asyncio.gather(task, told, return_exceptions=True)
