"""Whom the engine metrics ask, and what reaches the board."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from pydantic import ValidationError

from penstock.signals.board import ObservationBoard
from penstock.signals.engine_metrics import EngineMetrics
from penstock.signals.engine_pages import EnginePage
from penstock.signals.metrics_page import Scrape, ScrapeError
from penstock_policies.observations import EngineLoad
from penstock_policies.policyset import PolicySet
from penstock_policies.schema import Cluster, Metrics
from penstock_policies.words import Engine
from tests.signals import engine_pages
from tests.signals.signal_policies import cluster, policy_set

ONE, TWO = ("10.0.0.1", 8000), ("10.0.0.2", 8000)


def page(tokens: float, waiting: float = 0.0) -> str:
    return (
        f"vllm:num_requests_running 1\nvllm:num_requests_waiting {waiting}\n"
        f"vllm:prompt_tokens_total {tokens}\nvllm:generation_tokens_total {tokens / 10}\n"
    )


def of(engine: Engine, *endpoints: tuple[str, int], metrics: Metrics | None = None) -> Cluster:
    made = cluster("onprem", *endpoints)
    spec = made.spec.model_copy(update={"engine": engine, "metrics": metrics or Metrics()})
    return made.model_copy(update={"spec": spec})


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

    async def _fetch(self, page: EnginePage) -> str:
        self.asked.append(page.endpoint.key + page.path)
        answer = self.pages.get(page.endpoint.key, ScrapeError(Scrape.UNREACHABLE, "refused"))
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
    assert engines.asked == ["10.0.0.1:8000/metrics"]
    assert engines.known("other") is None


@pytest.mark.parametrize("engine", [Engine.OLLAMA, Engine.OPENAI])
async def test_engines_that_serve_no_metrics_are_never_asked(engines: Engines, engine: Engine) -> None:
    await engines.apply(policy_set([of(engine, ONE, metrics=Metrics(port=9090))]))
    await engines.round()
    assert engines.asked == []


@pytest.mark.parametrize(
    ("engine", "asked", "text"),
    [
        (Engine.VLLM, "10.0.0.1:8000/metrics", engine_pages.VLLM),
        (Engine.SGLANG, "10.0.0.1:8000/metrics", engine_pages.SGLANG),
        (Engine.TRTLLM, "10.0.0.1:8000/prometheus/metrics", engine_pages.TRTLLM),
        (Engine.TRITON, "10.0.0.1:8002/metrics", engine_pages.TRITON),
        (Engine.NIM, "10.0.0.1:8000/v1/metrics", engine_pages.NIM),
        (Engine.TGI, "10.0.0.1:8000/metrics", engine_pages.TGI),
        (Engine.RAYSERVE, "10.0.0.1:8080/metrics", engine_pages.RAYSERVE),
    ],
)
async def test_every_engine_is_asked_at_its_usual_place_and_fills_the_board(
    engines: Engines, engine: Engine, asked: str, text: str
) -> None:
    await engines.apply(policy_set([of(engine, ONE)]))
    place = asked.partition("/")[0]
    engines.pages = {place: text}
    await engines.round()
    grown = text.replace("1500", "1700").replace("1000.0", "1200.0").replace(" 700", " 740")
    # Of 200 requests since, all had their first token between 0.1 and 1 s.
    for count in ("9", "10"):
        for ending in ("", ".0"):
            grown = grown.replace(f"}} {count}{ending}\n", f"}} {200 + int(count)}{ending}\n")
    engines.pages = {place: grown}
    await engines.round()
    assert set(engines.asked) == {asked}
    known = engines.known()
    assert known is not None
    assert (known.prompt_tokens, known.output_tokens) == (100.0, 20.0)
    assert (known.running, known.waiting) == (7.0, 2.0)
    if engine is not Engine.TGI:
        assert known.ttft_p95 is not None
        assert 0.1 < known.ttft_p95 <= 1.0
    page = engines.metrics.pages("onprem")[place]
    assert page is not None
    assert page.running == 7.0


async def test_a_policy_may_say_where_the_page_is(engines: Engines) -> None:
    await engines.apply(policy_set([of(Engine.TRITON, ONE, metrics=Metrics(port=9402, path="/inner/metrics"))]))
    await engines.round()
    assert engines.asked == ["10.0.0.1:9402/inner/metrics"]
    await engines.apply(policy_set([of(Engine.TRITON, ONE, metrics=Metrics(port=8000))]))
    await engines.round()
    assert engines.asked[1:] == ["10.0.0.1:8000/metrics"]


@pytest.mark.parametrize(
    "metrics", [{"port": 0}, {"port": 65536}, {"path": "metrics"}, {"path": "/a b"}, {"host": "x"}]
)
def test_a_place_that_cannot_be_is_refused(metrics: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Metrics.model_validate(metrics)


async def test_a_page_shared_by_endpoints_is_counted_once(engines: Engines) -> None:
    await engines.apply(policy_set([of(Engine.RAYSERVE, ONE, ("10.0.0.1", 8001))]))
    engines.pages = {"10.0.0.1:8080": engine_pages.RAYSERVE}
    await engines.round()
    known = engines.known()
    assert known is not None
    assert (len(engines.asked), known.running) == (1, 7.0)


async def test_a_page_of_a_port_of_its_own_out_of_reach_makes_figures_unknown_and_is_told_once(
    engines: Engines, caplog: pytest.LogCaptureFixture
) -> None:
    await engines.apply(policy_set([of(Engine.TRITON, ONE, TWO)]))
    engines.pages = {"10.0.0.1:8002": engine_pages.TRITON}
    with caplog.at_level(logging.WARNING):
        await engines.round()
        await engines.round()
    assert engines.known() is None
    assert len(caplog.records) == 1
    engines.pages["10.0.0.2:8002"] = engine_pages.TRITON
    await engines.round()
    assert engines.known() is not None


async def test_a_change_of_engine_forgets_what_the_page_was_read_as(engines: Engines) -> None:
    await engines.apply(policy_set([of(Engine.VLLM, ONE)]))
    engines.pages = {"10.0.0.1:8000": page(1)}
    await engines.round()
    assert engines.metrics.shown("onprem")
    assert any(engines.metrics.pages("onprem").values())
    await engines.apply(policy_set([of(Engine.SGLANG, ONE)]))
    assert not engines.metrics.shown("onprem")
    assert not any(engines.metrics.pages("onprem").values())
    await engines.round()
    assert engines.known() is None


async def test_a_large_page_is_read_like_any_other(engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = asyncio.Event()
    pin = engines.board.set_engine

    def notice(name: str, load: EngineLoad | None) -> None:
        pin(name, load)
        pinned.set()

    monkeypatch.setattr(engines.board, "set_engine", notice)
    await engines.apply(policy_set([of(Engine.VLLM, ONE)]))
    engines.pages = {"10.0.0.1:8000": "ray_node_disk_usage 1\n" * 50_000 + page(1, waiting=3)}
    await engines.round()
    await pinned.wait()
    known = engines.known()
    assert known is not None
    assert known.waiting == 3.0
