"""The policy directory's way into force: read, check, adopt; keep the last good one when it is broken.

One task (:meth:`PolicyKeeper.run`) follows the directory. The last good policy's text is kept in the store, so that a
restart with a broken directory goes on with what was in force instead of serving nobody.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from penstock.control.decider import Decider
from penstock.policy_source import PolicyDirectory, Reading
from penstock.state.errors import StoreError
from penstock.state.store import Store
from penstock_envoy.compiler import CompileError
from penstock_envoy.residency import ResidencyBreach
from penstock_policies.loader import load
from penstock_policies.policyset import PolicySet
from penstock_policies.problems import Problem

logger = logging.getLogger(__name__)

Inform = Callable[[PolicySet], Awaitable[None]]


class PolicyKeeper:
    """What the directory says, and what of it is in force."""

    def __init__(
        self,
        *,
        directory: PolicyDirectory,
        decider: Decider,
        store: Store,
        clock: Callable[[], float],
        sources_before: Inform,
        sources_after: Inform,
    ) -> None:
        """``sources_before`` tells the sources of facts of a policy before it decides, ``sources_after`` after."""
        self.directory: Final = directory
        self._decider = decider
        self._store = store
        self._clock = clock
        self._sources_before = sources_before
        self._sources_after = sources_after
        self.problems: tuple[Problem, ...] = ()
        """Of the last reading, in force or refused."""
        self.loaded_at: float | None = None
        self.rejected_at: float | None = None

    async def start(self) -> Reading:
        """Put the directory in force, or, if it is broken, the last good policy from before the restart."""
        reading = await self.directory.read()
        await self.take(reading)
        if self._decider.policy is None:
            await self._resume()
        return reading

    async def run(self, known: Reading) -> None:
        """Follow the directory until cancelled."""
        async for reading in self.directory.watch(known):
            await self.take(reading)

    async def take(self, reading: Reading) -> None:
        """Put a reading in force if it is good; otherwise keep what is in force and remember what is wrong."""
        if reading.problems:
            self._refuse(reading.problems)
            return
        loaded = await asyncio.to_thread(load, reading.files)
        if loaded.policy_set is None:
            self._refuse(loaded.problems)
            return
        for problem in loaded.problems:
            logger.warning("policy warning", extra={"problem": str(problem)})
        try:
            await self._adopt(loaded.policy_set)
        except (CompileError, ResidencyBreach) as error:
            self._refuse((*loaded.problems, _unusable(error)))
            return
        self.problems = loaded.problems
        self.loaded_at = self._clock()
        self.rejected_at = None
        logger.info("policy in force", extra={"digest": loaded.policy_set.digest, "files": len(reading.files)})
        await self._remember(loaded.policy_set.digest, reading.files)

    async def _adopt(self, policy: PolicySet) -> None:
        in_force = self._decider.policy
        await self._sources_before(policy)
        try:
            await self._decider.adopt(policy)
        except (CompileError, ResidencyBreach):
            if in_force is not None:
                await self._sources_before(in_force)
            raise
        await self._sources_after(policy)

    def _refuse(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        self.rejected_at = self._clock()
        for problem in problems:
            logger.error("policy refused; the last good one stays in force", extra={"problem": str(problem)})

    async def _remember(self, digest: str, files: Mapping[str, str]) -> None:
        try:
            await self._store.save_policy(digest, files)
        except StoreError as error:
            logger.warning("last good policy not saved", extra={"error": str(error)})

    async def _resume(self) -> None:
        files = await self._store.latest_policy()
        if files is None:
            return
        loaded = await asyncio.to_thread(load, files)
        if loaded.policy_set is None:
            logger.error("saved policy no longer loads", extra={"problems": [str(p) for p in loaded.problems]})
            return
        await self._adopt(loaded.policy_set)
        self.loaded_at = self._clock()
        logger.warning(
            "policy directory is broken; resumed the last good one", extra={"digest": loaded.policy_set.digest}
        )


def _unusable(error: CompileError | ResidencyBreach) -> Problem:
    what = "residency proof failed" if isinstance(error, ResidencyBreach) else "no Envoy configuration can be generated"
    return Problem(severity="error", file="", line=0, column=0, path="", message=f"{what}: {error}")
