"""The OpenAI API's bodies as the simulator reads and writes them. Pure."""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

CHARACTERS_PER_TOKEN = 4
"""The usual rule of thumb for English text; the simulator has no tokenizer."""

DEFAULT_OUTPUT_TOKENS = 32
MAX_OUTPUT_TOKENS = 4096

_WORDS = ("water", "finds", "the", "open", "gate", "and", "asks", "for", "no", "reason")
"""Ten words, so that a token's number can be read off the text."""

Json = dict[str, object]


class BadRequestError(Exception):
    """The body is not a request the API knows; the client gets 400."""


@dataclass(frozen=True, slots=True)
class Generation:
    """What a request asks for."""

    model: str
    chat: bool
    prompt: str
    output_tokens: int
    stream: bool
    include_usage: bool

    @property
    def prompt_tokens(self) -> int:
        """Tokens in the prompt, at least one."""
        return max(1, len(self.prompt) // CHARACTERS_PER_TOKEN)

    @property
    def finish_reason(self) -> str:
        """Simulated answers always use up their tokens."""
        return "length"

    def usage(self, completion_tokens: int) -> dict[str, int]:
        """The usage object after this many output tokens."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": self.prompt_tokens + completion_tokens,
        }

    def token(self, index: int) -> str:
        """The text of the ``index``-th output token (from 0): the same request always gets the same answer."""
        return _WORDS[(zlib.crc32(self.prompt.encode()) + index) % len(_WORDS)] + " "

    def text(self) -> str:
        """The whole answer."""
        return "".join(self.token(index) for index in range(self.output_tokens))


def parse(body: bytes, *, chat: bool) -> Generation:
    """Read the body of a completions request.

    Raises:
        BadRequestError: it is not JSON, or a field is missing or of the wrong type.
    """
    try:
        fields = json.loads(body)
    except ValueError as error:
        raise BadRequestError(f"the body is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise BadRequestError("the body must be a JSON object")
    model = fields.get("model")
    if not isinstance(model, str):
        raise BadRequestError("model must be a string")
    limit = fields.get("max_completion_tokens", fields.get("max_tokens", DEFAULT_OUTPUT_TOKENS))
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_OUTPUT_TOKENS:
        raise BadRequestError(f"max_tokens must be an integer from 1 to {MAX_OUTPUT_TOKENS}")
    options = fields.get("stream_options")
    return Generation(
        model=model,
        chat=chat,
        prompt=_chat_prompt(fields) if chat else _completion_prompt(fields),
        output_tokens=limit,
        stream=fields.get("stream") is True,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
    )


@dataclass(frozen=True, slots=True)
class Envelope:
    """A request with the identity of its answer."""

    generation: Generation
    request_id: str
    created: int

    def head(self, *, streaming: bool) -> Json:
        """The fields every object of the answer begins with."""
        if self.generation.chat:
            kind, prefix = ("chat.completion.chunk" if streaming else "chat.completion"), "chatcmpl"
        else:
            kind, prefix = "text_completion", "cmpl"
        return {
            "id": f"{prefix}-{self.request_id}",
            "object": kind,
            "created": self.created,
            "model": self.generation.model,
        }


def answer(envelope: Envelope) -> Json:
    """The whole answer as one JSON object."""
    generation = envelope.generation
    choice: Json = {"index": 0, "finish_reason": generation.finish_reason, "logprobs": None}
    if generation.chat:
        choice["message"] = {"role": "assistant", "content": generation.text()}
    else:
        choice["text"] = generation.text()
    usage = generation.usage(generation.output_tokens)
    return {**envelope.head(streaming=False), "choices": [choice], "usage": usage}


def chunk(envelope: Envelope, index: int) -> bytes:
    """The server-sent event that carries the ``index``-th token."""
    generation = envelope.generation
    last = index == generation.output_tokens - 1
    choice: Json = {"index": 0, "finish_reason": generation.finish_reason if last else None, "logprobs": None}
    if generation.chat:
        role = {"role": "assistant"} if index == 0 else {}
        choice["delta"] = {**role, "content": generation.token(index)}
    else:
        choice["text"] = generation.token(index)
    return _event({**envelope.head(streaming=True), "choices": [choice]})


def ending(envelope: Envelope) -> bytes:
    """The events after the last token: usage when asked for, then ``[DONE]``."""
    generation = envelope.generation
    if not generation.include_usage:
        return b"data: [DONE]\n\n"
    usage = generation.usage(generation.output_tokens)
    return _event({**envelope.head(streaming=True), "choices": [], "usage": usage}) + b"data: [DONE]\n\n"


def error(message: str, kind: str, code: int) -> Json:
    """An error as vLLM and the OpenAI SDKs know it."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def models(model: str, created: int) -> Json:
    """The answer to ``GET /v1/models``."""
    return {
        "object": "list",
        "data": [{"id": model, "object": "model", "created": created, "owned_by": "vllm", "root": model}],
    }


def _event(payload: Json) -> bytes:
    return b"data: " + json.dumps(payload, separators=(",", ":")).encode() + b"\n\n"


def _completion_prompt(fields: Mapping[str, object]) -> str:
    prompt = fields.get("prompt")
    if not isinstance(prompt, str):
        raise BadRequestError("prompt must be a string")
    return prompt


def _chat_prompt(fields: Mapping[str, object]) -> str:
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequestError("messages must be a list of at least one message")
    return "\n".join(_content(message.get("content") if isinstance(message, dict) else None) for message in messages)


def _content(content: object) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        # Parts: the text ones are the prompt, an image's data URL is a long one.
        return json.dumps(content)
    raise BadRequestError("each message must have a content: a string or a list of parts")
