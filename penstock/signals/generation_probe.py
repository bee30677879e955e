"""One generation of a few tokens by one endpoint: does it generate, and how soon does the first token come.

What is asked is a constant of the policy after a number drawn anew each time. Without that number a response cache in
front of an engine could answer for it, and a prefix cache would make the time to the first token look better than a
user's. Nothing of the answer is kept but times and counts.
"""

import asyncio
import math
import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import aiohttp
import orjson

from penstock.signals.credentials import CredentialError, Keyring
from penstock.signals.endpoint_asking import Asker
from penstock.signals.generation_stream import BadAnswerError, GenerationReader
from penstock.signals.questions import AskError, HeldUpError, Layer, Question
from penstock_policies.probing import Credential, Generation
from penstock_policies.schema import Endpoint

PATHS: Final = {"chat": "/v1/chat/completions", "completions": "/v1/completions"}

FRAME_TOKENS: Final = 32
"""What chat templates and the number before it add to a prompt, at most."""

BYTES_A_TOKEN: Final = 2
"""Of a prompt, at least: tokenizers make three or four of English and fewer of other scripts."""

MOST_BELIEVED: Final = 4
"""Times what a generation may cost by our own count, up to which the engine's own is believed."""


class Verdict(StrEnum):
    """What one generation says of an endpoint."""

    GOOD = "good"
    FAILED = "failed"
    """It took the request and gave no answer that is one."""
    LIMITED = "limited"
    """It is asked for too much: 429, or 503 with Retry-After."""
    REFUSED = "refused"
    """Our key is refused or cannot be had: nothing is known of the endpoint."""
    UNFIT = "unfit"
    """It does not understand what is asked (400 and the like): more likely the policy's mistake than its own."""
    UNREACHED = "unreached"
    """There was no connection, which is for the shallower probes to tell."""
    UNKNOWN = "unknown"
    """This process was held up."""


@dataclass(frozen=True, slots=True)
class Generated:
    """One generation."""

    verdict: Verdict
    detail: str = ""
    """What was wrong, for people; empty when nothing was."""
    ttft: float | None = None
    """Seconds from sending to the first token; None where the answer did not come as a stream."""
    prompt_tokens: int = 0
    output_tokens: int = 0
    """What it cost: by the engine's count, else by ours, which is too high rather than too low."""


@dataclass(frozen=True, slots=True)
class GenerationTarget:
    """Whom to ask, and what."""

    endpoint: Endpoint
    model: str
    generation: Generation
    credential: Credential | None = None


def dearest(generation: Generation) -> tuple[int, int]:
    """Return the prompt and output tokens that a generation may cost, rather too many than too few."""
    prompt = math.ceil(len(generation.prompt.encode()) / BYTES_A_TOKEN) + FRAME_TOKENS
    return prompt, generation.max_tokens


def request_body(target: GenerationTarget, number: int) -> bytes:
    """Write the request."""
    generation = target.generation
    text = f"{number:08x} {generation.prompt}"
    asked: dict[str, object] = (
        {"messages": [{"role": "user", "content": text}]} if generation.api == "chat" else {"prompt": text}
    )
    return orjson.dumps(
        {
            "model": target.model,
            **asked,
            generation.limit_field: generation.max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    )


class GenerationProbe:
    """Asks for generations, over the asker's session."""

    def __init__(self, asker: Asker, keyring: Keyring, chance: random.Random) -> None:
        self._asker = asker
        self._keyring = keyring
        self._chance = chance

    async def __call__(self, target: GenerationTarget) -> Generated:
        """Ask once. Never raises for what the endpoint does."""
        generation = target.generation
        try:
            key = None if target.credential is None else await self._keyring.header(target.credential)
        except CredentialError as error:
            return Generated(Verdict.REFUSED, str(error))
        question = Question(
            endpoint=target.endpoint,
            layer=Layer.GENERATION,
            path=generation.path or PATHS[generation.api],
            timeout=generation.timeout,
            key=key,
            body=request_body(target, self._chance.getrandbits(32)),
            headers={"accept": "text/event-stream, application/json;q=0.5"},
        )
        prompt, output = dearest(generation)
        try:
            return await self._ask(question, generation)
        except HeldUpError as error:
            return Generated(Verdict.UNKNOWN, str(error), None, prompt, output)
        except BadAnswerError as error:
            return Generated(Verdict.FAILED, f"{Layer.GENERATION}: {error}", None, prompt, output)
        except AskError as error:
            detail = f"{error.layer}: {error}"
            if error.layer is Layer.GENERATION:
                return Generated(Verdict.FAILED, detail, None, prompt, output)
            return Generated(Verdict.UNREACHED, detail)

    async def _ask(self, question: Question, generation: Generation) -> Generated:
        loop = asyncio.get_running_loop()
        async with self._asker.answer(question) as reply:
            response = reply.response
            if response.status != 200:
                return _judge_status(response, generation)
            if response.headers.get("content-encoding", "identity") != "identity":
                raise BadAnswerError("answers compressed, unasked")
            streamed = response.content_type == "text/event-stream"
            reader = GenerationReader(streamed=streamed)
            ttft: float | None = None
            async for data in response.content.iter_any():
                reader.feed(data)
                if streamed and reader.begun and ttft is None:
                    ttft = loop.time() - reply.sent_at
                if reader.done:
                    break
            reader.finish()
        return Generated(Verdict.GOOD, "", ttft, *_cost(reader.usage, generation))


def _judge_status(response: aiohttp.ClientResponse, generation: Generation) -> Generated:
    status = response.status
    told = f"{Layer.GENERATION}: HTTP {status}"
    if status in {401, 403}:
        return Generated(Verdict.REFUSED, f"{told}, the key is refused")
    if status == 429 or (status == 503 and "retry-after" in response.headers):
        return Generated(Verdict.LIMITED, f"{told}, alive and at its limit")
    if 400 <= status < 500 and status not in {404, 408}:
        return Generated(Verdict.UNFIT, f"{told}, the request is not understood")
    if status == 404:
        told = f"{told}, it does not serve the model or the interface"
    # Who answers with an error has perhaps generated; who does not know the model or redirects has not.
    return Generated(Verdict.FAILED, told, None, *(dearest(generation) if status >= 500 else (0, 0)))


def _cost(usage: tuple[int, int] | None, generation: Generation) -> tuple[int, int]:
    ours = dearest(generation)
    if usage is None or sum(usage) > MOST_BELIEVED * sum(ours):
        return ours
    return usage
