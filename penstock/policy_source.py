"""Where policy text comes from: a directory of YAML files, read whole and watched for change.

Owns reading and watching only; what the text means is :mod:`penstock_policies.loader`'s affair. Anyone may call
:func:`read_directory`; the composition root is the one consumer of :meth:`PolicyDirectory.watch`. File reads run on a
worker thread, so a slow disk never holds up the event loop.

Two ways of noticing a change run together: the kernel's notifications, and a plain re-read every few seconds that
catches whatever notifications miss (a replaced directory, a network file system, exhausted inotify watches). A change
is a change of the policies' *text*: a touched file, or a price file beside them, is none.
"""

import asyncio
import logging
import os
import stat
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import watchfiles

from penstock_policies.problems import PolicyError, Problem

logger = logging.getLogger(__name__)

SUFFIXES: Final = frozenset({".yaml", ".yml"})

MAX_FILE_BYTES: Final = 4 * 1024 * 1024
"""Beyond any policy a person wrote (a ConfigMap holds 1 MiB); a log or a dump in the wrong place is refused."""

READ_ATTEMPTS: Final = 5
"""A ConfigMap swap takes one rename, so a read torn by one is whole on the next attempt or the one after."""

DEBOUNCE_MS: Final = 200
"""Longest wait for a burst of writes (``git checkout``, ``kubectl apply``) to end before reading."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A policy directory at one moment."""

    files: Mapping[str, str] = field(default_factory=dict)
    """Name relative to the directory, with ``/``, to text. Sorted by name."""
    problems: tuple[Problem, ...] = ()
    """What could not be read. While there is any, ``files`` is not the whole and must not be put in force."""


class PolicySourceError(PolicyError):
    """Some of a policy directory could not be read; ``problems`` names every file concerned."""


def read_directory(path: Path | str) -> Mapping[str, str]:
    """Read every ``*.yaml`` and ``*.yml`` file below ``path``: its text by its relative name.

    Entries whose name begins with a dot are skipped, which hides a ConfigMap's ``..data`` plumbing and shows its files
    once, by their own names. Blocks on the disk: call it from a thread when an event loop is running.

    Raises:
        PolicySourceError: the directory or any file in it cannot be read, is too large, or is not UTF-8.

    """
    reading = _read(Path(path))
    if reading.problems:
        raise PolicySourceError(reading.problems)
    return reading.files


class PolicyDirectory:
    """A policy directory that may change under our feet.

    ``poll_interval`` is in seconds: how soon a change is seen that the kernel did not tell of.
    """

    def __init__(self, path: Path | str, *, poll_interval: float = 5.0) -> None:
        self.path: Final = Path(path)
        self._poll_interval = poll_interval

    async def read(self) -> Reading:
        """Read the directory now. Never raises for what is on the disk: that is in :attr:`Reading.problems`."""
        return await asyncio.to_thread(_read, self.path)

    async def watch(self, known: Reading | None = None) -> AsyncGenerator[Reading, None]:
        """Yield the directory each time it differs from what was last yielded, first from ``known``.

        Ends only when closed or cancelled. A directory that is missing or replaced is waited for.
        """
        last = known
        async with aclosing(self._wakes()) as wakes:
            async for _ in wakes:
                reading = await self.read()
                if reading != last:
                    last = reading
                    yield reading

    async def _wakes(self) -> AsyncGenerator[None, None]:
        """Yield whenever it is worth reading the directory again; at once, then at least every poll interval."""
        while True:
            yield
            watched = await asyncio.to_thread(_identity, self.path)
            if watched is None:
                await asyncio.sleep(self._poll_interval)
                continue
            try:
                async with aclosing(self._notifications()) as notifications:
                    async for _ in notifications:
                        yield
                        # A watch follows the directory it was set on, not its name: once the name leads to another
                        # directory, this watch is deaf.
                        if await asyncio.to_thread(_identity, self.path) != watched:
                            break
            except (OSError, RuntimeError) as error:
                # RuntimeError is what watchfiles' own WatchfilesRustInternalError is, which it does not export.
                logger.warning(
                    "policy directory cannot be watched, polling it",
                    extra={"path": str(self.path), "interval": self._poll_interval, "error": str(error)},
                )
                await asyncio.sleep(self._poll_interval)

    async def _notifications(self) -> AsyncGenerator[None, None]:
        changes = watchfiles.awatch(
            self.path,
            watch_filter=self._concerns_policies,
            debounce=DEBOUNCE_MS,
            rust_timeout=max(1, int(self._poll_interval * 1000)),
            yield_on_timeout=True,
        )
        async with aclosing(changes):
            async for _ in changes:
                yield

    def _concerns_policies(self, _change: watchfiles.Change, name: str) -> bool:
        # A name without a suffix may be a directory that came or went; one that begins with dots is a ConfigMap's swap.
        suffix = Path(name).suffix
        return suffix in SUFFIXES or suffix == "" or Path(name).name.startswith("..")


def _identity(path: Path) -> tuple[int, int] | None:
    """Which directory a path leads to now; None when to none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISDIR(found.st_mode) else None


def _read(root: Path) -> Reading:
    """Read the directory until nothing moved while reading, so that a swap half seen is never taken for a policy."""
    reading = Reading()
    for _ in range(READ_ATTEMPTS):
        before = _signature(root)
        reading = _read_once(root)
        if _signature(root) == before:
            return reading
    return Reading(files=reading.files, problems=(_problem(str(root), "keeps changing while it is read"),))


def _signature(root: Path) -> tuple[tuple[str, int, int, int], ...]:
    found = []
    for path in _policy_files(root, []):
        try:
            status = path.stat()
        except OSError:
            continue
        found.append((str(path), status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(found)


def _read_once(root: Path) -> Reading:
    if _identity(root) is None:
        return Reading(problems=(_problem(str(root), "is not a directory, or may not be entered"),))
    problems: list[Problem] = []
    files: dict[str, str] = {}
    seen: set[str] = set()
    for path in _policy_files(root, problems):
        real = os.path.realpath(path)
        if real in seen:
            continue
        seen.add(real)
        name = path.relative_to(root).as_posix()
        try:
            files[name] = _text(path)
        except (OSError, ValueError) as error:
            problems.append(_problem(name, _words(error)))
    return Reading(files, tuple(problems))


def _policy_files(root: Path, problems: list[Problem]) -> Iterator[Path]:
    """Policy files below a directory, sorted by name; directories that cannot be listed are added to ``problems``."""

    def unlisted(error: OSError) -> None:
        problems.append(_problem(os.path.relpath(error.filename or root, root), _words(error)))

    found: list[Path] = []
    entered: set[str] = set()
    for folder, folders, names in os.walk(root, onerror=unlisted, followlinks=True):
        real = os.path.realpath(folder)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(folder, name) for name in names if not name.startswith(".") and Path(name).suffix in SUFFIXES]
    yield from sorted(found)


def _text(path: Path) -> str:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("is not a regular file")
    if status.st_size > MAX_FILE_BYTES:
        raise ValueError(f"has {status.st_size} bytes; a policy file may have {MAX_FILE_BYTES}")
    return path.read_bytes().decode("utf-8-sig")


def _words(error: OSError | ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"is not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}"
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror or error}"
    return str(error)


def _problem(file: str, message: str) -> Problem:
    return Problem(severity="error", file=file, line=0, column=0, path="", message=message)
