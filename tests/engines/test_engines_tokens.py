"""Tokens that running engines tell in their answers, and what they cost."""

import asyncio

import pytest

from tests.engines.real_edge import MODEL, RAY, VLLM, RealEdge, Stream

pytestmark = pytest.mark.timeout(600)

Tokens = tuple[int, int]
"""Prompt, output."""


async def ask(edge: RealEdge, name: str) -> Tokens:
    """Ask an engine, streaming and not; give the sum of what its answers say."""
    model = f"{MODEL}-{name}"
    streams = [Stream() for _ in range(3)]
    answers, *_ = await asyncio.gather(
        asyncio.gather(*(edge.chat(model=model, tokens=20) for _ in range(3))),
        *(stream.read(edge, model, 30, usage=True) for stream in streams),
    )
    assert all(stream.whole for stream in streams)
    told = [stream.usage for stream in streams] + [body["usage"] for _, _, body in answers]
    assert len(told) == 6
    return sum(usage["prompt_tokens"] for usage in told), sum(usage["completion_tokens"] for usage in told)


async def test_tokens_and_costs_are_those_of_the_engines_own_answers(edge: RealEdge) -> None:
    told = {name: await ask(edge, name) for name in (VLLM, RAY)}
    # Random weights may end a plain answer early, by chance; streams ignore that.
    assert all(prompt > 0 and output > 90 for prompt, output in told.values())

    async def counted() -> bool:
        items = (await edge.get("/api/v1/costs?by=cluster"))["items"]
        return {item["cluster"]: (item["tokens"]["prompt"], item["tokens"]["output"]) for item in items} == told

    await edge.until(counted, f"the ledger does not say {told}")
    for item in (await edge.get("/api/v1/costs?by=cluster,policy,model"))["items"]:
        name = item["cluster"]
        assert (item["policy"], item["model"]) == (f"only-{name}", f"{MODEL}-{name}")
        assert (item["requests"], item["failed"], item["unmetered"]) == (6, 0, 0)
        assert item["estimated"]["tokens"] == 0
        assert item["marginalUsd"] == pytest.approx(sum(told[name]) * edge.prices[name] / 1e6)


async def test_a_stream_that_does_not_tell_its_tokens_is_counted_as_unmetered(edge: RealEdge) -> None:
    stream = Stream()
    await stream.read(edge, f"{MODEL}-{VLLM}", 30)
    assert stream.whole
    assert stream.usage is None

    async def counted() -> bool:
        items = (await edge.get("/api/v1/costs?by=cluster"))["items"]
        return [(item["cluster"], item["requests"], item["unmetered"]) for item in items] == [(VLLM, 1, 1)]

    await edge.until(counted, "the ledger does not know of it")
