"""Three client libraries ask one model, streaming and not, and print what they got, a line of JSON each.

A child process of the tests, run by the Python of ``.venv-engines/clients``; nothing imports it. Arguments: base URL,
the names of the models.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

from langchain_openai import ChatOpenAI
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike
from openai import OpenAI

TOKENS = 12
PROMPT = "say something"
SECONDS = 60.0


def openai(url: str, model: str) -> Iterator[dict[str, Any]]:
    """OpenAI's own library."""
    client = OpenAI(base_url=url, api_key="none", timeout=SECONDS, max_retries=0)
    asked: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": PROMPT}],
        "max_tokens": TOKENS,
        "extra_body": {"ignore_eos": True},
    }
    answer = client.chat.completions.create(**asked)
    yield {"stream": False, "text": answer.choices[0].message.content, "usage": answer.usage.completion_tokens}
    for wanted in (True, False):
        options = {"stream_options": {"include_usage": True}} if wanted else {}
        chunks = list(client.chat.completions.create(**asked, stream=True, **options))
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        told = [chunk.usage.completion_tokens for chunk in chunks if chunk.usage]
        yield {"stream": True, "text": text, "usage": told[-1] if told else None, "wanted": wanted}


def langchain(url: str, model: str) -> Iterator[dict[str, Any]]:
    """LangChain's."""
    chat = ChatOpenAI(
        base_url=url, api_key="none", model=model, timeout=SECONDS, max_retries=0, max_tokens=TOKENS,
        extra_body={"ignore_eos": True}, stream_usage=True,
    )  # fmt: skip
    answer = chat.invoke(PROMPT)
    yield {"stream": False, "text": answer.text, "usage": answer.usage_metadata["output_tokens"]}
    chunks = list(chat.stream(PROMPT))
    told = [chunk.usage_metadata["output_tokens"] for chunk in chunks if chunk.usage_metadata]
    yield {"stream": True, "text": "".join(chunk.text for chunk in chunks), "usage": told[-1] if told else None}


def llama_index(url: str, model: str) -> Iterator[dict[str, Any]]:
    """LlamaIndex's."""
    chat = OpenAILike(
        api_base=url, api_key="none", model=model, timeout=SECONDS, max_retries=0, max_tokens=TOKENS,
        is_chat_model=True, additional_kwargs={"extra_body": {"ignore_eos": True}},
    )  # fmt: skip
    messages = [ChatMessage(role="user", content=PROMPT)]
    answer = chat.chat(messages)
    yield {"stream": False, "text": answer.message.content, "usage": answer.raw.usage.completion_tokens}
    text = "".join(part.delta or "" for part in chat.stream_chat(messages))
    yield {"stream": True, "text": text, "usage": None}


def main() -> None:
    """Ask by every library."""
    url, *models = sys.argv[1:]
    for model in models:
        for library in (openai, langchain, llama_index):
            for answer in library(url, model):
                print(json.dumps({"library": library.__name__, "model": model, **answer}), flush=True)  # noqa: T201


main()
