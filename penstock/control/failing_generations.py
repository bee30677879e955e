"""Which endpoints did not generate when this process last ran, read from what the last recorded decision was made of.

Such an endpoint answers health checks, so that nothing but another generation would find it again, some minutes after a
restart; until then it would get requests. An endpoint that falls or comes back changes a decision materially, so the
last recorded one knows.
"""

import asyncio
import logging

from penstock.control.inputs import InputsError, unpack
from penstock.signals.probe_book import Key
from penstock.state.errors import StoreError
from penstock.state.store import Store

logger = logging.getLogger(__name__)


async def failing_generations(store: Store) -> dict[Key, int]:
    """Return the generations that had failed in a row, by cluster and endpoint; none where that cannot be read."""
    try:
        newest = await store.decisions(1)
        stored = await store.decision_inputs(newest[0].id) if newest else None
        if stored is None:
            return {}
        observations = (await asyncio.to_thread(unpack, stored)).observations
    except (StoreError, InputsError) as error:
        logger.warning("failed generations of before not known", extra={"error": str(error)})
        return {}
    failed: dict[Key, int] = {}
    for known in (observations.probes, *observations.edge_probes.values()):
        for cluster, probes in known.items():
            for endpoint, probe in probes.items():
                if probe.generation_failed > 0:
                    failed[cluster, endpoint] = probe.generation_failed
    return failed
