"""What a running vLLM answers, where Penstock and Envoy rely on it."""

import json
from typing import Any

import aiohttp
import pytest

from tests.engines.conftest import Engines
from tests.engines.real_edge import MODEL

pytestmark = pytest.mark.timeout(600)


async def ask(url: str, model: str = MODEL, **more: Any) -> tuple[int, dict[str, str], str]:
    """One request: status, headers, body."""
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 5, "ignore_eos": True}
    headers = {"endpoint-load-metrics-format": "TEXT"}
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{url}/v1/chat/completions", json=body | more, headers=headers) as answer,
    ):
        return answer.status, {name.lower(): value for name, value in answer.headers.items()}, await answer.text()


def events(text: str) -> list[Any]:
    """What a stream said, but for its end."""
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


async def test_a_vllm_tells_its_load_on_plain_answers_and_not_on_streams(engines: Engines) -> None:
    status, headers, body = await ask(engines.vllm.url)
    assert (status, headers["content-type"]) == (200, "application/json")
    assert json.loads(body)["usage"]["completion_tokens"] == 5
    assert headers["endpoint-load-metrics"].startswith("TEXT named_metrics.")
    told = dict(part.split("=") for part in headers["endpoint-load-metrics"].removeprefix("TEXT ").split(", "))
    assert told.keys() == {"named_metrics.num_requests_waiting", "named_metrics.kv_cache_usage_perc"}
    status, headers, _ = await ask(engines.vllm.url, stream=True)
    assert status == 200
    assert "endpoint-load-metrics" not in headers


async def test_a_vllm_tells_the_usage_of_a_stream_only_where_asked(engines: Engines) -> None:
    _, headers, text = await ask(engines.vllm.url, stream=True)
    assert headers["content-type"].startswith("text/event-stream")
    assert not any(event.get("usage") for event in events(text))
    _, _, text = await ask(engines.vllm.url, stream=True, stream_options={"include_usage": True})
    *before, last = events(text)
    assert not any(event.get("usage") for event in before)
    assert (last["choices"], last["usage"]["completion_tokens"]) == ([], 5)


async def test_a_vllm_does_not_know_a_model_that_it_does_not_serve(engines: Engines) -> None:
    status, _, body = await ask(engines.vllm.url, model="another")
    assert status == 404
    error = json.loads(body)["error"]
    assert (error["type"], error["param"], error["code"]) == ("NotFoundError", "model", 404)
    async with aiohttp.ClientSession() as http, http.get(f"{engines.vllm.url}/v1/models") as answer:
        assert [model["id"] for model in (await answer.json())["data"]] == [MODEL, f"{MODEL}-vllm"]
