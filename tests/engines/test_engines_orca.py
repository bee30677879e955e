"""What a running vLLM says of its load in its answers (ORCA), told by Envoy, where its metrics page is out of reach."""

import asyncio

import pytest

from tests.engines.conftest import SLOTS
from tests.engines.real_edge import MODEL, VLLM, RealEdge

pytestmark = pytest.mark.timeout(600)


async def test_a_vllms_queue_is_known_from_its_answers_alone_and_no_client_is_told(edge: RealEdge) -> None:
    edge.metrics_path = "/nowhere"
    edge.write_policy()

    async def blind() -> bool:
        return await edge.figures(VLLM) is None

    await edge.until(blind, "there are figures without a page to read them from")

    async def client() -> None:
        while True:
            status, headers, _ = await edge.chat(model=f"{MODEL}-{VLLM}", tokens=20)
            assert status == 200
            assert "endpoint-load-metrics" not in headers

    asked = [asyncio.create_task(client()) for _ in range(3 * SLOTS)]
    try:

        async def told() -> bool:
            assert not any(each.done() for each in asked)
            figures = await edge.figures(VLLM)
            return figures is not None and figures["running"] is None and figures["waiting"] > 1

        await edge.until(told, "Envoy reported nothing of what the engine says", 60)
    finally:
        for each in asked:
            each.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
