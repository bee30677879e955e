"""Cost feeds in others' shapes, asked of real servers: what reaches the board, and what is told."""

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from penstock.signals.price_sources import MOST_BYTES
from penstock_policies.decision import EngineMemory
from penstock_policies.engine.prices import judge_prices
from penstock_policies.observations import Price
from penstock_policies.policyset import PolicySet
from penstock_policies.schema import Cluster
from tests.signals.feed_harness import Feeds
from tests.signals.signal_policies import cluster, feed, policy_set
from tests.signals.simulated_servers import serving

OFFERS: list[dict[str, Any]] = [
    {"pointer": "/offers/0/price", "key": "eu", "unit": "perThousandTokens"},
    {"pointer": "/offers/1/price", "key": "us", "unit": "perThousandTokens"},
]


@pytest.fixture
async def feeds() -> AsyncIterator[Feeds]:
    made = Feeds()
    yield made
    await made.feeds.stop()


def priced(key: str) -> Cluster:
    made = cluster(key.partition(".")[0], ("10.0.0.1", 80))
    cost = made.spec.cost.model_copy(update={"feed": "prices", "key": key, "usd_per_million_tokens": 5.0})
    return made.model_copy(update={"spec": made.spec.model_copy(update={"cost": cost})})


def fed(*keys: str, **spec: Any) -> PolicySet:
    return policy_set([priced(key) for key in keys], [feed("prices", **spec)])


