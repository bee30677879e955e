"""Live figures for the story: what the last moments of traffic looked like, and how often weights moved.

One task samples; the story reads. Event loop only.
"""

import asyncio
import logging
from collections import deque

from penstock.demo.admin_client import AdminClient, AdminError, WeightRow
from penstock.demo.load import LoadGenerator
from penstock.demo.tally import Tally

logger = logging.getLogger(__name__)

SAMPLE_SECONDS = 0.25
WINDOW_SECONDS = 2.0
"""Long enough for a hundred requests at the demo's rates, short enough to see a weight push."""


class Gauge:
    """Samples the load generator and the control plane."""

    def __init__(self, load: LoadGenerator, admin: AdminClient) -> None:
        self.weights: list[WeightRow] = []
        """As last told by the control plane."""
        self.weight_changes = 0
        """Rows whose weights were seen to differ from the sample before."""
        self._load = load
        self._admin = admin
        self._samples: deque[tuple[float, Tally]] = deque()

    async def run(self) -> None:
        """Sample until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            self._samples.append((now, self._load.tally.copy()))
            while self._samples[0][0] < now - WINDOW_SECONDS:
                self._samples.popleft()
            try:
                self._note(await self._admin.weights())
            except AdminError as error:
                # The story goes on with the last weights: traffic does not depend on the control plane either.
                logger.warning("weights not available", extra={"error": str(error)})
            await asyncio.sleep(SAMPLE_SECONDS)

    def forget(self) -> None:
        """Start the window afresh, at the beginning of something new."""
        self._samples.clear()
        self._samples.append((asyncio.get_running_loop().time(), self._load.tally.copy()))

    @property
    def filled(self) -> bool:
        """Whether the window covers its whole length since :meth:`forget`."""
        span = asyncio.get_running_loop().time() - self._samples[0][0] if self._samples else 0.0
        return span >= WINDOW_SECONDS - SAMPLE_SECONDS

    @property
    def window(self) -> Tally:
        """What happened in the window."""
        return self._load.tally.minus(self._samples[0][1]) if self._samples else Tally()

    @property
    def window_seconds(self) -> float:
        """Its present length."""
        return asyncio.get_running_loop().time() - self._samples[0][0] if self._samples else 0.0

    def _note(self, rows: list[WeightRow]) -> None:
        before = {(row.policy, row.region, row.model): row.weights for row in self.weights}
        for row in rows:
            self.weight_changes += before.get((row.policy, row.region, row.model), row.weights) != row.weights
        self.weights = rows
