"""Weights follow what running engines really carry."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import cycle

import pytest

from tests.engines.conftest import SLOTS
from tests.engines.real_edge import MODEL, RAY, VLLM, RealEdge, Stream

pytestmark = pytest.mark.timeout(600)


@asynccontextmanager
async def streams(edge: RealEdge, clients: int) -> AsyncIterator[list[Stream]]:
    """Clients that read one stream after another inside the block; gives those that ended."""
    ended: list[Stream] = []

    async def client(tokens: Iterator[int]) -> None:
        while True:
            stream = Stream()
            await stream.read(edge, MODEL, next(tokens))
            ended.append(stream)

    # Of several lengths: answers of one length are served in step, four at a time.
    tasks = [asyncio.create_task(client(cycle((10, 30, 50, 20, 40, 60)[first % 6 :]))) for first in range(clients)]
    try:
        yield ended
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize(("cheap", "dear"), [(VLLM, RAY), (RAY, VLLM)])
async def test_a_cluster_gets_what_its_engine_can_carry_and_not_what_its_policy_claims(
    edge: RealEdge, cheap: str, dear: str
) -> None:
    """Each has 4 slots and is declared with 12: what Envoy sees in flight would fit; only the engine's queue tells."""
    edge.prices = {cheap: 0.1, dear: 1.0}
    edge.write_policy()

    async def all_cheap() -> bool:
        return (await edge.shares()).get(cheap) == 10_000

    await edge.until(all_cheap, "traffic is not where it is cheap")
    async with streams(edge, 10) as ended:

        async def told() -> bool:
            figures = await edge.figures(cheap)
            return figures is not None and figures["running"] == SLOTS and figures["waiting"] >= 2

        await edge.until(told, "the engine's own figures did not arrive", 60)

        async def learnt() -> bool:
            # Four of twelve, within some percent.
            trim: float = (await edge.cluster(cheap))["load"]["trim"]
            return 0.3 < trim < 0.4

        await edge.until(learnt, "the engine's queue taught nothing", 90)

        async def used() -> bool:
            return sum(stream.cluster == dear for stream in ended) > 3

        await edge.until(used, "requests did not follow what was learnt", 90)
        assert (await edge.shares())[dear] > 0
    assert [stream for stream in ended if not stream.whole] == []

    await edge.until(all_cheap, "traffic did not come back when the load had gone", 60)
