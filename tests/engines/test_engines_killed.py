"""An engine is killed in the middle of its answers."""

import asyncio

import pytest

from tests.e2e.traffic import served, traffic
from tests.engines.conftest import Engines
from tests.engines.real_edge import MODEL, RAY, VLLM, RealEdge, Stream

pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize("victim", [VLLM, RAY])
async def test_killing_an_engine_costs_the_streams_it_held_and_nothing_else(
    edge: RealEdge, engines: Engines, victim: str
) -> None:
    other = RAY if victim == VLLM else VLLM
    # Requests go to the victim by choice, so that its end is the worst it can be.
    edge.prices = {victim: 0.1, other: 1.0}
    edge.write_policy()

    async def chosen() -> bool:
        return (await edge.shares()).get(victim) == 10_000

    await edge.until(chosen, "traffic is not where it is cheap")
    held = {name: [Stream(), Stream()] for name in (victim, other)}
    tasks = [
        asyncio.create_task(stream.read(edge, f"{MODEL}-{name}", 1500))
        for name, streams in held.items()
        for stream in streams
    ]
    for streams in held.values():
        for stream in streams:
            async with asyncio.timeout(60):
                await stream.flowing.wait()
    async with traffic(edge, clients=2, tokens=8) as tally:
        await served(edge, tally, 4)
        assert tally.served_by[victim] > 0
        await asyncio.to_thread(engines.named(victim).kill)
        await served(edge, tally, 10)

        async def gone() -> bool:
            return (await edge.shares()).get(victim, 0) == 0

        await edge.until(gone, "the dead engine kept its weight")
        await served(edge, tally, 10)
        await asyncio.gather(*tasks)
        for stream in held[victim]:
            assert stream.lines
            assert not stream.whole
        for stream in held[other]:
            assert stream.whole, stream.error
            assert stream.cluster == other
        await asyncio.to_thread(engines.named(victim).ensure)
        await edge.until(chosen, "the engine did not get its traffic back", 120)
    assert not tally.failed
    assert tally.served_by[other] > 0
