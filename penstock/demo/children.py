"""Processes the demo owns: started with their output in a file, stopped for certain.

Each child is in a process group of its own, so that Ctrl-C reaches the demo alone, which stops its children in order.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Self

logger = logging.getLogger(__name__)

STOP_SECONDS = 5.0
"""How long a child may take to end after SIGTERM before SIGKILL."""

LOG_TAIL_CHARACTERS = 3000


class ChildFailedError(Exception):
    """A child process ended, or did not do its part in time. Carries the end of its log."""


class Child:
    """One child process."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self._process = process
        self._log = log

    @classmethod
    async def start(cls, name: str, command: Sequence[str], directory: Path, *, announces: bool = False) -> Self:
        """Start a command; its standard error (and output, unless it ``announces`` there) goes to ``NAME.log``.

        Its standard input is a pipe that closes when this process ends, however it ends.
        """
        log = directory / f"{name}.log"
        with log.open("ab") as file:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE if announces else file,
                stderr=file,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                process_group=0,
            )
        return cls(name, process, log)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    async def announcement(self, seconds: float) -> dict[str, object]:
        """The JSON line a child that ``announces`` prints first.

        Raises:
            ChildFailedError: it printed none in time.
        """
        if self._process.stdout is None:
            raise ValueError("this child was not started to announce anything")
        try:
            async with asyncio.timeout(seconds):
                line = await self._process.stdout.readline()
            document = json.loads(line)
        except (TimeoutError, ValueError) as error:
            raise self.failed("did not announce itself") from error
        if not isinstance(document, dict):
            raise self.failed("announced no object")
        return document

    def failed(self, what: str) -> ChildFailedError:
        """An error that says what this child did wrong, with the end of its log."""
        state = "still running" if self.running else f"exit code {self._process.returncode}"
        tail = self._log.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL_CHARACTERS:]
        return ChildFailedError(f"{self.name} {what} ({state}); its log ends with:\n{tail}")

    async def stop(self) -> None:
        """End it, gently first. Safe to call at any time."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await self._process.wait()
            except TimeoutError:
                logger.warning("child did not stop in time; killing it", extra={"child": self.name, "pid": self.pid})
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()
                await self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
