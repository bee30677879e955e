"""Whatever a price API answers, what comes of it is a reading or one of two errors, and figures are numbers."""

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.signals.asking import AskError
from penstock.signals.aws_signature import AwsCredentials
from penstock.signals.conversation import Conversation
from penstock.signals.price_aws_list import ask_aws_list
from penstock.signals.price_aws_spot import ask_aws_spot
from penstock.signals.price_azure import AZURE_PRICES, ask_azure
from penstock.signals.price_document import PriceDocumentError
from penstock.signals.price_entsoe import ENTSOE, ask_entsoe
from penstock.signals.price_errors import PriceSourceError
from penstock.signals.price_litellm import litellm_prices
from penstock.signals.price_opencost import ask_opencost
from penstock_policies.feed_apis import AwsPriceFigure, AwsSpotFigure, AzureFigure, EntsoeFigure, OpenCostFigure
from tests.policies.writing import UNHURRIED
from tests.signals import price_answers as answers
from tests.signals.talking import answer, talk

NOW = 1_795_050_000.0
KEY = AwsCredentials("AKID", "hunter2")
P5: dict[str, Any] = {"key": "k", "region": "eu-west-1", "instanceType": "p5.48xlarge"}
FEW = settings(UNHURRIED, max_examples=40)
WORDS = sorted({*answers.item(), *answers.allocation("vllm"), *answers.page(), *json.loads(answers.product())})

CONVERSATIONS: dict[str, Callable[[], Conversation]] = {
    "opencost": lambda: ask_opencost(
        "http://x", [OpenCostFigure(key="k", aggregate="namespace", name="vllm")], 1.0, {}, ""
    ),
    "assets": lambda: ask_opencost("http://x", [OpenCostFigure(key="k", path="/assets", label="a=b")], 1.0, {}, ""),
    "azure": lambda: ask_azure(AZURE_PRICES, [AzureFigure(key="k", region="westeurope", sku="s")], "USD", 1.0, NOW),
    "spot": lambda: ask_aws_spot(None, [AwsSpotFigure.model_validate(P5)], KEY, NOW),
    "list": lambda: ask_aws_list(None, [AwsPriceFigure.model_validate(P5)], KEY, NOW),
    "entsoe": lambda: ask_entsoe(
        ENTSOE, [EntsoeFigure(key="k", zone="10Y1001A1001A82H")], "t", currency="EUR", usd_per_unit=1.0, now=NOW
    ),
}
GOOD: dict[str, bytes] = {
    "opencost": json.dumps({"code": 200, "data": [{"vllm": answers.allocation("vllm")}]}).encode(),
    "assets": json.dumps({"code": 200, "data": [{"n": answers.node("n", {"a": "b"})}]}).encode(),
    "azure": json.dumps(answers.page(answers.item(armSkuName="s"))).encode(),
    "spot": answers.spot(*answers.ZONES).encode(),
    "list": json.dumps(answers.listed(answers.product())).encode(),
    "entsoe": answers.document(answers.series(answers.period({1: 80.0, 2: -20.0, 5: 1e3}))).encode(),
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=4), inner),
    max_leaves=12,
)
SPOILT = st.tuples(st.integers(0, 4000), st.integers(0, 40), st.binary(max_size=12))
"""Where of a good answer something is put in place of how much."""


def spoilt(text: bytes, spoils: list[tuple[int, int, bytes]]) -> bytes:
    for place, length, instead in spoils:
        where = place % (len(text) + 1)
        text = text[:where] + instead + text[where + length :]
    return text


def held(name: str, body: bytes, status: int) -> None:
    """Hold a conversation in which every answer is this one, a few times at most."""
    count = 0

    def said(_: object) -> Any:
        nonlocal count
        count += 1
        return AskError("enough", status=0) if count > 5 else answer(body, status)

    try:
        reading, _ = talk(CONVERSATIONS[name](), said)
    except (PriceDocumentError, PriceSourceError):
        return
    for usd in reading.as_of(NOW).figures.values():
        assert math.isfinite(usd)


@pytest.mark.parametrize("name", CONVERSATIONS)
@FEW
@given(st.binary(max_size=200), st.sampled_from([200, 400]))
def test_garbage(name: str, body: bytes, status: int) -> None:
    held(name, body, status)


@pytest.mark.parametrize("name", CONVERSATIONS)
@FEW
@given(JSON)
def test_json_of_another_shape(name: str, body: Any) -> None:
    held(name, json.dumps(body).encode(), 200)


@pytest.mark.parametrize("name", CONVERSATIONS)
@FEW
@given(st.lists(SPOILT, max_size=4))
def test_good_answers_with_something_spoilt(name: str, spoils: list[tuple[int, int, bytes]]) -> None:
    held(name, spoilt(GOOD[name], spoils), 200)


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_the_good_answers_are_good(name: str) -> None:
    reading, _ = talk(CONVERSATIONS[name](), lambda _: answer(GOOD[name]))
    assert reading.as_of(NOW).figures.keys() == {"k"}


@FEW
@given(JSON)
def test_a_map_of_models_of_another_shape(body: Any) -> None:
    try:
        reading = litellm_prices(json.dumps(body).encode(), ["m", "eu.m"])
    except PriceDocumentError:
        return
    assert all(math.isfinite(one) for one in (*reading.figures.values(), *reading.prompt_ratios.values()))
