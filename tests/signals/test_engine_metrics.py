"""Whom the engine metrics ask, and what reaches the board."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from penstock.signals.board import ObservationBoard
from penstock.signals.engine_metrics import EngineMetrics
from penstock.signals.metrics_page import MetricsPages, Scrape, ScrapeError
from penstock_policies.observations import EngineLoad
from penstock_policies.policyset import PolicySet
from penstock_policies.schema import Endpoint
from tests.signals.signal_policies import cluster, policy_set
from tests.signals.simulated_servers import serving

ONE, TWO = ("10.0.0.1", 8000), ("10.0.0.2", 8000)


def page(tokens: float, waiting: float = 0.0) -> str:
    return (
        f"vllm:num_requests_running 1\nvllm:num_requests_waiting {waiting}\n"
        f"vllm:prompt_tokens_total {tokens}\nvllm:generation_tokens_total {tokens / 10}\n"
    )


class Engines:
    """Endpoints whose pages the test sets, and time that passes only when :meth:`round` says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pages: dict[str, str | ScrapeError] = {}
        self.asked: list[str] = []
        self.board = ObservationBoard()
        self._sleepers: list[asyncio.Future[None]] = []
        self.metrics = EngineMetrics(self.board, lambda: self.now, fetch=self._fetch, sleep=self._sleep)

    async def apply(self, policy: PolicySet) -> None:
        self.board.apply(policy)
        await self.metrics.apply(policy)
        await self._settle()

    async def round(self, seconds: float = 2.0) -> None:
        self.now += seconds
        sleepers, self._sleepers = self._sleepers, []
        for sleeper in sleepers:
            if not sleeper.done():
                sleeper.set_result(None)
        await self._settle()

    def known(self, name: str = "onprem") -> EngineLoad | None:
        return self.board.snapshot(self.now).engines.get(name)

    async def _fetch(self, endpoint: Endpoint) -> str:
        self.asked.append(endpoint.key)
        answer = self.pages.get(endpoint.key, ScrapeError(Scrape.UNREACHABLE, "refused"))
        if isinstance(answer, ScrapeError):
            raise answer
        return answer

    async def _sleep(self, _: float) -> None:
        wake = asyncio.get_running_loop().create_future()
        self._sleepers.append(wake)
        await wake

    async def _settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)


@pytest.fixture
async def engines() -> AsyncIterator[Engines]:
    made = Engines()
    yield made
    await made.metrics.stop()


async def test_rates_of_a_cluster_reach_the_board(engines: Engines) -> None:
    await engines.apply(policy_set([cluster("onprem", ONE, TWO)]))
    for tokens in (100.0, 300.0, 500.0):
        engines.pages = {"10.0.0.1:8000": page(tokens, waiting=2), "10.0.0.2:8000": page(tokens, waiting=1)}
        await engines.round()
    known = engines.known()
    assert known is not None
    assert (known.waiting, known.running, known.prompt_tokens, known.output_tokens) == (3.0, 2.0, 200.0, 20.0)


async def test_an_endpoint_out_of_reach_is_left_out_once_it_is_silent(engines: Engines) -> None:
    await engines.apply(policy_set([cluster("onprem", ONE, TWO)]))
    engines.pages = {"10.0.0.1:8000": page(1, waiting=5), "10.0.0.2:8000": page(1, waiting=7)}
    await engines.round()
    del engines.pages["10.0.0.2:8000"]
    for _ in range(4):
        await engines.round()
    known = engines.known()
    assert known is not None
    assert known.waiting == 5.0


async def test_an_endpoint_that_gives_no_metrics_makes_its_clusters_figures_unknown_and_is_told_once(
    engines: Engines, caplog: pytest.LogCaptureFixture
) -> None:
    await engines.apply(policy_set([cluster("onprem", ONE, TWO)]))
    engines.pages = {"10.0.0.1:8000": page(1), "10.0.0.2:8000": page(1)}
    await engines.round()
    assert engines.known() is not None
    engines.pages["10.0.0.2:8000"] = "<html>sign in</html>"
    with caplog.at_level(logging.WARNING):
        await engines.round()
        await engines.round()
    assert engines.known() is None
    assert len(caplog.records) == 1
    engines.pages["10.0.0.2:8000"] = page(1)
    await engines.round()
    assert engines.known() is not None


async def test_a_cluster_that_leaves_the_policy_is_asked_no_more_and_forgotten(engines: Engines) -> None:
    await engines.apply(policy_set([cluster("onprem", ONE), cluster("other", TWO)]))
    engines.pages = {"10.0.0.1:8000": page(1), "10.0.0.2:8000": page(1)}
    await engines.round()
    assert engines.known("other") is not None
    await engines.apply(policy_set([cluster("onprem", ONE)]))
    engines.asked.clear()
    await engines.round()
    assert engines.asked == ["10.0.0.1:8000"]
    assert engines.known("other") is None


async def test_only_engines_that_speak_so_are_asked(engines: Engines) -> None:
    silent = cluster("saas", ONE)
    spec = silent.spec.model_copy(update={"engine": "openai"})
    await engines.apply(policy_set([silent.model_copy(update={"spec": spec})]))
    await engines.round()
    assert engines.asked == []


async def test_pages_are_read_over_http_and_refusals_are_told_from_silence() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=page(7) if request.path == "/metrics" else "")

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=401)

    pages = MetricsPages()
    try:
        async with serving(answer) as good, serving(refuse) as closed:
            assert await pages(Endpoint(address="127.0.0.1", port=good)) == page(7)
            with pytest.raises(ScrapeError, match="HTTP 401") as refused:
                await pages(Endpoint(address="127.0.0.1", port=closed))
        with pytest.raises(ScrapeError) as unreachable:
            await pages(Endpoint(address="127.0.0.1", port=good))
    finally:
        await pages.close()
    assert refused.value.kind is Scrape.NOT_METRICS
    assert unreachable.value.kind is Scrape.UNREACHABLE
