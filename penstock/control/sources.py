"""Everything that brings in facts, told together of a change of policy.

What a policy needs in order to be decided on is told before it comes in force (:meth:`Sources.before`), what follows
from it after (:meth:`Sources.after`). Load reports are told of clusters alone: whose Envoy it is they ask at every sum.
"""

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from penstock.control.ledger import LedgerKeeper
from penstock.signals.board import ObservationBoard
from penstock.signals.engine_metrics import EngineMetrics
from penstock.signals.feeds import CostFeeds
from penstock.signals.hds import HealthDiscovery
from penstock.signals.lrs import LoadReports
from penstock.signals.probing import Probing
from penstock.signals.usage_sums import UsageSums
from penstock_policies.policyset import PolicySet

logger = logging.getLogger(__name__)

# A feed that does not answer must not hold up the start; its keys go by the last good figure until it does.
_FIRST_FIGURES_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Sources:
    """The sources of facts. Made and stopped by the composition root."""

    board: ObservationBoard
    ledger: LedgerKeeper
    sums: UsageSums
    feeds: CostFeeds
    probing: Probing
    edge: HealthDiscovery
    engines: EngineMetrics
    reports: LoadReports
    policies: Path
    """What the paths of file feeds are relative to."""

    async def before(self, policy: PolicySet) -> None:
        """Tell those whose facts the first decision under a policy is made of."""
        self.board.apply(policy)
        self.reports.apply(policy)
        await self.ledger.apply(policy)
        self.sums.apply(policy)
        await self.feeds.apply(policy, self.policies)
        try:
            async with asyncio.timeout(_FIRST_FIGURES_SECONDS):
                await self.feeds.first_read()
        except TimeoutError:
            logger.warning("a cost feed has not answered yet", extra={"waited": _FIRST_FIGURES_SECONDS})

    async def after(self, policy: PolicySet) -> None:
        """Tell those that ask the endpoints of a policy in force."""
        await self.probing.apply(policy)
        await self.edge.apply(policy)
        await self.engines.apply(policy)

    async def stop(self) -> None:
        """End all asking."""
        await self.engines.stop()
        await self.feeds.stop()
        await self.probing.stop()
