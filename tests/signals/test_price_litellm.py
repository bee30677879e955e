"""LiteLLM's price map. The entries are in the shape of the real file, as of 2026."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.signals.price_document import PriceDocumentError
from penstock.signals.price_litellm import litellm_prices

MAP: dict[str, Any] = {
    "sample_spec": {
        "input_cost_per_token": 0.0,
        "output_cost_per_token": 0.0,
        "litellm_provider": "one of https://docs.litellm.ai/docs/providers",
        "max_tokens": "LEGACY parameter. set to max_output_tokens if provider specifies it.",
        "mode": "one of: chat, embedding, completion",
    },
    "1024-x-1024/dall-e-2": {"input_cost_per_pixel": 1.9e-08, "litellm_provider": "openai", "mode": "image_generation"},
    "amazon.nova-2-lite-v1:0": {
        "cache_read_input_token_cost": 7.5e-08,
        "input_cost_per_token": 3e-07,
        "litellm_provider": "bedrock_converse",
        "max_tokens": 64000,
        "mode": "chat",
        "output_cost_per_token": 2.5e-06,
        "supports_vision": True,
    },
    "eu.amazon.nova-2-lite-v1:0": {"input_cost_per_token": 3.3e-07, "output_cost_per_token": 2.75e-06, "mode": "chat"},
    "broken": {"output_cost_per_token": "see the docs"},
}
TEXT = json.dumps(MAP).encode()


def test_the_price_of_a_model_is_that_of_a_million_output_tokens() -> None:
    wanted = ["amazon.nova-2-lite-v1:0", "eu.amazon.nova-2-lite-v1:0"]
    reading = litellm_prices(TEXT, wanted)
    assert reading.figures == {"amazon.nova-2-lite-v1:0": 2.5, "eu.amazon.nova-2-lite-v1:0": 2.75}
    assert reading.refused == {}


def test_what_a_prompt_token_costs_of_that_is_told_too() -> None:
    wanted = ["amazon.nova-2-lite-v1:0", "eu.amazon.nova-2-lite-v1:0"]
    assert litellm_prices(TEXT, wanted).prompt_ratios == dict.fromkeys(wanted, 0.12)


@pytest.mark.parametrize(
    "entry",
    [{"output_cost_per_token": 1e-06}, {"output_cost_per_token": 1e-06, "input_cost_per_token": "see the docs"}],
)
def test_a_price_stands_where_that_of_prompts_is_not_told(entry: dict[str, Any]) -> None:
    reading = litellm_prices(json.dumps({"m": entry}).encode(), ["m"])
    assert (reading.figures, reading.prompt_ratios) == ({"m": 1.0}, {})


def test_a_region_without_a_price_of_its_own_has_that_of_the_model() -> None:
    reading = litellm_prices(TEXT, ["jp.amazon.nova-2-lite-v1:0", "eu.amazon.nova-2-lite-v1:0"])
    assert reading.figures == {"jp.amazon.nova-2-lite-v1:0": 2.5, "eu.amazon.nova-2-lite-v1:0": 2.75}
    with pytest.raises(PriceDocumentError, match="no such model"):
        litellm_prices(TEXT, ["mars.amazon.nova-2-lite-v1:0"])


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ("gpt-nowhere", "no such model in the map"),
        ("sample_spec", "no such model in the map"),
        ("1024-x-1024/dall-e-2", "has no output_cost_per_token"),
        ("broken", "text, not a number"),
    ],
)
def test_a_model_without_a_price_is_told_and_the_others_are_kept(model: str, why: str) -> None:
    reading = litellm_prices(TEXT, [model, "amazon.nova-2-lite-v1:0"])
    assert (reading.figures, reading.refused) == ({"amazon.nova-2-lite-v1:0": 2.5}, {model: why})


@pytest.mark.parametrize("text", [b"[]", b"{}", b'"map"', b'{"detail": "rate limited"}', b'{"x": 1'])
def test_what_is_no_such_map_is_refused_whole(text: bytes) -> None:
    with pytest.raises(PriceDocumentError):
        litellm_prices(text, ["x"])


@given(st.binary(max_size=300))
def test_arbitrary_bytes_never_raise_anything_else(text: bytes) -> None:
    try:
        litellm_prices(text, ["x"])
    except PriceDocumentError:
        return
