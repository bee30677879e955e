"""The load generator against small servers whose behaviour is known."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from penstock.demo.histogram import Histogram
from penstock.demo.load import LoadGenerator, Traffic
from penstock.demo.receipts import class_of
from penstock.demo.simulator import Fault, FaultMode, SimulatedEndpoint, SimulatorOptions
from penstock.demo.tally import Outcome, Tally
from penstock_policies.words import DataClass

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Handler], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    runners = []

    async def start(handler: Handler) -> str:
        app = web.Application()
        app.add_routes([web.post("/v1/chat/completions", handler)])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


async def eventually(seen: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while True:
            if seen():
                return
            await asyncio.sleep(0.005)


async def after(load: LoadGenerator, requests: int) -> Tally:
    """The tally once so many requests have ended."""
    await eventually(lambda: load.tally.requests >= requests)
    await load.stop()
    return load.tally


async def test_answers_count_by_the_cluster_that_gave_them_and_cost_by_its_price() -> None:
    options = SimulatorOptions("onprem", tokens_per_second=1e6, sequence_tokens_per_second=1e5)
    async with SimulatedEndpoint(options) as endpoint:
        traffic = Traffic("eu", endpoint.url, rate=200, prompt_tokens=10, output_tokens=8, streaming_share=0.5)
        async with LoadGenerator([traffic], price_of=lambda _: 2.0, seed=7) as load:
            tally = await after(load, 60)
        text = endpoint.counters()
    assert tally.failed == 0
    assert tally.share("eu") == {"none": 1.0}
    assert tally.tokens == 18 * tally.requests
    assert tally.cost_usd == pytest.approx(tally.tokens * 2.0 / 1e6)
    assert 0 < tally.first_token.count < tally.latency.count == tally.requests
    assert text["requests"]["public"] == tally.requests


async def test_the_headers_of_the_edge_say_cluster_and_attempts(serve: Serve) -> None:
    async def answer(_: web.Request) -> web.Response:
        headers = {"x-penstock-cluster": "cloud-eu-west", "x-penstock-attempts": "2"}
        return web.json_response({"usage": {"total_tokens": 5}}, headers=headers)

    traffic = Traffic("eu", await serve(answer), rate=200, streaming_share=0)
    async with LoadGenerator([traffic]) as load:
        tally = await after(load, 20)
    assert tally.share() == {"cloud-eu-west": 1.0}
    assert tally.retried == tally.requests


@pytest.mark.parametrize(
    ("status", "body", "content_type", "failure"),
    [
        (500, b"{}", "application/json", "status 500"),
        (200, b"not json", "application/json", "the answer is not JSON"),
        (200, b'data: {"choices":[]}\n\n', "text/event-stream", "stream ended before [DONE]"),
    ],
)
async def test_whatever_is_not_a_whole_good_answer_has_failed(
    serve: Serve, status: int, body: bytes, content_type: str, failure: str
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, body=body, content_type=content_type)

    async with LoadGenerator([Traffic("eu", await serve(answer), rate=200)]) as load:
        tally = await after(load, 10)
    assert tally.failed == tally.requests
    assert set(tally.failures) == {f"eu: {failure}"}


async def test_a_connection_cut_in_the_middle_is_a_failure_and_so_is_a_refused_one() -> None:
    options = SimulatorOptions("onprem", sequence_tokens_per_second=50)
    async with SimulatedEndpoint(options) as endpoint:
        traffic = Traffic("eu", endpoint.url, rate=100, output_tokens=2000, streaming_share=1.0)
        async with LoadGenerator([traffic]) as load:
            await eventually(lambda: load.in_flight >= 10)
            await endpoint.set_fault(Fault(FaultMode.REFUSE))
            tally = await after(load, 20)
    assert tally.failed == tally.requests
    assert {reason.partition(":")[0] for reason in tally.failures} == {"eu"}


async def test_restricted_503_is_counted_apart_and_every_restricted_request_carries_its_marks(serve: Serve) -> None:
    seen = []

    async def answer(request: web.Request) -> web.Response:
        body = await request.read()
        seen.append((class_of({}, body), class_of(request.headers, b"")))
        return web.json_response({"error": {}}, status=503)

    url = await serve(answer)
    kinds = [Traffic("records", url, DataClass.RESTRICTED, rate=100), Traffic("chat", url, rate=100)]
    async with LoadGenerator(kinds) as load:
        tally = await after(load, 30)
    assert 0 < tally.restricted == tally.restricted_503 < tally.requests
    assert tally.failed == tally.requests - tally.restricted
    assert set(seen) == {("restricted", "restricted"), ("unmarked", "public")}


async def test_arrivals_do_not_wait_for_answers_and_what_never_ends_is_a_failure(serve: Serve) -> None:
    async def never(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with LoadGenerator([Traffic("eu", await serve(never), rate=500)], arrivals="even") as load:
        await eventually(lambda: load.in_flight >= 50)
        under_way = load.in_flight
        await load.stop(grace=0.01)
    assert load.tally.failed == load.tally.requests >= under_way
    assert set(load.tally.failures) == {"eu: not ended when the run did"}


async def test_a_rate_can_be_changed_while_running(serve: Serve) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({})

    async with LoadGenerator([Traffic("eu", await serve(answer), rate=0.0001)]) as load:
        assert load.rate("eu") == 0.0001
        load.set_rate("eu", 300)
        await after(load, 10)
    with pytest.raises(KeyError):
        load.set_rate("unknown", 1)
    with pytest.raises(ValueError, match="negative"):
        load.set_rate("eu", -1)


def test_two_kinds_of_traffic_cannot_share_a_name() -> None:
    with pytest.raises(ValueError, match="name"):
        LoadGenerator([Traffic("eu", "http://a"), Traffic("eu", "http://b")])


def test_a_tally_tells_what_happened_since_a_moment() -> None:
    tally = Tally()
    tally.add(Outcome("eu", DataClass.PUBLIC, 200, "onprem", seconds=0.1, first_token_seconds=0.05))
    earlier = tally.copy()
    tally.add(Outcome("eu", DataClass.PUBLIC, 200, "cloud", seconds=0.4, first_token_seconds=0.2))
    tally.add(Outcome("eu", DataClass.PUBLIC, 502, failure="status 502"))
    since = tally.minus(earlier)
    assert (earlier.requests, since.requests, since.failed) == (1, 2, 1)
    assert since.share("eu") == {"cloud": 1.0}
    assert since.latency.quantile(0.5) == pytest.approx(0.4, rel=0.06)
    assert tally.share() == {"cloud": 0.5, "onprem": 0.5}


def test_quantiles_are_within_a_bucket_of_the_truth() -> None:
    histogram = Histogram()
    assert histogram.quantile(0.5) is None
    for milliseconds in range(1, 1001):
        histogram.observe(milliseconds / 1000)
    assert histogram.quantile(0.5) == pytest.approx(0.5, rel=0.06)
    assert histogram.quantile(0.99) == pytest.approx(0.99, rel=0.06)
    assert histogram.count == 1000
