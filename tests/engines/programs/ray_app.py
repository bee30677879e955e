"""An OpenAI-style application of Ray Serve: two deployments, as such applications have, and no model.

A child process of the tests, run by the Python of ``.venv-engines/servers``; nothing imports it. Arguments: the port of
requests, the port of the node's metrics, a directory for Ray's own files, the requests that the engine works on at once
(what comes beyond waits in Serve's queue), the names of the models.
"""

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

PACE = 0.01
"""Seconds from one token to the next."""


class Engine:
    """Says one word after the other."""

    async def generate(self, tokens: int) -> AsyncIterator[str]:
        """Give the tokens as they come."""
        for number in range(tokens):
            await asyncio.sleep(PACE)
            yield f"w{number} "


class Ingress:
    """The API in front of the engine."""

    def __init__(self, engine: Any, models: list[str]) -> None:
        self._engine = engine.options(stream=True)
        self._models = models

    async def __call__(self, request: Request) -> Response:
        """Answer by path."""
        if request.url.path == "/health":
            return Response()
        if request.url.path == "/v1/models":
            listed = [{"id": name, "object": "model", "created": 0, "owned_by": "tests"} for name in self._models]
            return JSONResponse({"object": "list", "data": listed})
        asked = await request.json()
        if asked["model"] not in self._models:
            error = {"message": f"no model {asked['model']}", "type": "NotFoundError", "param": "model", "code": 404}
            return JSONResponse({"error": error}, status_code=404)
        tokens = asked.get("max_completion_tokens") or asked.get("max_tokens") or 16
        prompt = sum(len(str(message["content"]).split()) for message in asked["messages"])
        usage = {"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens}
        head = {"id": f"chatcmpl-{time.time_ns()}", "created": int(time.time()), "model": asked["model"]}
        words = self._engine.generate.remote(tokens)
        if asked.get("stream"):
            wanted = (asked.get("stream_options") or {}).get("include_usage")
            return StreamingResponse(_events(words, head, usage if wanted else None), media_type="text/event-stream")
        text = "".join([word async for word in words])
        choice = {"index": 0, "finish_reason": "length", "message": {"role": "assistant", "content": text}}
        return JSONResponse({**head, "object": "chat.completion", "choices": [choice], "usage": usage})


async def _events(words: Any, head: dict[str, Any], usage: dict[str, int] | None) -> AsyncIterator[str]:
    chunk = {**head, "object": "chat.completion.chunk"}

    def event(content: dict[str, Any]) -> str:
        return f"data: {json.dumps({**chunk, **content})}\n\n"

    yield event({"choices": [{"index": 0, "finish_reason": None, "delta": {"role": "assistant", "content": ""}}]})
    async for word in words:
        yield event({"choices": [{"index": 0, "finish_reason": None, "delta": {"content": word}}]})
    yield event({"choices": [{"index": 0, "finish_reason": "length", "delta": {}}]})
    if usage:
        yield event({"choices": [], "usage": usage})
    yield "data: [DONE]\n\n"


def main() -> None:
    """Serve until told to end."""
    port, metrics_port, directory, slots, *models = sys.argv[1:]
    ray.init(
        num_cpus=2, include_dashboard=False, _metrics_export_port=int(metrics_port), _temp_dir=directory,
        object_store_memory=80 * 1024 * 1024, configure_logging=False,
    )  # fmt: skip
    serve.start(http_options={"host": "127.0.0.1", "port": int(port)})
    engine = serve.deployment(Engine, max_ongoing_requests=int(slots), ray_actor_options={"num_cpus": 0.1})
    ingress = serve.deployment(Ingress, max_ongoing_requests=1000, ray_actor_options={"num_cpus": 0.1})
    serve.run(ingress.bind(engine.bind(), models), name="llm", route_prefix="/")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


main()
