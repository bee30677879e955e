"""Cost feeds: what reaches the board, and what does not."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from penstock_policies.observations import Intensity, Price
from tests.signals.feed_harness import Feeds
from tests.signals.signal_policies import feed, policy_set
from tests.signals.simulated_servers import serving

FILE_FEED = feed("prices", type="file", path="prices.json", refresh="60s", maxAge="10m")


def _document(**prices: float) -> str:
    return json.dumps({"prices": [{"key": key, "usdPerMillionTokens": price} for key, price in prices.items()]})


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


@pytest.fixture
async def feeds() -> AsyncIterator[Feeds]:
    made = Feeds()
    yield made
    await made.feeds.stop()


async def test_a_file_beside_the_policies_is_on_the_board_after_the_first_read(feeds: Feeds, tmp_path: Path) -> None:
    _write(tmp_path / "prices.json", _document(eu=0.9))
    await feeds.apply(policy_set([], [FILE_FEED]), tmp_path)
    assert feeds.prices() == {"eu": Price(1000.0, 0.9)}
    state = feeds.feeds.states()[0]
    assert (state.name, state.refreshed_at, state.error, state.prices) == ("prices", 1000.0, "", 1)
    assert state.age(1005.0) == 5.0


async def test_every_good_read_renews_the_time_and_only_a_change_is_told(feeds: Feeds, tmp_path: Path) -> None:
    _write(tmp_path / "prices.json", _document(eu=0.9))
    await feeds.apply(policy_set([], [FILE_FEED]), tmp_path)
    assert feeds.notified == 1
    feeds.now += 60
    await feeds.refresh()
    assert (feeds.prices(), feeds.notified) == ({"eu": Price(1060.0, 0.9)}, 1)
    _write(tmp_path / "prices.json", _document(eu=0.54))
    await feeds.refresh()
    assert (feeds.prices(), feeds.notified) == ({"eu": Price(1060.0, 0.54)}, 2)


async def test_a_bad_document_keeps_the_last_good_prices_and_shows_why(feeds: Feeds, tmp_path: Path) -> None:
    _write(tmp_path / "prices.json", _document(eu=0.9))
    await feeds.apply(policy_set([], [FILE_FEED]), tmp_path)
    _write(tmp_path / "prices.json", '{"prices": ')
    feeds.now += 60
    await feeds.refresh()
    assert feeds.prices() == {"eu": Price(1000.0, 0.9)}
    state = feeds.feeds.states()[0]
    assert (state.refreshed_at, state.failures, state.age(feeds.now)) == (1000.0, 1, 60.0)
    assert "JSON" in state.error
    _write(tmp_path / "prices.json", _document(eu=0.9))
    await feeds.refresh()
    assert (feeds.feeds.states()[0].error, feeds.feeds.states()[0].failures) == ("", 0)
    assert feeds.notified == 2


async def test_prices_that_had_grown_stale_are_told_when_they_are_renewed(feeds: Feeds, tmp_path: Path) -> None:
    _write(tmp_path / "prices.json", _document(eu=0.9))
    await feeds.apply(policy_set([], [FILE_FEED]), tmp_path)
    feeds.now += 601
    await feeds.refresh()
    assert feeds.notified == 2


async def test_failures_are_retried_soon_and_then_ever_less_often(feeds: Feeds, tmp_path: Path) -> None:
    await feeds.apply(policy_set([], [FILE_FEED]), tmp_path)
    for _ in range(7):
        await feeds.refresh()
    assert feeds.slept[:6] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]
    assert all(54.0 <= pause <= 66.0 for pause in feeds.slept[6:])


async def test_a_policy_change_that_leaves_a_feed_alone_does_not_read_it_again(feeds: Feeds, tmp_path: Path) -> None:
    _write(tmp_path / "prices.json", _document(eu=0.9))
    await feeds.apply(policy_set([], [FILE_FEED]), tmp_path)
    reads = len(feeds.slept)
    policy = policy_set([], [FILE_FEED])
    feeds.board.apply(policy)
    await feeds.feeds.apply(policy, tmp_path)
    await feeds.feeds.first_read()
    assert len(feeds.slept) == reads
    assert feeds.prices() == {"eu": Price(1000.0, 0.9)}


async def test_a_feed_that_left_is_gone_from_board_and_states(feeds: Feeds, tmp_path: Path) -> None:
    _write(tmp_path / "prices.json", _document(eu=0.9))
    await feeds.apply(policy_set([], [FILE_FEED]), tmp_path)
    feeds.board.apply(policy_set())
    await feeds.feeds.apply(policy_set(), tmp_path)
    assert (feeds.prices(), feeds.feeds.states()) == ({}, ())


async def test_a_feed_that_points_elsewhere_is_read_from_there(feeds: Feeds, tmp_path: Path) -> None:
    _write(tmp_path / "prices.json", _document(eu=0.9))
    _write(tmp_path / "other.json", _document(eu=0.5))
    await feeds.apply(policy_set([], [FILE_FEED]), tmp_path)
    policy = policy_set([], [feed("prices", type="file", path="other.json", refresh="60s")])
    feeds.board.apply(policy)
    await feeds.feeds.apply(policy, tmp_path)
    await feeds.feeds.first_read()
    assert feeds.prices() == {"eu": Price(1000.0, 0.5)}


async def test_an_unchanged_document_of_a_server_is_renewed(feeds: Feeds, tmp_path: Path) -> None:
    answers: list[int] = []

    async def handler(request: web.Request) -> web.Response:
        unchanged = request.headers.get("if-none-match") == '"v1"'
        answers.append(304 if unchanged else 200)
        return web.Response(status=304) if unchanged else web.Response(text=_document(eu=0.9), headers={"etag": '"v1"'})

    async with serving(handler) as port:
        spec = feed("prices", type="http", url=f"http://127.0.0.1:{port}/", refresh="60s")
        await feeds.apply(policy_set([], [spec]), tmp_path)
        feeds.now += 60
        await feeds.refresh()
    assert answers == [200, 304]
    assert feeds.prices() == {"eu": Price(1060.0, 0.9)}


async def test_a_bad_document_does_not_become_good_by_being_unchanged(feeds: Feeds, tmp_path: Path) -> None:
    text = _document(eu=0.9)

    async def handler(request: web.Request) -> web.Response:
        tag = f'"{hash(text)}"'
        if request.headers.get("if-none-match") == tag:
            return web.Response(status=304)
        return web.Response(text=text, headers={"etag": tag})

    async with serving(handler) as port:
        spec = feed("prices", type="http", url=f"http://127.0.0.1:{port}/", refresh="60s")
        await feeds.apply(policy_set([], [spec]), tmp_path)
        text = "{}"
        for _ in range(2):
            await feeds.refresh()
            assert "Field required" in feeds.feeds.states()[0].error
    assert feeds.prices() == {"eu": Price(1000.0, 0.9)}


async def test_a_feed_that_measures_carbon_gives_intensities_and_no_prices(feeds: Feeds, tmp_path: Path) -> None:
    grid = feed("grid", type="file", path="grid.json", measures="carbon")
    _write(tmp_path / "grid.json", '{"carbon": [{"key": "eu", "gramsPerMillionTokens": 120}]}')
    await feeds.apply(policy_set(feeds=[grid]), tmp_path)
    known = feeds.board.snapshot(feeds.now)
    assert dict(known.carbon["grid"]) == {"eu": Intensity(feeds.now, 120.0)}
    assert not known.prices


async def test_prices_where_carbon_is_wanted_are_an_error_of_the_feed(feeds: Feeds, tmp_path: Path) -> None:
    grid = feed("grid", type="file", path="grid.json", measures="carbon")
    _write(tmp_path / "grid.json", _document(eu=0.9))
    await feeds.apply(policy_set(feeds=[grid]), tmp_path)
    assert "carbon: Field required" in feeds.feeds.states()[0].error
    assert not feeds.board.snapshot(feeds.now).carbon
