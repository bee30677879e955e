"""A vLLM within Ray Serve, by the page of Ray's node."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from bench.ports import free_ports
from tests.engines import tiny_llama
from tests.engines.conftest import SLOTS, short_directory
from tests.engines.processes import ROOT, SERVERS, Engine, environment
from tests.engines.real_edge import MODEL
from tests.engines.test_engines_pages import until

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def ray_vllm(tmp_path: Path) -> Iterator[Engine]:
    """The application, running."""
    tiny_llama.write(tmp_path / "model")
    short = short_directory()
    port, metrics_port = free_ports(2)
    engine = Engine(
        "ray",
        [str(SERVERS), str(ROOT / "tests" / "engines" / "programs" / "ray_vllm_app.py"),
         str(port), str(metrics_port), str(short), str(SLOTS), str(tmp_path / "model"), MODEL],
        port=port, metrics_port=metrics_port, log=tmp_path / "ray.log", env=environment(tmp_path),
    )  # fmt: skip
    try:
        engine.ensure()
        yield engine
    finally:
        engine.kill()
        shutil.rmtree(short, ignore_errors=True)


async def test_a_vllm_in_ray_serve_tells_of_its_queue_and_tokens_and_serve_of_its_own_queue(ray_vllm: Engine) -> None:
    async with aiohttp.ClientSession() as http:
        # The engine works on four, two wait in it, and the replica takes no more: three wait in Serve.
        asked = [asyncio.create_task(http.get(f"{ray_vllm.url}/generate")) for _ in range(SLOTS + 5)]
        busy = await until(ray_vllm, lambda figures: (figures.running, figures.waiting) == (SLOTS, 5))
        for each in asked:
            each.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
    assert busy.models == (MODEL,)
    assert busy.prompt_tokens
    assert busy.output_tokens
    assert busy.kv_used
    assert busy.ttft
    assert busy.inter_token
