"""One generation against real sockets: engines as they are, and servers as nobody wishes them."""

import asyncio
import gzip
import json
import logging
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from penstock.signals.credentials import Keyring
from penstock.signals.endpoint_asking import Asker
from penstock.signals.generation_probe import Generated, GenerationProbe, GenerationTarget, Verdict, dearest
from penstock_policies.probing import Credential, Generation
from penstock_policies.schema import Endpoint
from tests.signals.hostile_servers import Speak, head, saying, speaking
from tests.signals.simulated_servers import serving

KEYS = {"PENSTOCK_SECRET_EU": "sk-very-secret"}
SSE = "content-type: text/event-stream"


@pytest.fixture
async def probe() -> AsyncIterator[GenerationProbe]:
    asker = Asker()
    yield GenerationProbe(asker, Keyring(environment=KEYS), random.Random(1))  # noqa: S311 - a test's own
    await asker.close()


def target(port: int, credential: Credential | None = None, **generation: Any) -> GenerationTarget:
    spec = Generation.model_validate({"timeout": "10s", **generation})
    return GenerationTarget(Endpoint(address="127.0.0.1", port=port), "llama", spec, credential)


def event(**fields: Any) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def chat(text: str | None, finish: str | None = None) -> bytes:
    return event(choices=[{"index": 0, "delta": {"content": text}, "finish_reason": finish}])


DONE = b"data: [DONE]\n\n"
USAGE = event(choices=[], usage={"prompt_tokens": 21, "completion_tokens": 3})


async def asked(probe: GenerationProbe, speak: Speak, **generation: Any) -> Generated:
    async with speaking(speak) as port:
        return await probe(target(port, **generation))


async def test_it_asks_for_a_few_tokens_after_a_number_that_is_another_each_time(probe: GenerationProbe) -> None:
    bodies: list[dict[str, Any]] = []

    async def handler(request: web.Request) -> web.Response:
        assert request.path == "/v1/chat/completions"
        bodies.append(await request.json())
        return web.Response(body=chat("Yes", "stop") + DONE, content_type="text/event-stream")

    async with serving(handler) as port:
        for _ in range(2):
            assert (await probe(target(port, prompt="Say no."))).verdict is Verdict.GOOD
    prompts = [body.pop("messages") for body in bodies]
    assert bodies == 2 * [
        {"model": "llama", "max_tokens": 4, "stream": True, "stream_options": {"include_usage": True}}
    ]
    texts = [prompt[0]["content"] for prompt in prompts]
    assert all(text.endswith(" Say no.") for text in texts)
    assert texts[0] != texts[1]


async def test_completions_and_the_name_of_the_limit_are_the_policys(probe: GenerationProbe) -> None:
    bodies: list[dict[str, Any]] = []

    async def handler(request: web.Request) -> web.Response:
        bodies.append({"path": request.path, **await request.json()})
        text = event(choices=[{"index": 0, "text": "Yes", "finish_reason": "length"}])
        return web.Response(body=text + DONE, content_type="text/event-stream")

    async with serving(handler) as port:
        assert (await probe(target(port, api="completions"))).verdict is Verdict.GOOD
        other = {"path": "/serve/v1/completions", "limitField": "max_completion_tokens", "maxTokens": 7}
        assert (await probe(target(port, None, api="completions", **other))).verdict is Verdict.GOOD
    assert [body["path"] for body in bodies] == ["/v1/completions", "/serve/v1/completions"]
    assert (bodies[0]["max_tokens"], bodies[1]["max_completion_tokens"]) == (4, 7)
    assert bodies[0]["prompt"].endswith("Say yes.")


async def test_the_first_token_is_timed_and_not_what_comes_before_it(probe: GenerationProbe) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        # A role without text, and a keep-alive comment, are no tokens.
        await response.write(b": ping\n\n" + chat(""))
        await asyncio.sleep(0.05)
        await response.write(chat("Yes") + chat(None, "stop") + USAGE + DONE)
        return response

    async with serving(handler) as port:
        generated = await probe(target(port))
    assert generated.ttft is not None
    assert generated.ttft >= 0.05
    assert (generated.prompt_tokens, generated.output_tokens) == (21, 3)