class Answers:
    """A server whose answer may change."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def handle(self, request: web.Request) -> web.Response:
        return web.json_response(self.answer)


def told(caplog: pytest.LogCaptureFixture, words: str) -> int:
    return sum(words in record.getMessage() for record in caplog.records)


async def test_a_servers_own_shape_and_currency_end_in_usd_per_million_tokens(feeds: Feeds, tmp_path: Path) -> None:
    async with serving(Answers({"offers": [{"price": 0.0005}, {"price": "0.0010"}]}).handle) as port:
        spec: dict[str, Any] = {"type": "http", "url": f"http://127.0.0.1:{port}/", "map": OFFERS}
        await feeds.apply(fed("eu", "us", **spec, currency="EUR", rates={"EUR": 1.08}), tmp_path)
    assert feeds.prices() == {"eu": Price(1000.0, 0.54), "us": Price(1000.0, 1.08)}
    assert feeds.feeds.states()[0].error == ""


async def test_a_pointer_that_leads_nowhere_is_told_once_and_leaves_the_other_figures(
    feeds: Feeds, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = Answers({"offers": [{"price": 0.0005}]})
    async with serving(server.handle) as port:
        await feeds.apply(fed("eu", "us", type="http", url=f"http://127.0.0.1:{port}/", map=OFFERS), tmp_path)
        for _ in range(3):
            await feeds.refresh()
        state = feeds.feeds.states()[0]
        assert feeds.prices() == {"eu": Price(1000.0, 0.5)}
        assert (state.error, state.failures) == ("us: /offers/1/price: nothing is there", 0)
        assert (told(caplog, "lacks figures"), feeds.notified) == (1, 1)
        assert all(pause > 50 for pause in feeds.slept)
        server.answer = {"offers": [{"price": 0.0005}, {"price": 0.001}]}
        await feeds.refresh()
    assert set(feeds.prices()) == {"eu", "us"}
    assert feeds.feeds.states()[0].error == ""


async def test_a_document_of_quite_another_shape_is_a_failure_and_keeps_the_last_good_figures(
    feeds: Feeds, tmp_path: Path
) -> None:
    server = Answers({"offers": [{"price": 0.0005}, {"price": 0.001}]})
    async with serving(server.handle) as port:
        await feeds.apply(fed("eu", "us", type="http", url=f"http://127.0.0.1:{port}/", map=OFFERS), tmp_path)
        feeds.now += 60
        server.answer = {"error": "maintenance"}
        await feeds.refresh()
    state = feeds.feeds.states()[0]
    assert (state.failures, state.refreshed_at) == (1, 1000.0)
    assert state.error == "eu: /offers/0/price: nothing is there; us: /offers/1/price: nothing is there"
    assert feeds.prices()["eu"] == Price(1000.0, 0.5)


async def test_litellms_map_gives_the_prices_that_clusters_ask_for_whatever_its_size(
    feeds: Feeds, tmp_path: Path
) -> None:
    models = {f"model-{number}": {"output_cost_per_token": 2e-06, "notes": "x" * 500} for number in range(2500)}
    text = json.dumps({"sample_spec": {"max_tokens": "words", "output_cost_per_token": 0.0}, **models})
    assert len(text) > MOST_BYTES
    (tmp_path / "map.json").write_text(text, encoding="utf-8")
    spec = {"type": "file", "path": "map.json", "format": "litellm"}
    await feeds.apply(fed("model-7", "model-gone", **spec), tmp_path)
    assert feeds.prices() == {"model-7": Price(1000.0, 2.0)}
    assert feeds.feeds.states()[0].error == "model-gone: no such model in the map"
    # Another cluster's model is had at once, not at the next refresh.
    await feeds.apply(fed("model-7", "model-8", **spec), tmp_path)
    assert set(feeds.prices()) == {"model-7", "model-8"}


async def test_a_key_that_penstocks_own_document_lacks_is_told(feeds: Feeds, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"prices": [{"key": "eu", "usdPerMillionTokens": 0.9}]}', encoding="utf-8")
    await feeds.apply(fed("eu", "us", type="file", path="p.json"), tmp_path)
    assert feeds.prices() == {"eu": Price(1000.0, 0.9)}
    assert feeds.feeds.states()[0].error == "us: not in the document"


async def test_a_frozen_figure_grows_stale_though_it_is_read_and_is_told_once(
    feeds: Feeds, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server = Answers({"offers": [{"price": 0.0005}]})
    async with serving(server.handle) as port:
        url = f"http://127.0.0.1:{port}/"
        policy = fed("eu", type="http", url=url, map=OFFERS[:1], refresh="10m", maxAge="1h", maxUnchanged="6h")
        await feeds.apply(policy, tmp_path)
        while feeds.now < 1000 + 6 * 3600:
            feeds.now += 600
            await feeds.refresh()
            assert feeds.now - feeds.prices()["eu"].at <= 3600
        for _ in range(3):
            feeds.now += 600
            await feeds.refresh()
            assert feeds.now - feeds.prices()["eu"].at > 3600
        assert feeds.feeds.states()[0].frozen == {"eu"}
        assert (told(caplog, "is frozen and"), feeds.notified) == (1, 2)
        # Editing something else does not thaw it.
        await feeds.feeds.apply(policy, tmp_path)
        server.answer = {"offers": [{"price": 0.0006}]}
        await feeds.refresh()
    assert feeds.prices() == {"eu": Price(feeds.now, 0.6)}
    assert told(caplog, "frozen no more") == 1


async def test_a_cluster_of_a_frozen_feed_goes_by_its_declared_price_until_the_figure_moves(
    feeds: Feeds, tmp_path: Path
) -> None:
    server = Answers({"offers": [{"price": 0.002}]})
    async with serving(server.handle) as port:
        url = f"http://127.0.0.1:{port}/"
        policy = fed("eu", type="http", url=url, map=OFFERS[:1], refresh="10m", maxAge="1h", maxUnchanged="2h")
        await feeds.apply(policy, tmp_path)
        memory = EngineMemory()
        seen = []
        for step in range(18):
            if step == 15:
                server.answer = {"offers": [{"price": 0.003}]}
            feeds.now += 600
            await feeds.refresh()
            prices = judge_prices(policy, feeds.board.snapshot(feeds.now), memory, feeds.now)
            memory = EngineMemory(prices=prices.good, doubts=prices.doubts)
            seen.append((prices.clusters["eu"].source, prices.clusters["eu"].usd_per_million_tokens))
    assert seen == [("feed prices", 2.0)] * 12 + [("policy", 5.0)] * 3 + [("feed prices", 3.0)] * 3


async def test_a_figure_in_another_currency_is_judged_as_what_it_is_in_usd(feeds: Feeds, tmp_path: Path) -> None:
    async with serving(Answers({"offers": [{"price": 0.6}]}).handle) as port:
        url = f"http://127.0.0.1:{port}/"
        # 600 JPY for a million tokens is 4 USD; taken for USD it would be refused as too far from the declared 5.
        policy = fed("eu", type="http", url=url, map=OFFERS[:1], currency="JPY", rates={"JPY": 0.0066667})
        await feeds.apply(policy, tmp_path)
    prices = judge_prices(policy, feeds.board.snapshot(feeds.now), EngineMemory(), feeds.now)
    assert (prices.clusters["eu"].source, prices.notes) == ("feed prices", ())
    assert prices.clusters["eu"].usd_per_million_tokens == pytest.approx(4.0, rel=1e-3)
