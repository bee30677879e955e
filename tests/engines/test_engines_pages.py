"""The metrics pages of running engines: what they are called, and what Penstock reads off them."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from penstock.signals.engine_figures import Figures
from penstock.signals.engine_text import parse
from penstock_policies.words import Engine as Kind
from tests.demo.metrics_shape import shape
from tests.demo.test_demo_vllm_page import RECORDING, recorded
from tests.engines.conftest import SLOTS, Engines
from tests.engines.processes import Engine
from tests.engines.real_edge import MODEL

pytestmark = pytest.mark.timeout(600)

KINDS = {"vllm": Kind.VLLM, "ray": Kind.RAYSERVE}


def test_a_running_vllms_page_is_as_recorded(engines: Engines, tmp_path: Path) -> None:
    found = shape(engines.vllm.metrics, "vllm:")
    anew = tmp_path / RECORDING.name
    anew.write_text("\n".join(found) + "\n")
    assert found == recorded(), f"{RECORDING} is of another vLLM; what this one serves is in {anew}"


async def until(engine: Engine, condition: Callable[[Figures], bool], seconds: float = 30.0) -> Figures:
    """Read the page until it says so."""
    figures = Figures()
    try:
        async with asyncio.timeout(seconds):
            while not condition(figures):
                await asyncio.sleep(0.2)
                figures = parse(await asyncio.to_thread(lambda: engine.metrics), KINDS[engine.name])
    except TimeoutError:
        raise AssertionError(f"{engine.name} says {figures}") from None
    return figures


@pytest.mark.parametrize("name", ["vllm", "ray"])
async def test_more_streams_than_slots_run_and_wait_and_are_gone_when_their_clients_leave(
    engines: Engines, name: str
) -> None:
    engine = engines.named(name)
    # A Ray that has just started does not say yet that its replicas are well.
    idle = await until(engine, lambda figures: (figures.running, figures.waiting, figures.ready) == (0, 0, True))
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 1900,
        "ignore_eos": True,
        "stream": True,
    }
    async with aiohttp.ClientSession() as http:

        async def ask() -> None:
            async with http.post(f"{engine.url}/v1/chat/completions", json=body) as answer:
                async for _ in answer.content:
                    pass

        asked = [asyncio.create_task(ask()) for _ in range(SLOTS + 3)]
        busy = await until(engine, lambda figures: (figures.running, figures.waiting) == (SLOTS, 3))
        for each in asked:
            each.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        await until(engine, lambda figures: (figures.running, figures.waiting) == (0, 0))
    if name == "vllm":
        assert busy.models == (MODEL,)
        assert busy.prompt_tokens is not None
        assert idle.prompt_tokens is not None
        assert busy.prompt_tokens > idle.prompt_tokens
        assert busy.kv_used is not None
        assert 0 < busy.kv_used < 1
        assert busy.ttft
        assert busy.inter_token
        assert busy.prefix_lookups
    else:
        # It has no vLLM in it, so nobody counts tokens.
        assert (busy.prompt_tokens, busy.ttft) == (None, None)