@pytest.mark.parametrize(
    "answer",
    [
        head(SSE) + event(choices=[{"delta": {"reasoning_content": "Hm"}, "finish_reason": "length"}]) + DONE,
        head(SSE) + event(choices=[{"delta": {"reasoning": "Hm"}, "finish_reason": "length"}]),
        head(SSE) + chat("Yes") + chat(None, "length"),
        head(SSE) + chat("Yes", "stop").replace(b"\n", b"\r\n") + DONE,
        head(SSE) + chat("", "length") + USAGE + DONE,
        head(SSE) + chat("Yes") + DONE.rstrip(),
        head("content-type: application/json")
        + json.dumps({"choices": [{"message": {"content": "Yes"}, "finish_reason": "stop"}]}).encode(),
    ],
    ids=["reasoning", "no done", "finish apart", "crlf", "tokens without text", "no last line end", "not streamed"],
)
async def test_engines_that_differ_are_understood(probe: GenerationProbe, answer: bytes) -> None:
    assert (await asked(probe, saying(answer))).verdict is Verdict.GOOD


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (head(SSE), "answers without a token"),
        (head(SSE) + chat("") + DONE, "answers without a token"),
        (head(SSE) + chat("Yes"), "the answer ends in the middle"),
        (head(SSE) + b"data: {\n\n", "answers with something else than JSON"),
        (head(SSE) + b"data: [1]\n\n", "answers with something else than a generation"),
        (head(SSE) + b"data: " + b"[" * 100_000 + b"\n\n", "answers with something else than JSON"),
        (head(SSE) + event(choices={"a": 1}, usage=[1]) + event(choices=[1, None]) + DONE, "answers without a token"),
        (head(SSE) + chat("Yes") + event(error={"message": "CUDA"}), "the engine tells of an error within its answer"),
        (head("content-type: text/html") + b"<html>sign in</html>", "answers with something else than JSON"),
        (head(SSE, "content-length: 900") + chat("Yes"), "the answer was cut off"),
        (head(SSE, "transfer-encoding: chunked") + b"zz\r\n", "the answer is no HTTP"),
        (b"SSH-2.0-OpenSSH_9.7\r\n\r\n", "the answer is no HTTP"),
        (b"", "the answer was cut off"),
        (head(status="404 Not Found"), "HTTP 404, it does not serve the model or the interface"),
        (head(status="500 Oh"), "HTTP 500"),
        (head(status="503 Oh"), "HTTP 503"),
        (head("location: http://169.254.169.254/latest/meta-data/", status="307 There"), "HTTP 307"),
        (
            head(SSE, "content-encoding: gzip") + gzip.compress(chat("Yes") * 1_000_000, 1)[:5000],
            "answers compressed, unasked",
        ),
    ],
)
async def test_what_is_no_generation_has_failed_and_says_why(probe: GenerationProbe, answer: bytes, why: str) -> None:
    generated = await asked(probe, saying(answer))
    assert (generated.verdict, generated.detail) == (Verdict.FAILED, f"generation: {why}")


@pytest.mark.parametrize(
    ("again", "every", "why"),
    [
        (chat("Yes") * 200, 0.0, "answers with more than 262144 bytes"),
        (b"x" * 65536, 0.0, "answers with more than 262144 bytes"),
        (b": ping\n\n", 0.01, "no answer within 0.3 s"),
        (b"x", 0.01, "no answer within 0.3 s"),
    ],
    ids=["endless tokens", "endless line", "endless pings", "slow drip"],
)
async def test_an_answer_without_end_is_cut_off(probe: GenerationProbe, again: bytes, every: float, why: str) -> None:
    timeout = "300ms" if every else "10s"
    generated = await asked(probe, saying(head(SSE), again=again, every=every), timeout=timeout)
    assert (generated.verdict, generated.detail) == (Verdict.FAILED, f"generation: {why}")


async def test_garbage_of_every_kind_is_a_failure_and_never_an_exception(probe: GenerationProbe) -> None:
    chance = random.Random(7)  # noqa: S311 - a test's own
    good = head(SSE) + chat("Yes") + chat(None, "stop") + USAGE + DONE
    for _ in range(150):
        spoilt = bytearray(good[: chance.randrange(len(good) + 1)])
        for _ in range(chance.randrange(6)):
            if spoilt:
                spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
        generated = await asked(probe, saying(bytes(spoilt)))
        assert generated.verdict in set(Verdict) - {Verdict.UNKNOWN}
        assert len(generated.detail) <= 220


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (head(status="401 No"), Verdict.REFUSED),
        (head(status="403 No"), Verdict.REFUSED),
        (head(status="429 Slow"), Verdict.LIMITED),
        (head("retry-after: 2", status="503 Busy"), Verdict.LIMITED),
        (head(status="400 What"), Verdict.UNFIT),
        (head(status="422 What"), Verdict.UNFIT),
    ],
)
async def test_refusals_that_say_nothing_of_generating_cost_and_prove_nothing(
    probe: GenerationProbe, answer: bytes, verdict: Verdict
) -> None:
    generated = await asked(probe, saying(answer))
    assert (generated.verdict, generated.prompt_tokens, generated.output_tokens) == (verdict, 0, 0)
    assert generated.detail.startswith("generation: HTTP")


async def test_no_connection_is_for_the_shallower_probes_to_tell(probe: GenerationProbe) -> None:
    async with speaking(saying(b"")) as port:
        pass
    generated = await probe(target(port))
    assert (generated.verdict, generated.detail) == (Verdict.UNREACHED, "tcp: connection refused")


@pytest.mark.parametrize("usage", [{"prompt_tokens": 10**12, "completion_tokens": 1}, {"prompt_tokens": -5}, "many"])
async def test_a_count_that_cannot_be_true_is_replaced_by_ours(probe: GenerationProbe, usage: object) -> None:
    answer = head(SSE) + chat("Yes", "stop") + event(choices=[], usage=usage) + DONE
    generated = await asked(probe, saying(answer))
    assert (generated.prompt_tokens, generated.output_tokens) == dearest(Generation())


async def test_the_key_is_sent_and_shown_nowhere(probe: GenerationProbe, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.headers["Authorization"])
        return web.Response(status=401, text=request.headers["Authorization"])

    with caplog.at_level(logging.DEBUG):
        async with serving(handler) as port:
            generated = await probe(target(port, Credential(env="PENSTOCK_SECRET_EU")))
    assert seen == ["Bearer sk-very-secret"]
    assert "secret" not in repr(generated) + caplog.text


async def test_without_its_key_nothing_is_asked(probe: GenerationProbe) -> None:
    async with speaking(saying(b"")) as port:
        generated = await probe(target(port, Credential(env="PENSTOCK_SECRET_US")))
    assert (generated.verdict, generated.detail) == (Verdict.REFUSED, "variable PENSTOCK_SECRET_US is not set")
