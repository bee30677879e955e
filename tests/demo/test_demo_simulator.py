"""The simulated endpoint over real sockets."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator

import aiohttp
import pytest

from penstock.demo.receipts import RESTRICTED_MARKER
from penstock.demo.simulator import Fault, FaultMode, SimulatedEndpoint, SimulatorOptions


@pytest.fixture
async def endpoint() -> AsyncIterator[SimulatedEndpoint]:
    options = SimulatorOptions(
        "cloud-eu", slots=4, tokens_per_second=8000, sequence_tokens_per_second=2000, queue_limit=2
    )
    async with SimulatedEndpoint(options, wall_clock=lambda: 1_700_000_000.0) as started:
        yield started


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


def chat(prompt: str = "How does a penstock work?", **more: object) -> dict[str, object]:
    return {"model": "llama-3-70b", "messages": [{"role": "user", "content": prompt}], "max_tokens": 8, **more}


async def test_chat_answers_as_openai_does_and_always_the_same(
    endpoint: SimulatedEndpoint, client: aiohttp.ClientSession
) -> None:
    answers = []
    for _ in range(2):
        async with client.post(f"{endpoint.url}/v1/chat/completions", json=chat()) as response:
            assert response.status == 200
            answers.append(await response.json())
    assert answers[0]["object"] == "chat.completion"
    assert answers[0]["created"] == 1_700_000_000
    assert answers[0]["usage"] == {"prompt_tokens": 6, "completion_tokens": 8, "total_tokens": 14}
    contents = {answer["choices"][0]["message"]["content"] for answer in answers}
    assert len(contents) == 1
    assert len(contents.pop().split()) == 8


async def test_a_stream_carries_one_chunk_a_token_then_usage_then_done(
    endpoint: SimulatedEndpoint, client: aiohttp.ClientSession
) -> None:
    body = chat(stream=True, stream_options={"include_usage": True})
    async with client.post(f"{endpoint.url}/v1/chat/completions", json=body) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = (await response.text()).strip().split("\n\n")
    assert events[-1] == "data: [DONE]"
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-1]]
    assert len(chunks) == 9
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[7]["choices"][0]["finish_reason"] == "length"
    assert (chunks[8]["choices"], chunks[8]["usage"]["completion_tokens"]) == ([], 8)


async def test_completions_models_version_and_bad_requests(
    endpoint: SimulatedEndpoint, client: aiohttp.ClientSession
) -> None:
    completions = f"{endpoint.url}/v1/completions"
    async with client.post(completions, json={"model": "llama-3-70b", "prompt": "gate", "max_tokens": 3}) as response:
        answer = await response.json()
        assert (answer["object"], answer["usage"]["completion_tokens"]) == ("text_completion", 3)
    async with client.post(completions, json={"model": "other", "prompt": "gate"}) as response:
        assert response.status == 404
    for bad in (b"", b"[]", b'{"model": 3}', b'{"model": "llama-3-70b", "prompt": "x", "max_tokens": 0}'):
        async with client.post(completions, data=bad) as response:
            assert response.status == 400
            assert (await response.json())["error"]["code"] == 400
    async with client.get(f"{endpoint.url}/v1/models") as response:
        assert [model["id"] for model in (await response.json())["data"]] == ["llama-3-70b"]
    async with client.get(f"{endpoint.url}/version") as response:
        assert "simulated" in (await response.json())["version"]


async def test_metrics_have_vllms_names_and_count_what_was_served(
    endpoint: SimulatedEndpoint, client: aiohttp.ClientSession
) -> None:
    async with client.post(f"{endpoint.url}/v1/chat/completions", json=chat()):
        pass
    async with client.get(f"{endpoint.url}/metrics") as response:
        text = await response.text()
    labels = '{engine="0",model_name="llama-3-70b"}'
    for line in (
        f"vllm:num_requests_running{labels} 0.0",
        f"vllm:num_requests_waiting{labels} 0.0",
        f"vllm:kv_cache_usage_perc{labels} 0.0",
        f"vllm:prompt_tokens_total{labels} 6.0",
        f"vllm:generation_tokens_total{labels} 8.0",
        f"vllm:time_to_first_token_seconds_count{labels} 1.0",
        f"vllm:inter_token_latency_seconds_count{labels} 7.0",
        f"vllm:e2e_request_latency_seconds_count{labels} 1.0",
        'vllm:request_success_total{engine="0",finished_reason="length",model_name="llama-3-70b"} 1.0',
    ):
        assert line in text


async def test_load_is_reported_in_the_answer_when_asked_for(
    endpoint: SimulatedEndpoint, client: aiohttp.ClientSession
) -> None:
    url = f"{endpoint.url}/v1/chat/completions"
    async with client.post(url, json=chat(), headers={"endpoint-load-metrics-format": "TEXT"}) as response:
        report = response.headers["endpoint-load-metrics"]
    assert report == "TEXT named_metrics.num_requests_waiting=0.0, named_metrics.kv_cache_usage_perc=0.0"
    async with client.post(url, json=chat()) as response:
        assert "endpoint-load-metrics" not in response.headers


async def test_a_full_line_answers_429_with_retry_after(
    endpoint: SimulatedEndpoint, client: aiohttp.ClientSession
) -> None:
    async def ask() -> tuple[int, str | None]:
        async with client.post(f"{endpoint.url}/v1/chat/completions", json=chat(max_tokens=400)) as response:
            return response.status, response.headers.get("retry-after")

    results = await asyncio.gather(*(ask() for _ in range(9)))
    assert sorted(results, key=str) == [(200, None)] * 6 + [(429, "1")] * 3


async def test_a_client_that_leaves_frees_its_slot(endpoint: SimulatedEndpoint, client: aiohttp.ClientSession) -> None:
    with pytest.raises(TimeoutError):
        async with client.post(
            f"{endpoint.url}/v1/chat/completions",
            json=chat(max_tokens=4096),
            timeout=aiohttp.ClientTimeout(total=0.05),
        ):
            pass
    metrics = ""
    async with asyncio.timeout(10):
        while " 0.0" not in metrics:
            async with client.get(f"{endpoint.url}/metrics") as response:
                lines = (await response.text()).splitlines()
            metrics = next(line for line in lines if line.startswith("vllm:num_requests_running"))


async def test_receipts_count_each_class_by_its_strictest_mark(
    endpoint: SimulatedEndpoint, client: aiohttp.ClientSession
) -> None:
    url = f"{endpoint.url}/v1/chat/completions"
    marked = json.dumps(chat(f"{RESTRICTED_MARKER.decode()} who is patient 12?")).encode()
    for headers, body in (
        ({}, json.dumps(chat()).encode()),
        ({"x-demo-class": "public"}, json.dumps(chat()).encode()),
        ({"x-data-class": "public", "x-demo-class": "restricted"}, json.dumps(chat()).encode()),
        ({"x-data-class": "public"}, marked),
    ):
        async with client.post(url, data=body, headers=headers):
            pass
    async with client.get(f"{endpoint.control_url}/simulator/counters") as response:
        counters = await response.json()
    assert counters["requests"] == {"public": 1, "internal": 0, "restricted": 2, "unmarked": 1}
    assert counters["bytes"]["restricted"] == len(json.dumps(chat())) + len(marked)


async def test_receipts_count_what_a_fault_refused(endpoint: SimulatedEndpoint, client: aiohttp.ClientSession) -> None:
    await endpoint.set_fault(Fault(FaultMode.ERROR_503))
    async with client.post(f"{endpoint.url}/v1/chat/completions", json=chat(), headers={"x-demo-class": "restricted"}):
        pass
    assert endpoint.counters()["requests"]["restricted"] == 1


@pytest.mark.parametrize(
    ("mode", "health", "inference"), [(FaultMode.ERROR_503, 503, 503), (FaultMode.ERROR_429, 200, 429)]
)
async def test_error_faults_answer_as_named_and_end_when_switched_off(
    endpoint: SimulatedEndpoint, client: aiohttp.ClientSession, mode: FaultMode, health: int, inference: int
) -> None:
    async def statuses() -> tuple[int, int]:
        async with client.get(f"{endpoint.url}/health") as response:
            first = response.status
        async with client.post(f"{endpoint.url}/v1/chat/completions", json=chat()) as response:
            return first, response.status

    async with client.post(f"{endpoint.control_url}/simulator/fault", json={"mode": str(mode)}) as response:
        assert response.status == 200
    assert await statuses() == (health, inference)
    async with client.post(f"{endpoint.url}/simulator/fault", json={"mode": "none"}) as response:
        assert response.status == 200
    assert await statuses() == (200, 200)


async def test_an_unknown_fault_is_refused(endpoint: SimulatedEndpoint, client: aiohttp.ClientSession) -> None:
    async with client.post(f"{endpoint.control_url}/simulator/fault", json={"mode": "explode"}) as response:
        assert response.status == 400
    assert endpoint.fault == Fault()


async def test_a_hanging_endpoint_answers_nothing_until_it_recovers(
    endpoint: SimulatedEndpoint, client: aiohttp.ClientSession
) -> None:
    await endpoint.set_fault(Fault(FaultMode.HANG))
    asked = asyncio.create_task(client.get(f"{endpoint.url}/health"))
    async with client.get(f"{endpoint.control_url}/simulator/counters"):
        assert not asked.done()
    await endpoint.set_fault(Fault())
    async with await asked as response:
        assert response.status == 200


async def test_a_refusing_endpoint_cuts_everything_and_comes_back_on_the_same_port(
    endpoint: SimulatedEndpoint, client: aiohttp.ClientSession
) -> None:
    port = endpoint.port
    async with client.post(f"{endpoint.url}/v1/chat/completions", json=chat(stream=True, max_tokens=4000)) as streaming:
        await streaming.content.readline()
        await endpoint.set_fault(Fault(FaultMode.REFUSE))
        with pytest.raises(aiohttp.ClientError):
            await streaming.read()
    with pytest.raises(aiohttp.ClientConnectorError):
        await client.get(f"{endpoint.url}/health")
    await endpoint.set_fault(Fault())
    assert endpoint.port == port
    async with client.get(f"{endpoint.url}/health") as response:
        assert response.status == 200


async def test_an_outage_can_spare_the_answers_under_way(
    endpoint: SimulatedEndpoint, client: aiohttp.ClientSession
) -> None:
    url = f"{endpoint.url}/v1/chat/completions"
    waiting = asyncio.create_task(client.post(url, json=chat(max_tokens=4000)))
    async with client.post(url, json=chat(stream=True, max_tokens=400)) as streaming:
        await streaming.content.readline()
        await endpoint.set_fault(Fault(FaultMode.REFUSE, cut_streams=False))
        assert (await streaming.text()).endswith("data: [DONE]\n\n")
    with pytest.raises(aiohttp.ClientError):
        await waiting


async def test_the_process_says_its_ports_serves_and_ends_with_its_parent(client: aiohttp.ClientSession) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "penstock.demo.simulator", "--name", "onprem", "--slots", "4", "--until-stdin-closes"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        announced = json.loads(await process.stdout.readline())
        assert (announced["name"], announced["pid"]) == ("onprem", process.pid)
        async with client.get(f"http://127.0.0.1:{announced['port']}/health") as response:
            assert response.status == 200
        process.stdin.close()
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
