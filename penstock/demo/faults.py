"""What can be wrong with a simulated endpoint."""

import asyncio
from dataclasses import dataclass
from enum import StrEnum

SLOWDOWN = 8.0
"""How much longer everything takes in mode ``slow``: a throttled GPU, well past any SLO and still alive."""


class FaultMode(StrEnum):
    """One fault at a time."""

    NONE = "none"
    REFUSE = "refuse"
    """The listening socket is closed and connections are cut: the machine is gone."""
    ERROR_503 = "error503"
    """Every answer is 503, health checks included: the front end is up, the engine is not."""
    ERROR_429 = "error429"
    """Inference is refused with 429 and Retry-After; health checks are fine: quota is used up."""
    HANG = "hang"
    """Requests are accepted and never answered, health checks included."""
    GRAY = "gray"
    """Inference is accepted and never answered; health checks and the list of models are fine: the engine is wedged
    behind a front end that does not know."""
    ERROR_401 = "error401"
    """Everything but health checks is refused with 401: the key has been revoked."""
    SLOW = "slow"
    """Tokens come :data:`SLOWDOWN` times slower."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault mode, and whether an outage also cuts answers that are already being streamed."""

    mode: FaultMode = FaultMode.NONE
    cut_streams: bool = True
    """With ``refuse``: False lets answers under way run to their end. No proxy can move an answer whose first byte the
    client already has, so a test of failover that must lose nothing has to spare those."""


class FaultSwitch:
    """The fault in force, and a way to wait for it to change. Event loop only."""

    def __init__(self) -> None:
        self.current = Fault()
        self._changed = asyncio.Event()

    def set(self, fault: Fault) -> None:
        """Put a fault in force, waking whoever waits for a change."""
        self.current = fault
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_while_hanging(self, *, inference: bool) -> None:
        """Return once requests, or such for inference, are answered again."""
        while self.current.mode is FaultMode.HANG or (inference and self.current.mode is FaultMode.GRAY):
            await self._changed.wait()
