"""Which models an endpoint lists: the answer to ``GET /v1/models``, and what is missing from it. Pure."""

from collections.abc import Sequence
from typing import Final

import orjson

from penstock_policies.words import Engine

MOST_BYTES: Final = 1024 * 1024
"""An engine lists a handful of models, the largest brokers some hundreds of kilobytes."""

ABSENT: Final = frozenset({404, 405, 501})
"""What engines without such a list answer; that is no failure."""


class NoModelListError(Exception):
    """The answer is no list of models."""


def missing_models(content: bytes, wanted: Sequence[str], engine: Engine) -> tuple[str, ...]:
    """Name the wanted models that are not listed.

    Raises:
        NoModelListError: ``content`` lists no models.

    """
    try:
        answer = orjson.loads(content)
    except orjson.JSONDecodeError:
        raise NoModelListError("answers with no JSON") from None
    items = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(items, list):
        raise NoModelListError("answers with no list of models")
    named = [item.get("id") for item in items if isinstance(item, dict)]
    listed = {name for name in named if isinstance(name, str)}
    if engine is Engine.OLLAMA:
        # Ollama lists `llama3:latest` and is asked for `llama3`.
        listed |= {name.removesuffix(":latest") for name in listed}
    return tuple(model for model in wanted if model not in listed)
