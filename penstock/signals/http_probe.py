"""One probe of one endpoint, as far up as it is told to go: TCP, TLS, ``/health``, ``/v1/models``.

Of ``/health`` the status alone counts and the body is never read. The list of models is read whole, within its bounds.
"""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Final, Self

import aiohttp

from penstock.signals.credentials import CredentialError, Keyring, Secret
from penstock.signals.endpoint_asking import Asker
from penstock.signals.model_list import ABSENT, MOST_BYTES, NoModelListError, missing_models
from penstock.signals.probe_count import Answer, ProbeResult, judge_status
from penstock.signals.questions import AskError, HeldUpError, Layer, Question
from penstock_policies.probing import Credential
from penstock_policies.schema import Endpoint
from penstock_policies.words import Engine

MOST_TOLD: Final = 3
"""Missing models that are named in one line."""


@dataclass(frozen=True, slots=True)
class Target:
    """What to ask, and for how long to wait."""

    endpoint: Endpoint
    path: str
    timeout: float
    """Seconds for each question, the whole of connecting, TLS and what is read of the answer."""
    models: tuple[str, ...] = ()
    """Which models to look for; none: the endpoint is not asked for its list."""
    engine: Engine = Engine.VLLM
    credential: Credential | None = None


@dataclass(slots=True)
class HttpProbe:
    """Probes. Use as a context manager, on the event loop."""

    keyring: Keyring = field(default_factory=Keyring)
    asker: Asker = field(default_factory=Asker)

    async def close(self) -> None:
        """Close what the probes went by."""
        await self.asker.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def __call__(self, target: Target) -> ProbeResult:
        """Probe once. Never raises for what the endpoint does."""
        key, without = await self._key(target)
        result = await self._ask(Question(target.endpoint, Layer.HEALTH, target.path, target.timeout, key), target)
        if target.models and result.answer is Answer.ALIVE and not result.limited:
            question = Question(target.endpoint, Layer.MODELS, "/v1/models", target.timeout, key)
            upper = await self._ask(question, target)
            # What /health took is the figure that compares; an alarm of it must not be lost.
            result = replace(upper, latency=result.latency, credential=result.credential or upper.credential)
        return replace(result, credential=without) if without else result

    async def _key(self, target: Target) -> tuple[tuple[str, Secret] | None, str]:
        """Find the key to show; without one, the probe is made all the same, and it is told why there is none."""
        if target.credential is None:
            return None, ""
        try:
            return await self.keyring.header(target.credential), ""
        except CredentialError as error:
            return None, str(error)

    async def _ask(self, question: Question, target: Target) -> ProbeResult:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            async with self.asker.answer(question) as reply:
                latency = loop.time() - begun
                if question.layer is Layer.MODELS:
                    return await _judge_models(reply.response, latency, target)
                # The body is never read: leaving the block closes the connection.
                return judge_status(reply.response.status, latency)
        except HeldUpError as error:
            return ProbeResult(Answer.UNKNOWN, detail=str(error), layer=question.layer)
        except AskError as error:
            return ProbeResult(Answer.FAILED, detail=f"{error.layer}: {error}", layer=error.layer)


async def _judge_models(response: aiohttp.ClientResponse, latency: float, target: Target) -> ProbeResult:
    if response.status in ABSENT:
        return ProbeResult(Answer.ALIVE, latency, layer=Layer.MODELS)
    judged = judge_status(response.status, latency, Layer.MODELS)
    if not 200 <= response.status < 300:
        return judged
    try:
        missing = missing_models(await _content(response), target.models, target.engine)
    except NoModelListError as error:
        return replace(judged, answer=Answer.FAILED, detail=f"{Layer.MODELS}: {error}")
    if not missing:
        return replace(judged, missing=())
    more = f" and {len(missing) - MOST_TOLD} more" if len(missing) > MOST_TOLD else ""
    told = f"{Layer.MODELS}: does not list {', '.join(missing[:MOST_TOLD])}{more}"
    none = len(missing) == len(target.models)
    return replace(judged, answer=Answer.FAILED if none else Answer.ALIVE, detail=told, missing=missing)


async def _content(response: aiohttp.ClientResponse) -> bytes:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise NoModelListError("answers compressed, unasked")
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > MOST_BYTES:
            raise NoModelListError(f"answers with more than {MOST_BYTES} bytes")
    return bytes(content)
