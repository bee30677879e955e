"""Fetching price documents from files and servers, well and badly behaved."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from penstock.signals import asking
from penstock.signals.asking import Asker
from penstock.signals.price_errors import PriceSourceError
from penstock.signals.price_sources import (
    MOST_BYTES,
    MOST_FOREIGN_BYTES,
    FileSource,
    HttpSource,
    file_source,
    most_bytes,
)
from penstock_policies.feed_apis import Reach
from penstock_policies.feeds import CostFeedSpec, FeedType
from tests.signals.simulated_servers import serving


async def test_a_file_is_read_anew_each_time(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    source = FileSource(path)
    for text in ("one", "two"):
        path.write_text(text)
        assert await source.fetch() == text.encode()


def _missing(_: Path) -> None:
    pass


def _too_large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_missing, "No such file"),
        (Path.mkdir, "Is a directory|regular"),
        (os.mkfifo, "not a regular"),
        (_too_large, "more than"),
    ],
)
async def test_a_file_that_is_none_is_an_error_that_names_it(
    tmp_path: Path, make: Callable[[Path], None], says: str
) -> None:
    path = tmp_path / "prices.json"
    make(path)
    with pytest.raises(PriceSourceError, match=f"prices.json.*({says})"):
        await FileSource(path).fetch()


@pytest.fixture
async def asker() -> AsyncIterator[Asker]:
    async with ClientSession() as session:
        yield Asker(session, Reach.PRIVATE, lambda: 1000.0, tries=1)


async def test_a_server_with_entity_tags_is_asked_only_for_news(asker: Asker) -> None:
    asked: list[str | None] = []
    current = "v1"

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.headers.get("if-none-match"))
        if asked[-1] == f'"{current}"':
            return web.Response(status=304)
        return web.Response(text=current, headers={"etag": f'"{current}"'})

    async with serving(handler) as port:
        source = HttpSource(f"http://127.0.0.1:{port}/prices", asker)
        assert await source.fetch() == b"v1"
        assert await source.fetch() is None
        current = "v2"
        assert await source.fetch() == b"v2"
        source.forget()
        assert await source.fetch() == b"v2"
    assert asked == [None, '"v1"', '"v1"', None]


async def test_a_redirect_or_an_error_status_is_an_error(asker: Asker) -> None:
    for status in (204, 302, 304, 404, 500):

        async def handler(request: web.Request, status: int = status) -> web.Response:
            return web.Response(status=status, headers={"location": "/"})

        async with serving(handler) as port:
            with pytest.raises(PriceSourceError, match=f"HTTP {status}"):
                await HttpSource(f"http://127.0.0.1:{port}/", asker).fetch()


async def test_a_body_without_end_is_cut_off(asker: Asker) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)

    async with serving(handler) as port:
        with pytest.raises(PriceSourceError, match="more than"):
            await HttpSource(f"http://127.0.0.1:{port}/", asker).fetch()


async def test_a_small_body_that_unpacks_to_a_huge_one_is_cut_off(asker: Asker) -> None:
    async def handler(request: web.Request) -> web.Response:
        response = web.Response(body=b" " * (64 * MOST_BYTES))
        response.enable_compression(web.ContentCoding.gzip)
        return response

    async with serving(handler) as port:
        with pytest.raises(PriceSourceError, match="more than"):
            await HttpSource(f"http://127.0.0.1:{port}/", asker).fetch()


async def test_a_server_that_does_not_answer_is_given_up(asker: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "ANSWER_SECONDS", 0.05)

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(handler) as port:
        with pytest.raises(PriceSourceError, match=r"no answer within 0\.05 s"):
            await HttpSource(f"http://127.0.0.1:{port}/", asker).fetch()


async def test_a_server_that_is_not_there_is_an_error(asker: Asker) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response()

    async with serving(handler) as port:
        pass
    with pytest.raises(PriceSourceError, match="onnect"):
        await HttpSource(f"http://127.0.0.1:{port}/", asker).fetch()


async def test_a_document_in_anothers_shape_may_be_larger_and_has_a_limit_too(tmp_path: Path) -> None:
    path = tmp_path / "map.json"
    own = file_source("map.json", CostFeedSpec(type=FeedType.FILE, path="map.json"), tmp_path)
    litellm = CostFeedSpec(type=FeedType.FILE, path="map.json", format="litellm")
    foreign = file_source("map.json", litellm, tmp_path)
    assert most_bytes(litellm) == MOST_FOREIGN_BYTES
    _too_large(path)
    assert len(await foreign.fetch() or b"") == MOST_BYTES + 1
    with path.open("wb") as file:
        file.truncate(MOST_FOREIGN_BYTES + 1)
    for source in (own, foreign):
        with pytest.raises(PriceSourceError, match="more than"):
            await source.fetch()
