"""How metrics pages are fetched: what is refused, how much is read, and what never gets into a log."""

import asyncio
import gzip
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from penstock.signals import metrics_page
from penstock.signals.engine_pages import EnginePage
from penstock.signals.metrics_page import MOST_BYTES, MetricsPages, Scrape, ScrapeError
from penstock_policies.schema import Endpoint
from penstock_policies.words import Engine
from tests.signals.engine_pages import VLLM
from tests.signals.simulated_servers import Handler, serving

OPENMETRICS = {"content-type": "application/openmetrics-text; version=1.0.0; charset=utf-8"}


@pytest.fixture
async def pages() -> AsyncIterator[MetricsPages]:
    made = MetricsPages()
    yield made
    await made.close()


def at(port: int, path: str = "/metrics") -> EnginePage:
    return EnginePage(Engine.VLLM, Endpoint(address="127.0.0.1", port=port), path)


async def refusal(pages: MetricsPages, handler: Handler) -> ScrapeError:
    async with serving(handler) as port:
        with pytest.raises(ScrapeError) as refused:
            await pages(at(port))
    return refused.value


def answering(**answer: object) -> Handler:
    async def answer_it(_: web.Request) -> web.StreamResponse:
        return web.Response(**answer)  # type: ignore[arg-type] # as the test gives it

    return answer_it


async def test_a_page_is_read_at_its_path(pages: MetricsPages) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=VLLM if request.path == "/prometheus/metrics" else "no\n")

    async with serving(answer) as port:
        assert await pages(at(port, "/prometheus/metrics")) == VLLM


@pytest.mark.parametrize(
    ("handler", "says"),
    [
        (answering(status=401), "HTTP 401"),
        (answering(status=503, text=VLLM), "HTTP 503"),
        (answering(text="<html>sign in</html>\n", content_type="text/html"), "answers with text/html"),
        (answering(text="[]\n", content_type="application/json"), "answers with application/json"),
        (answering(body=gzip.compress(VLLM.encode()), headers={"content-encoding": "gzip"}), "compressed, unasked"),
        (answering(text=VLLM[:-7]), "ends in the middle"),
        (answering(text=""), "ends in the middle"),
        (answering(body=VLLM.encode(), headers=OPENMETRICS), "ends in the middle"),
        (answering(body=b"x" * MOST_BYTES + b"\n"), "more than"),
    ],
)
async def test_what_is_no_whole_page_of_metrics_is_refused(pages: MetricsPages, handler: Handler, says: str) -> None:
    error = await refusal(pages, handler)
    assert error.kind is Scrape.NOT_METRICS
    assert says in str(error)


async def test_openmetrics_are_whole_when_they_say_so(pages: MetricsPages) -> None:
    async with serving(answering(body=VLLM.encode() + b"# EOF\n", headers=OPENMETRICS)) as port:
        assert await pages(at(port)) == VLLM + "# EOF\n"


async def test_redirects_are_not_followed(pages: MetricsPages) -> None:
    asked: list[str] = []

    async def elsewhere(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=302, headers={"location": "/private?key=sesame"})

    error = await refusal(pages, elsewhere)
    assert (str(error), asked) == ("HTTP 302", ["/metrics"])


async def test_a_slow_page_and_one_that_never_ends_are_given_up(
    pages: MetricsPages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_page, "HTTP_SECONDS", 0.05)

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"vllm:num_requests_running 1\n")
        await asyncio.Event().wait()
        return response

    error = await refusal(pages, drip)
    assert error.kind is Scrape.UNREACHABLE
    assert "no answer within" in str(error)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"sesame garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nvllm:num_requests_running 1\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nsesame",
    ],
)
async def test_broken_answers_are_out_of_reach_and_neither_they_nor_the_path_are_told(
    pages: MetricsPages, answer: bytes
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        with pytest.raises(ScrapeError) as refused:
            await pages(at(server.sockets[0].getsockname()[1], "/metrics?key=sesame"))
    assert refused.value.kind is Scrape.UNREACHABLE
    assert str(refused.value)
    assert "sesame" not in repr((refused.value, refused.value.__cause__))


async def test_nobody_there_is_out_of_reach(pages: MetricsPages) -> None:
    async with serving(answering(text=VLLM)) as port:
        pass
    with pytest.raises(ScrapeError) as refused:
        await pages(at(port))
    assert refused.value.kind is Scrape.UNREACHABLE
