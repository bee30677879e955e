"""Three client libraries, streaming and not, through Envoy to each engine."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.engines.processes import CLIENTS, ROOT, environment
from tests.engines.real_edge import MODEL, RAY, VLLM, RealEdge

pytestmark = pytest.mark.timeout(600)

CALLERS = ROOT / "tests" / "engines" / "programs" / "callers.py"
TOKENS = 12
"""As the callers ask."""


async def call(edge: RealEdge, home: Path, *models: str) -> list[dict[str, Any]]:
    """What the three libraries got."""
    process = await asyncio.create_subprocess_exec(
        "nice", "-n", "10", str(CLIENTS), str(CALLERS), edge.url, *models,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment(home),
    )  # fmt: skip
    try:
        async with asyncio.timeout(180):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()[-4000:]
    return [json.loads(line) for line in out.splitlines()]


async def test_every_client_library_is_answered_by_every_engine_streaming_and_not(
    edge: RealEdge, tmp_path: Path
) -> None:
    answers = await call(edge, tmp_path, f"{MODEL}-{VLLM}", f"{MODEL}-{RAY}")
    seen = {(answer["library"], answer["model"], answer["stream"]) for answer in answers}
    assert seen == {
        (library, f"{MODEL}-{name}", stream)
        for library in ("openai", "langchain", "llama_index")
        for name in (VLLM, RAY)
        for stream in (False, True)
    }
    for answer in answers:
        assert answer["text"], answer
        if answer["model"].endswith(RAY):
            # What the application says is known; a model of random weights says anything.
            assert answer["text"].split() == [f"w{number}" for number in range(TOKENS)], answer
        asked_for_usage = answer.get("wanted", answer["library"] != "llama_index" or not answer["stream"])
        assert answer["usage"] == (TOKENS if asked_for_usage else None), answer
